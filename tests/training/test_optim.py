"""Learning rates and first steps, by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ancf_jax import data
from ancf_jax.config import OptimConfig
from ancf_jax.data import TRAIN
from ancf_jax.prepared import prepare
from ancf_jax.training.loop import trainer
from ancf_jax.training.optim import learning_rate, optimizer, with_step_scales

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
        # optax begins at 0.1
        ({"optimizer": "adagrad"}, -PEAK * GRADIENT / np.sqrt(GRADIENT**2 + 0.1)),
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
    transform = optimizer(optim, 10)
    params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
    gradient = jax.tree.map(jnp.zeros_like, params)
    found, _ = transform.update(gradient, transform.init(params), params)
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
    ours = optimizer(OptimConfig(**settings), 10)
    theirs = reference(PEAK, **decay)
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(23, 7, 3)).astype(np.float32)
    gradients *= rng.integers(0, 2, size=(23, 7, 1))  # rows are idle at times
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


SCALES = {"prior.repeats": 10.0}


def prior_and_table(scale: float) -> dict:
    """Parameters, those of the prior in units of `scale`."""
    amount = {
        "by_distance": jnp.array([-5.0, 2.0]) / scale,
        "matrix": jnp.array([[3.0, -4.0]]) / scale,  # which decays
    }
    repeats = {"amount": amount}
    prior = {"repeats": repeats, "repeats_of_others": jnp.array([7.0])}
    return {"prior": prior, "table": jnp.array([[1.0, -3.0]])}


def in_units(params: dict, scale: float) -> dict:
    """The parameters of `prior_and_table`, from units of `scale` to those of 1."""
    prior = dict(params["prior"])
    prior["repeats"] = jax.tree.map(lambda q: scale * q, prior["repeats"])
    return params | {"prior": prior}


def loss(params: dict) -> jax.Array:
    """Some function of all parameters, in units of 1."""
    amount = params["prior"]["repeats"]["amount"]
    return (
        jnp.sin(amount["by_distance"]).sum() * params["table"].sum()
        + (amount["by_distance"] ** 2).sum()
        + (amount["matrix"] ** 2).sum()
        + params["prior"]["repeats_of_others"][0] ** 2
        + (params["table"] ** 2).sum()
    )


def trained(transform: optax.GradientTransformation, params: dict, loss) -> dict:
    """The parameters after seven steps."""
    state = transform.init(params)
    for _ in range(7):
        updates, state = transform.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "clip": 0.5},
        {"optimizer": "adam"},
        {"optimizer": "adamw", "weight_decay": 0.3, "clip": 0.5},
        {"optimizer": "adagrad", "weight_decay": 0.3},
        {"optimizer": "row_adagrad"},
    ],
)
def test_scaled_steps_are_those_of_parameters_in_longer_units(changes):
    """To train p with scale 10 is to train q, where p = 10 q."""
    settings = {"learning_rate": 0.01, "weight_decay": 0.0, "clip": 0.0} | changes
    optim = OptimConfig(**settings)
    scaled = trained(optimizer(optim, 7, SCALES), prior_and_table(1.0), loss)
    plain = trained(
        optimizer(optim, 7), prior_and_table(10.0), lambda q: loss(in_units(q, 10.0))
    )
    for one, other in zip(
        jax.tree.leaves(scaled), jax.tree.leaves(in_units(plain, 10.0)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    unscaled = trained(optimizer(optim, 7), prior_and_table(1.0), loss)
    moved = [
        tree["prior"]["repeats"]["amount"]["by_distance"] for tree in (scaled, unscaled)
    ]
    assert np.abs(moved[0] - moved[1]).max() > 1e-3


def test_the_first_step_of_adam_is_so_many_times_longer():
    """Of what the path names alone, not of what begins with the same letters."""
    optim = OptimConfig(
        optimizer="adam",
        learning_rate=0.01,
        schedule="constant",
        weight_decay=0.0,
        clip=0.0,
    )
    transform = optimizer(optim, 10, SCALES)
    params = prior_and_table(1.0)
    gradient = jax.tree.map(jnp.ones_like, params)
    found, _ = transform.update(gradient, transform.init(params), params)
    expected = jax.tree.map(lambda one: -0.01 * one, gradient)
    repeats = jax.tree.map(lambda one: 10.0 * one, expected["prior"]["repeats"])
    expected["prior"]["repeats"] = repeats
    for step, by_hand in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(step, by_hand, rtol=1e-5)


def test_without_scales_the_optimiser_is_the_plain_one():
    transform = optax.sgd(0.1)
    assert with_step_scales(transform, {}) is transform


def test_a_scale_of_no_parameter_changes_nothing():
    """A model may be built without the part that a scale is for."""
    optim = OptimConfig(learning_rate=0.01, weight_decay=0.0)
    params = prior_and_table(1.0)
    plain = trained(optimizer(optim, 7), params, loss)
    scaled = trained(optimizer(optim, 7, {"prior.followers": 10.0}), params, loss)
    jax.tree.map(np.testing.assert_array_equal, scaled, plain)


def test_the_counting_parts_of_ancf_move_ten_times_as_far(tiny):
    changes = {
        "optim__optimizer": "adam",
        "optim__schedule": "constant",
        "optim__clip": 0.0,
        "optim__weight_decay": 0.0,
        "network__followers": 3,
    }
    config = tiny("ancf", **changes)
    made = trainer(prepare(config, data.build(config), (TRAIN,)), devices=1)
    ones = jax.tree.map(lambda shape: jnp.ones(shape.shape), made.shapes.params)
    transform = made.program.optimizer
    steps, _ = transform.update(ones, transform.init(ones), ones)
    moved = set()
    for path, step in jax.tree.leaves_with_path(steps):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        counting = ("prior.repeats.", "prior.followers.", "pair_features.")
        is_counted = name.startswith(counting)
        scale = 10.0 if is_counted else 1.0
        expected = -scale * config.optim.learning_rate
        np.testing.assert_allclose(step, expected, rtol=1e-4)
        moved.add(name.split(".")[-2] if is_counted else "others")
    assert "others" in moved
    assert moved > {"followers", "pair_features"}
