"""Losses against their formulas in NumPy; by name, and of values, in test_objective."""

from __future__ import annotations

import itertools

import numpy as np

from ancf_jax.objective import losses

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(5, 1 + 3))
WEIGHT = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]], np.float64)
ITEMS = 11


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_bce_counts_the_negatives_that_count():
    rejected = WEIGHT * np.log(1 - sigmoid(SCORES[:, 1:]))
    expected = -np.log(sigmoid(SCORES[:, 0])) - rejected.sum(1)
    np.testing.assert_allclose(losses.bce(SCORES, WEIGHT), expected, rtol=1e-5)


def test_bpr_is_a_mean_over_the_negatives_that_count():
    terms = -np.log(sigmoid(SCORES[:, :1] - SCORES[:, 1:]))
    expected = [
        (w * t).sum() / max(w.sum(), 1) for w, t in zip(WEIGHT, terms, strict=True)
    ]
    np.testing.assert_allclose(losses.bpr(SCORES, WEIGHT), expected, rtol=1e-5)


def test_sampled_softmax_by_hand():
    count = np.maximum(WEIGHT.sum(1), 1)
    others = (WEIGHT * np.exp(SCORES[:, 1:])).sum(1) * (ITEMS - 1) / count
    expected = np.log(np.exp(SCORES[:, 0]) + others) - SCORES[:, 0]
    found = losses.sampled_softmax(SCORES, WEIGHT, ITEMS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_sampled_softmax_over_all_items_is_the_full_one():
    scores = RNG.normal(size=(1, ITEMS))
    positive = np.array([4])
    order = [4, *(i for i in range(ITEMS) if i != 4)]
    sampled = losses.sampled_softmax(scores[:, order], np.ones((1, ITEMS - 1)), ITEMS)
    expected = np.log(np.exp(scores).sum()) - scores[0, 4]
    np.testing.assert_allclose(sampled, [expected], rtol=1e-5)
    np.testing.assert_allclose(losses.softmax(scores, positive), [expected], rtol=1e-5)


def test_sampled_softmax_estimates_the_partition_sum_without_bias():
    """exp(loss) is linear in the partition sum: its mean over all pairs of negatives is exact."""
    scores = RNG.normal(size=6)
    pairs = [(0, *pair) for pair in itertools.product(range(1, 6), repeat=2)]
    drawn = losses.sampled_softmax(scores[np.array(pairs)], np.ones((25, 2)), 6)
    expected = np.exp(scores).sum() / np.exp(scores[0])
    np.testing.assert_allclose(np.exp(drawn).mean(), expected, rtol=1e-5)


def test_gbce_lies_between_bce_and_the_unbiased_loss():
    plain = losses.gbce(SCORES, WEIGHT, ITEMS, 0.0)
    np.testing.assert_allclose(plain, losses.bce(SCORES, WEIGHT), rtol=1e-5)
    negatives = -(WEIGHT * np.log(1 - sigmoid(SCORES[:, 1:]))).sum(1)
    alpha = 3 / 10
    between = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha)
    for calibration, beta in ((1.0, alpha), (0.75, between)):
        expected = -beta * np.log(sigmoid(SCORES[:, 0])) + negatives
        found = losses.gbce(SCORES, WEIGHT, ITEMS, calibration)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
