"""A dense step by hand: on one device, and on several with unequal shares of the examples."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ancf_jax.machine.parallel import spread
from ancf_jax.training.dense import Reported, StepLoss, dense_step
from ancf_jax.types import TrainState

RATE = 0.5
START = np.array([3.0, -1.0], np.float32)
# Rows x with targets y and weights; the last example is padding.
X = np.array([[1, 2], [0, 1], [3, 0], [9, 9]], np.float32)
Y = np.array([1, 2, 3, 9], np.float32)
WEIGHT = np.array([1, 1, 1, 0], np.float32)


def loss_of(x, y, weight):
    """Weighted sum of (x . p - y)^2, of which half is reported."""

    def loss(variables):
        error = x @ variables["params"]["p"] - y
        total = (weight * error**2).sum()
        reported = Reported(total / 2, weight.sum())
        seen = variables["batch_stats"]["seen"] + 1
        return StepLoss(total, weight.sum(), reported, {"seen": seen})

    return loss


def stepped(devices: int) -> tuple[TrainState, Reported]:
    """The state after one step of SGD from START."""
    optimizer = optax.sgd(RATE)
    params = {"p": jnp.asarray(START)}
    state = TrainState(
        step=jnp.int32(7),
        params=params,
        batch_stats={"seen": jnp.int32(0)},
        opt_state=optimizer.init(params),
    )

    def step(state, examples):
        return dense_step(loss_of(*examples), optimizer, state)

    run = spread(step, "pmap", (False, True), False, devices)
    shares = [
        column.reshape(devices, -1, *column.shape[1:]) for column in (X, Y, WEIGHT)
    ]
    return jax.device_get(run(state, shares))


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_a_step_follows_the_gradient_of_the_mean_loss(devices):
    """Of four devices the last has padding alone."""
    error = X @ START - Y
    by_p = 2 * (WEIGHT * error) @ X / WEIGHT.sum()
    state, reported = stepped(devices)
    np.testing.assert_allclose(state.params["p"], START - RATE * by_p, rtol=1e-6)
    assert reported.loss == pytest.approx((WEIGHT * error**2).sum() / 2)
    assert reported.weight == 3
    assert state.step == 8
    assert state.batch_stats["seen"] == 1
