"""Attention against NumPy, what masks promise, and the encoder."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.modules.attention import (
    HIDDEN,
    TIME_BUCKETS,
    CausalEncoder,
    attend,
    attend_causally,
    causal_mask,
    distance_bias,
    mask_of,
    time_bucket,
)

B = 2
Q = 3
L = 5
H = 2
D = 7
RNG = np.random.default_rng(0)
QUERIES = RNG.normal(size=(B, Q, H, D)).astype(np.float32)
KEYS = RNG.normal(size=(B, L, H, D)).astype(np.float32)
VALUES = RNG.normal(size=(B, L, H, D)).astype(np.float32)
BIAS = RNG.normal(size=(1, H, Q, L)).astype(np.float32)
MASK = np.zeros((B, 1, 1, L))


def test_attention_by_loops():
    mixed, weights = attend(QUERIES, KEYS, VALUES, BIAS, MASK)
    assert mixed.shape == (B, Q, H, D)
    for b, q, h in np.ndindex(B, Q, H):
        logits = KEYS[b, :, h] @ QUERIES[b, q, h] / np.sqrt(D) + BIAS[0, h, q]
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(weights[b, h, q], expected, rtol=1e-4)
        np.testing.assert_allclose(
            mixed[b, q, h], expected @ VALUES[b, :, h], rtol=1e-4, atol=1e-5
        )


def test_masking_equals_dropping():
    keep = [0, 2, 3]
    mask = mask_of(np.isin(np.arange(L), keep)[None, None, None])
    masked, weights = attend(QUERIES, KEYS, VALUES, BIAS, mask)
    dropped, _ = attend(
        QUERIES, KEYS[:, keep], VALUES[:, keep], BIAS[..., keep], np.zeros((1, 1, 1, 3))
    )
    np.testing.assert_allclose(masked, dropped, rtol=1e-5, atol=1e-6)
    assert not np.asarray(weights)[..., [1, 4]].any()


def test_a_query_without_keys_is_zero_and_has_finite_gradients():
    mask = np.array([0, HIDDEN])[:, None, None, None]

    def total(keys):
        return attend(QUERIES, keys, VALUES, BIAS, mask)[0].sum()

    mixed, _ = attend(QUERIES, KEYS, VALUES, BIAS, mask)
    assert np.abs(mixed[0]).max() > 0
    np.testing.assert_array_equal(mixed[1], np.zeros((Q, H, D)))
    gradient = np.asarray(jax.grad(total)(jnp.asarray(KEYS)))
    assert np.isfinite(gradient).all()
    assert not gradient[1].any()


def test_a_causal_mask_looks_back_and_never_at_padding():
    found = causal_mask(jnp.array([[-1, 0, 0, 4]]))
    expected = [[[[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]]]
    np.testing.assert_array_equal(found, mask_of(np.array(expected, bool)))


@pytest.mark.parametrize("queries", [1, 67, 131])
def test_attending_causally_is_attending_with_a_mask(queries):
    length = 131
    rng = np.random.default_rng(1)
    q, k, v = rng.normal(size=(3, B, length, H, D)).astype(np.float32)
    bias = rng.normal(size=(1, H, length, length)).astype(np.float32)
    mask = causal_mask(jnp.asarray(rng.integers(-1, 2, (B, length))))
    latest = slice(length - queries, None)
    inputs = q[:, latest], k, v, bias[:, :, latest], mask[:, :, latest]
    expected = attend(*inputs)
    found = attend_causally(*inputs)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_attention_can_be_transformed(assert_transforms):
    def mixed(q, k, v, bias):
        return attend(q, k, v, bias, MASK)[0]

    assert_transforms(mixed, QUERIES, KEYS, VALUES, BIAS)


def test_the_last_state_alone_is_the_last_of_all():
    x = RNG.normal(size=(B, L, 6)).astype(np.float32)
    segment = jnp.array([[-1, 0, 0, 0, 0], [0] * L])
    encoder = CausalEncoder(layers=2, heads=H, dropout=0.0)
    inputs = x, causal_mask(segment), None, False
    variables = encoder.init(jax.random.PRNGKey(0), *inputs)
    last = encoder.apply(variables, *inputs, last=True)
    assert last.shape == (B, 1, 6)
    np.testing.assert_allclose(
        last[:, 0], encoder.apply(variables, *inputs)[:, -1], rtol=1e-4, atol=1e-5
    )


def test_the_encoder_can_be_transformed(assert_transforms):
    length = 71  # more than one block of queries
    rng = np.random.default_rng(2)
    x = rng.normal(size=(B, length, 6)).astype(np.float32)
    minute = jnp.asarray(rng.integers(0, 10_000, (B, length)).cumsum(1))
    mask = causal_mask(jnp.zeros((B, length), jnp.int32))
    bucket = time_bucket(minute, minute)
    encoder = CausalEncoder(layers=1, heads=H, dropout=0.0)
    variables = encoder.init(jax.random.PRNGKey(0), x, mask, bucket, False)

    def states(params, x):
        return encoder.apply({"params": params}, x, mask, bucket, True)

    assert_transforms(states, variables["params"], x)


def test_time_buckets_grow_by_powers_of_two_minutes():
    then = jnp.array([[0, 0, 0, 0, 0]])
    now = jnp.array([[-5, 0, 1, 6, 7]])
    found = time_bucket(now, then)
    np.testing.assert_array_equal(found[0, :, 0], [0, 0, 1, 2, 3])
    year = 365 * 24 * 60
    last = time_bucket(jnp.array([[year, 9 * year]]), jnp.array([[0, 0]]))
    np.testing.assert_array_equal(last[0, :, 0], [TIME_BUCKETS - 1] * 2)


def test_distance_bias_depends_on_how_far_back_a_key_lies():
    table = np.array([[10.0, 20.0, 30.0], [1.0, 2.0, 3.0]])  # heads by distance
    found = np.asarray(distance_bias(jnp.asarray(table)))
    assert found.shape == (1, 2, 3, 3)
    for query in range(3):
        for key in range(query + 1):
            np.testing.assert_array_equal(
                found[0, :, query, key], table[:, query - key]
            )


def test_an_encoder_in_bfloat16_says_nearly_the_same_in_float32():
    tokens = RNG.normal(size=(3, 7, 8)).astype(np.float32)
    segment = np.zeros((3, 7), np.int32)
    mask = causal_mask(segment)
    exact = CausalEncoder(2, 2, 0.0)
    variables = exact.init(jax.random.PRNGKey(0), tokens, mask, None, False)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
    short = CausalEncoder(2, 2, 0.0, jnp.bfloat16)
    found = short.apply(variables, tokens, mask, None, False)
    expected = exact.apply(variables, tokens, mask, None, False)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert (found != expected).any()
