"""Learning rates and first steps, by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ancf_jax.config import OptimConfig
from ancf_jax.training.optim import learning_rate, optimizer

PEAK = 0.5
GRADIENT = np.array([[3.0, -4.0]], np.float32)  # of norm 5
WEIGHTS = np.array([[2.0, 1.0]], np.float32)


def rates(schedule: str, warmup_share: float) -> np.ndarray:
    optim = OptimConfig(
        learning_rate=PEAK, schedule=schedule, warmup_share=warmup_share
    )
    return np.array([learning_rate(optim, 100)(step) for step in range(101)])


def test_constant_stays():
    np.testing.assert_allclose(rates("constant", 0.1), np.full(101, PEAK), rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "decay"),
    [
        ("linear", lambda t: 1 - 0.99 * t),
        ("cosine", lambda t: 0.01 + 0.99 * (1 + np.cos(np.pi * t)) / 2),
    ],
)
def test_warm_up_then_decay_to_a_hundredth(schedule, decay):
    found = rates(schedule, 0.1)
    np.testing.assert_allclose(
        found[:10], PEAK * np.arange(10) / 10, rtol=1e-5, atol=1e-8
    )
    np.testing.assert_allclose(
        found[10:], PEAK * decay(np.arange(91) / 90), rtol=1e-4, atol=1e-7
    )


def test_without_warm_up_the_first_step_moves():
    assert rates("cosine", 0.0)[0] == pytest.approx(PEAK)


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"optimizer": "sgd"}, -PEAK * GRADIENT),
        ({"optimizer": "sgd", "clip": 1.0}, -PEAK * GRADIENT / 5),
        ({"optimizer": "sgd", "weight_decay": 0.1}, -PEAK * (GRADIENT + 0.1 * WEIGHTS)),
        ({"optimizer": "adam"}, -PEAK * np.sign(GRADIENT)),
        (
            {"optimizer": "adamw", "weight_decay": 0.1},
            -PEAK * (np.sign(GRADIENT) + 0.1 * WEIGHTS),
        ),
        (
            {"optimizer": "adagrad"},
            -PEAK * GRADIENT / np.sqrt(GRADIENT**2 + 0.1),
        ),  # optax begins at 0.1
    ],
)
def test_the_first_step_by_hand(changes, step):
    settings = {
        "learning_rate": PEAK,
        "schedule": "constant",
        "weight_decay": 0.0,
        "clip": 0.0,
    } | changes
    transform = optimizer(OptimConfig(**settings), 10)
    weights = jnp.asarray(WEIGHTS)
    found, _ = transform.update(jnp.asarray(GRADIENT), transform.init(weights), weights)
    np.testing.assert_allclose(found, step, rtol=1e-4)


@pytest.mark.parametrize("optimizer_name", ["sgd", "adamw"])
def test_biases_and_scales_do_not_decay(optimizer_name):
    optim = OptimConfig(
        optimizer=optimizer_name, schedule="constant", weight_decay=0.1, clip=0.0
    )
    transform, params = (
        optimizer(optim, 10),
        {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)},
    )
    found, _ = transform.update(
        jax.tree.map(jnp.zeros_like, params), transform.init(params), params
    )
    assert not np.asarray(found["bias"]).any()
    assert (np.asarray(found["kernel"]) < 0).all()


@pytest.mark.parametrize(
    ("name", "reference"),
    [("adam", optax.adam), ("adamw", optax.adamw), ("adagrad", optax.adagrad)],
)
def test_the_path_is_that_of_optax(name, reference):
    settings = {
        "learning_rate": PEAK,
        "schedule": "constant",
        "weight_decay": 0.0,
        "clip": 0.0,
        "optimizer": name,
    }
    decay = {"weight_decay": 0.0} if name == "adamw" else {}
    ours, theirs = optimizer(OptimConfig(**settings), 10), reference(PEAK, **decay)
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(23, 7, 3)).astype(np.float32) * rng.integers(
        0, 2, size=(23, 7, 1)
    )  # rows at times idle
    paths = []
    for transform in (ours, theirs):
        weights = jnp.zeros((7, 3))
        state = transform.init(weights)
        for gradient in gradients:
            update, state = transform.update(
                jnp.asarray(gradient, jnp.float32), state, weights
            )
            weights = weights + update
        paths.append(weights)
    assert np.abs(paths[1]).max() > 1
    np.testing.assert_allclose(*paths, rtol=1e-5, atol=1e-6)
