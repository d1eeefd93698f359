"""Dense, batch normalisation that knows padding, and the tower."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.modules.heads import (
    MOMENTUM,
    BatchNorm,
    Dense,
    Tower,
    weighted_moments,
)
from ancf_jax.types import AXIS

RNG = np.random.default_rng(0)
ROWS = (2 + 3 * RNG.normal(size=(11, 5, 3))).astype(np.float32)
WEIGHT = (RNG.random((11, 5)) < 0.6).astype(np.float32)


def test_moments_of_the_rows_that_count():
    mean, variance = weighted_moments(ROWS, WEIGHT)
    kept = ROWS[WEIGHT > 0]
    np.testing.assert_allclose(mean, kept.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, kept.var(0), rtol=1e-4)


def test_moments_of_unequal_shards_are_those_of_the_whole():
    rows = np.full((4, 7, 3), 1e6, np.float32)
    weight = np.zeros((4, 7), np.float32)
    whole = ROWS.reshape(-1, 3)[:19]
    left = whole
    for shard, size in enumerate([7, 6, 6, 0]):  # the last device has padding alone
        rows[shard, :size] = left[:size]
        weight[shard, :size] = 1
        left = left[size:]
    moments_of_shard = functools.partial(weighted_moments, axis_name=AXIS)
    moments = jax.pmap(moments_of_shard, AXIS)(rows, weight)
    for shard in range(4):
        np.testing.assert_allclose(moments[0][shard], whole.mean(0), rtol=1e-5)
        np.testing.assert_allclose(moments[1][shard], whole.var(0), rtol=1e-4)


def normalised(x, weight, train: bool, stats=None):
    module = BatchNorm()
    variables = module.init(jax.random.PRNGKey(0), x, None, False)
    if stats is not None:
        variables["batch_stats"] = stats
    apply = functools.partial(module.apply, train=train, mutable=["batch_stats"])
    # The step binds the axis of the devices; here there is one.
    return jax.vmap(lambda x: apply(variables, x, weight), axis_name=AXIS)(x[None])


def test_training_normalises_by_the_batch_and_remembers_a_little():
    found, changed = normalised(ROWS, WEIGHT, train=True)
    kept = ROWS[WEIGHT > 0]
    np.testing.assert_allclose(
        found[0],
        (ROWS - kept.mean(0)) / np.sqrt(kept.var(0) + 1e-5),
        rtol=1e-4,
        atol=1e-4,
    )
    stats = changed["batch_stats"]
    np.testing.assert_allclose(
        stats["mean"][0], (1 - MOMENTUM) * kept.mean(0), rtol=1e-4
    )
    np.testing.assert_allclose(
        stats["variance"][0], MOMENTUM + (1 - MOMENTUM) * kept.var(0), rtol=1e-4
    )


def test_inference_is_one_affine_map_of_each_row_alone():
    stats = {
        "mean": jnp.array([1.0, 2.0, 3.0]),
        "variance": jnp.array([4.0, 9.0, 16.0]),
    }
    found, changed = normalised(ROWS, None, train=False, stats=stats)
    expected = (ROWS - np.array([1, 2, 3])) / np.sqrt(np.array([4, 9, 16]) + 1e-5)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(changed["batch_stats"]["mean"][0], stats["mean"])


@pytest.mark.parametrize("normalise", [False, True])
def test_the_tower_by_hand(normalise):
    tower = Tower((3, 2), dropout=0.5, normalise=normalise)
    variables = tower.init(jax.random.PRNGKey(1), ROWS)
    kernel, bias = (
        np.asarray(variables["params"]["dense_1"][name]) for name in ("kernel", "bias")
    )
    # Running moments begin at 0 and 1.
    scale = 1 / np.sqrt(1 + 1e-5) if normalise else 1.0
    expected = np.maximum(np.maximum(ROWS, 0) * scale @ kernel + bias, 0) * scale
    np.testing.assert_allclose(
        tower.apply(variables, ROWS), expected, rtol=1e-4, atol=1e-5
    )


def test_dropout_acts_in_training_alone():
    tower = Tower((3, 2), dropout=0.5)
    variables = tower.init(jax.random.PRNGKey(1), ROWS)
    repeated = functools.partial(tower.apply, variables, ROWS, None)
    still = repeated(False)
    np.testing.assert_array_equal(still, repeated(False))
    dropped = repeated(True, rngs={"dropout": jax.random.PRNGKey(2)})
    differently = repeated(True, rngs={"dropout": jax.random.PRNGKey(3)})
    assert np.abs(dropped - still).max() > 0.01
    assert np.abs(dropped - differently).max() > 0.01


def test_candidates_of_a_request_are_compared_on_the_same_units():
    tower = Tower((5,), dropout=0.5)
    ones = np.ones((7, 11, 5), np.float32)
    dropped = tower.apply({}, ones, None, True, rngs={"dropout": jax.random.PRNGKey(0)})
    dropped = np.asarray(dropped)
    np.testing.assert_array_equal(dropped, dropped[:, :1].repeat(11, axis=1))
    assert len(np.unique(dropped[:, 0], axis=0)) > 1


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("columns", [3, 11])
@pytest.mark.parametrize("lead", [(), (7,), (7, 2)])
def test_dense_and_its_gradients_by_hand(lead, columns, use_bias):
    x = RNG.normal(size=(*lead, 5)).astype(np.float32)
    above = RNG.normal(size=(*lead, columns)).astype(np.float32)
    dense = Dense(columns, use_bias)
    params = dense.init(jax.random.PRNGKey(0), x)["params"]
    params = jax.tree.map(lambda p: p + 1.0, params)  # so that the bias is not 0

    def weighted(params, x):
        return (dense.apply({"params": params}, x) * above).sum()

    kernel = np.asarray(params["kernel"])
    bias = np.asarray(params["bias"]) if use_bias else 0.0
    found = dense.apply({"params": params}, x)
    np.testing.assert_allclose(found, x @ kernel + bias, rtol=1e-4, atol=1e-5)
    of_params, of_x = jax.jit(jax.grad(weighted, (0, 1)))(params, x)
    rows = x.reshape(-1, 5)
    rows_above = above.reshape(-1, columns)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(of_x, above @ kernel.T)
    close(of_params["kernel"], rows.T @ rows_above)
    assert set(of_params) == ({"kernel", "bias"} if use_bias else {"kernel"})
    if use_bias:
        close(of_params["bias"], rows_above.sum(0))


@pytest.mark.parametrize("columns", [2, 5])
def test_dense_can_be_transformed(assert_transforms, columns):
    dense = Dense(columns)
    params = dense.init(jax.random.PRNGKey(0), ROWS)["params"]
    assert_transforms(lambda p, x: dense.apply({"params": p}, x), params, ROWS)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_the_tower_can_be_transformed(assert_transforms, normalise, train):
    tower = Tower((3, 2), normalise=normalise)
    variables = tower.init(jax.random.PRNGKey(1), ROWS)

    def on_a_device(params, x):
        changed = {**variables, "params": params}
        apply = functools.partial(tower.apply, mutable=["batch_stats"])
        return apply(changed, x, WEIGHT, train)[0]

    def output(params, x):
        each = jax.vmap(on_a_device, (None, 0), axis_name=AXIS)
        return each(params, x[None])[0]

    assert_transforms(output, variables["params"], ROWS)


def test_a_tower_computes_in_the_type_of_its_input_and_keeps_float32_moments():
    tower = Tower((3, 7), normalise=True)
    variables = tower.init(jax.random.PRNGKey(0), ROWS, None, False)

    def run(x):
        apply = functools.partial(tower.apply, train=True, mutable=["batch_stats"])
        on_one = jax.vmap(lambda x: apply(variables, x, WEIGHT), axis_name=AXIS)
        return on_one(x[None])

    short = jnp.asarray(ROWS, jnp.bfloat16)
    found, changed = run(short)
    expected, moments = run(np.float32(short))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(found), expected, atol=0.06)
    # The first moments are of the same numbers, which were rounded before.
    of_first = changed["batch_stats"]["norm_0"]
    for name, leaf in moments["batch_stats"]["norm_0"].items():
        assert of_first[name].dtype == jnp.float32
        np.testing.assert_allclose(of_first[name], leaf, rtol=1e-5)
