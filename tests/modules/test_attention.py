"""Attention against NumPy, and what masks promise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.modules.attention import attend, causal_mask, distance_bias

B, Q, L, H, D = 2, 3, 5, 2, 7
RNG = np.random.default_rng(0)
QUERIES = RNG.normal(size=(B, Q, H, D)).astype(np.float32)
KEYS, VALUES = (RNG.normal(size=(B, L, H, D)).astype(np.float32) for _ in range(2))
BIAS = RNG.normal(size=(1, H, Q, L)).astype(np.float32)
MASK = np.ones((B, 1, 1, L), bool)


def test_attention_by_loops():
    mixed, weights = attend(QUERIES, KEYS, VALUES, BIAS, MASK)
    assert mixed.shape == (B, Q, H, D)
    for b, q, h in np.ndindex(B, Q, H):
        logits = KEYS[b, :, h] @ QUERIES[b, q, h] / np.sqrt(D) + BIAS[0, h, q]
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(weights[b, h, q], expected, rtol=1e-4)
        np.testing.assert_allclose(mixed[b, q, h], expected @ VALUES[b, :, h], rtol=1e-4, atol=1e-5)


def test_masking_equals_dropping():
    keep = [0, 2, 3]
    mask = np.isin(np.arange(L), keep)[None, None, None]
    masked, weights = attend(QUERIES, KEYS, VALUES, BIAS, mask)
    dropped, _ = attend(QUERIES, KEYS[:, keep], VALUES[:, keep], BIAS[..., keep], np.ones((1, 1, 1, 3), bool))
    np.testing.assert_allclose(masked, dropped, rtol=1e-5, atol=1e-6)
    assert not np.asarray(weights)[..., [1, 4]].any()


def test_a_query_without_keys_is_zero_and_has_finite_gradients():
    mask = np.array([True, False])[:, None, None, None]

    def total(keys):
        return attend(QUERIES, keys, VALUES, BIAS, mask)[0].sum()

    mixed, _ = attend(QUERIES, KEYS, VALUES, BIAS, mask)
    assert np.abs(mixed[0]).max() > 0
    np.testing.assert_array_equal(mixed[1], np.zeros((Q, H, D)))
    gradient = np.asarray(jax.grad(total)(jnp.asarray(KEYS)))
    assert np.isfinite(gradient).all()
    assert not gradient[1].any()


def test_a_causal_mask_looks_back_and_never_at_padding():
    found = causal_mask(jnp.array([[False, True, True]]))
    np.testing.assert_array_equal(found, [[[[0, 0, 0], [0, 1, 0], [0, 1, 1]]]])


def test_distance_bias_depends_on_how_far_back_a_key_lies():
    table = np.array([[10.0, 20.0, 30.0], [1.0, 2.0, 3.0]])  # heads by distance
    found = np.asarray(distance_bias(jnp.asarray(table)))
    assert found.shape == (1, 2, 3, 3)
    for query in range(3):
        for key in range(query + 1):
            np.testing.assert_array_equal(found[0, :, query, key], table[:, query - key])
