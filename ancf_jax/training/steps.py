"""One per-device training step, and the program that runs many of them on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ancf_jax.config import ObjectiveConfig
from ancf_jax.data.histories import batch_of_events, batch_of_windows
from ancf_jax.data.negatives import draw_uniform, first_unseen
from ancf_jax.models.protocol import Groups, NeuralModel
from ancf_jax.modules.heads import AXIS
from ancf_jax.objective import losses
from ancf_jax.training.parallel import local_share
from ancf_jax.types import Array, Batch, Catalogue, EventLog, TrainState

TRIES = 3  # draws per negative before one that is still seen gets weight 0


def make_batch(model: NeuralModel, log: EventLog, examples: Array) -> Batch:
    """The batch of examples [B]: event numbers, or ends of windows, by the model's unit; -1 is padding."""
    gather = batch_of_windows if model.unit == "window" else batch_of_events
    return gather(log, examples, model.history_length)


def draw_negatives(
    model: NeuralModel, objective: ObjectiveConfig, log: EventLog, batch: Batch, items: int, key: Array, sharded: bool
) -> tuple[Groups, Array]:
    """The candidates of a batch, positives first, and the weight [..., C] of every candidate.

    A window batch shares its negatives, which do not count where they are the positive itself; an
    event has its own, none of which its user has in the log. With `sharded` the draw is made for the
    batch of all devices and each takes its share, so it does not depend on their number.
    """
    positive = (batch.positive[..., None],)
    ones = jnp.ones((*batch.positive.shape, 1))
    if objective.loss in losses.VALUE_LOSSES:
        return positive, ones
    if objective.loss == "softmax":
        return (jnp.arange(items, dtype=jnp.int32),), jnp.ones((*batch.positive.shape, items))
    if model.unit == "window":
        shared = draw_uniform(key, (objective.negatives,), items)
        other = shared.reshape((1,) * batch.positive.ndim + (-1,)) != batch.positive[..., None]
        return (*positive, shared), jnp.concatenate([ones, other.astype(jnp.float32)], -1)
    rows = batch.query.user.shape[0] * (jax.lax.axis_size(AXIS) if sharded else 1)
    drawn = draw_uniform(key, (rows, TRIES, objective.negatives), items)
    drawn = jnp.swapaxes(local_share(drawn) if sharded else drawn, 0, 1)
    drawn, weight = first_unseen(log, batch.query.user, drawn)
    return (*positive, drawn), jnp.concatenate([ones, weight], -1)


def example_loss(objective: ObjectiveConfig, batch: Batch, scores: Array, weight: Array, items: int) -> Array:
    """Loss of every example, shaped as `batch.positive`, from scores [..., C] of its candidates."""
    if objective.loss in losses.VALUE_LOSSES:
        return losses.value_loss(objective)(scores[..., 0], batch.value)
    if objective.loss == "softmax":
        return losses.softmax(scores, batch.positive)
    return losses.ranking_loss(objective, items)(scores, weight[..., 1:])


def training_step(
    model: NeuralModel,
    objective: ObjectiveConfig,
    optimizer: optax.GradientTransformation,
    items: int,
    state: TrainState,
    log: EventLog,
    catalogue: Catalogue,
    examples: Array,
    key: Array,
) -> tuple[TrainState, Array, Array]:
    """One step on this device's examples [b]: the new state, and the loss sum and weight of all devices.

    The loss is a local sum; gradients and weights are summed over devices and divided once, which is
    exact for padded and unequal shards. Randomness is a function of `key` and the step number.
    """
    draw_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step))
    dropout_key = jax.random.fold_in(dropout_key, jax.lax.axis_index(AXIS))
    batch = make_batch(model, log, examples)
    groups, weight = draw_negatives(model, objective, log, batch, items, draw_key, sharded=True)

    def local_sum(params: Any) -> tuple[Array, Any]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        pair_weight = weight * batch.weight[..., None]
        scores, batch_stats = model.forward(variables, catalogue, batch.query, groups, pair_weight, dropout_key)
        return (example_loss(objective, batch, scores, weight, items) * batch.weight).sum(), batch_stats

    (loss, batch_stats), grads = jax.value_and_grad(local_sum, has_aux=True)(state.params)
    loss, total, grads = jax.lax.psum((loss, batch.weight.sum(), grads), AXIS)
    grads = jax.tree.map(lambda g: g / jnp.maximum(total, 1.0), grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, batch_stats, opt_state), loss, total


def many_steps(step: Callable[..., tuple[TrainState, Array, Array]]) -> Callable[..., Any]:
    """`run(state, examples [S, b], count, log, catalogue, key)`: the first `count` rows of examples, on the device.

    Returns the state with the loss sum and weight of these steps. One program, whatever the count.
    """

    def run(
        state: TrainState, examples: Array, count: Array, log: EventLog, catalogue: Catalogue, key: Array
    ) -> tuple[TrainState, Array, Array]:
        def body(row: Array, carry: tuple[TrainState, Array, Array]) -> tuple[TrainState, Array, Array]:
            state, loss, weight = carry
            state, step_loss, step_weight = step(state, log, catalogue, examples[row], key)
            return state, loss + step_loss, weight + step_weight

        return jax.lax.fori_loop(0, count, body, (state, jnp.zeros(()), jnp.zeros(())))

    return run
