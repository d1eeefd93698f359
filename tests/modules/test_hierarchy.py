"""Levels of the hierarchy, weighed by attention, against NumPy."""

from __future__ import annotations

import numpy as np

from ancf_jax.modules.hierarchy import level_attention

RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(5, 3)).astype(np.float32)
LEVELS = RNG.normal(size=(5, 2, 3)).astype(np.float32)


def test_levels_are_weighed_by_the_softmax_of_their_products():
    mixed, weights = level_attention(QUERY, LEVELS, np.ones((5, 2), bool))
    logits = (QUERY[:, None] * LEVELS).sum(-1) / np.sqrt(3)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    np.testing.assert_allclose(
        mixed, (expected[..., None] * LEVELS).sum(1), rtol=1e-4, atol=1e-6
    )


def test_a_level_that_is_absent_counts_for_nothing():
    present = np.array(
        [[True, True], [True, False], [False, True], [False, False], [True, True]]
    )
    mixed, weights = level_attention(QUERY, LEVELS, present)
    spoiled, _ = level_attention(
        QUERY, np.where(present[..., None], LEVELS, 99.0), present
    )
    np.testing.assert_allclose(mixed, spoiled, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mixed[1], LEVELS[1, 0], rtol=1e-5)
    np.testing.assert_allclose(mixed[2], LEVELS[2, 1], rtol=1e-5)
    np.testing.assert_array_equal(mixed[3], np.zeros(3))
    np.testing.assert_allclose(np.asarray(weights).sum(-1), [1, 1, 1, 0, 1], rtol=1e-5)


def test_the_attention_of_levels_can_be_transformed(assert_transforms):
    present = np.array([[True, True], [True, False]] * 2 + [[False, False]])

    def mixed(query, levels):
        return level_attention(query, levels, present)[0]

    assert_transforms(mixed, QUERY, LEVELS)
