"""A training step: the gradient of the mean loss over all devices, and the optimiser's update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ancf_jax.machine.parallel import over_devices
from ancf_jax.types import Array, TrainState, Variables


class Reported(NamedTuple):
    """What a step reports: `loss` / `weight` is the mean loss.

    Attributes:
        loss: [] sum of the losses of the examples.
        weight: [] sum of their weights.
    """

    loss: Array
    weight: Array


class StepLoss(NamedTuple):
    """The loss of one device's examples.

    Attributes:
        loss: [] the sum that training minimises.
        weight: [] sum of the weights of the examples.
        reported: what is shown of the loss; it may leave out a part of it.
        batch_stats: the running moments of batch normalisation after these examples.
    """

    loss: Array
    weight: Array
    reported: Reported
    batch_stats: Any


LossOf = Callable[[Variables], StepLoss]


def dense_step(
    loss_of: LossOf, optimizer: optax.GradientTransformation, state: TrainState
) -> tuple[TrainState, Reported]:
    """The state after one step on all parameters, and the loss over all devices.

    Each device differentiates the sum of its own losses, divided by the weight of the examples of
    all devices. The sum of these gradients is that of the mean loss, also where some devices have
    fewer examples than others.
    """

    def share_of_mean(params: Any) -> tuple[Array, StepLoss]:
        found = loss_of({"params": params, "batch_stats": state.batch_stats})
        weight = over_devices(found.weight)
        return found.loss / jnp.maximum(weight, 1.0), found

    grads, found = jax.grad(share_of_mean, has_aux=True)(state.params)
    reported, grads = over_devices((found.reported, grads))
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    stepped = state._replace(
        step=state.step + 1,
        params=params,
        batch_stats=found.batch_stats,
        opt_state=opt_state,
    )
    return stepped, reported
