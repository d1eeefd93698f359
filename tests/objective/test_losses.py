"""Losses against their formulas in NumPy."""

from __future__ import annotations

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.config import ObjectiveConfig
from ancf_jax.objective import losses
from ancf_jax.types import Prior

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(5, 1 + 3))
WEIGHT = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]], np.float64)
ITEMS = 11


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_mse_by_hand():
    loss = losses.value_loss(ObjectiveConfig(loss="mse"))
    np.testing.assert_allclose(
        loss(jnp.array([3.0, 1.0]), jnp.array([5.0, 1.5])), [4.0, 0.25]
    )


def test_log_loss_of_soft_labels():
    score, value = np.array([0.3, -2.0, 40.0]), np.array([0.25, 1.0, 0.0])
    p = sigmoid(score[:2])
    expected = [*(-value[:2] * np.log(p) - (1 - value[:2]) * np.log(1 - p)), 40.0]
    loss = losses.value_loss(ObjectiveConfig(loss="log_loss"))
    np.testing.assert_allclose(
        loss(*(jnp.asarray(x, jnp.float32) for x in (score, value))),
        expected,
        rtol=1e-5,
    )


def test_bce_counts_the_negatives_that_count():
    expected = -np.log(sigmoid(SCORES[:, 0])) - (
        WEIGHT * np.log(1 - sigmoid(SCORES[:, 1:]))
    ).sum(1)
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
    np.testing.assert_allclose(
        losses.sampled_softmax(SCORES, WEIGHT, ITEMS), expected, rtol=1e-5, atol=1e-6
    )


def test_sampled_softmax_over_all_items_is_the_full_one():
    scores, positive = RNG.normal(size=(1, ITEMS)), np.array([4])
    order = [4, *(i for i in range(ITEMS) if i != 4)]
    sampled = losses.sampled_softmax(scores[:, order], np.ones((1, ITEMS - 1)), ITEMS)
    expected = np.log(np.exp(scores).sum()) - scores[0, 4]
    np.testing.assert_allclose(sampled, [expected], rtol=1e-5)
    np.testing.assert_allclose(losses.softmax(scores, positive), [expected], rtol=1e-5)


def test_sampled_softmax_estimates_the_partition_sum_without_bias():
    """The mean of exp(loss), which is linear in the partition sum, over all pairs of negatives is exact."""
    scores = RNG.normal(size=6)
    pairs = [(0, *pair) for pair in itertools.product(range(1, 6), repeat=2)]
    drawn = losses.sampled_softmax(scores[np.array(pairs)], np.ones((25, 2)), 6)
    np.testing.assert_allclose(
        np.exp(drawn).mean(), np.exp(scores).sum() / np.exp(scores[0]), rtol=1e-5
    )


def test_gbce_lies_between_bce_and_the_unbiased_loss():
    plain = losses.gbce(SCORES, WEIGHT, ITEMS, 0.0)
    np.testing.assert_allclose(plain, losses.bce(SCORES, WEIGHT), rtol=1e-5)
    negatives = -(WEIGHT * np.log(1 - sigmoid(SCORES[:, 1:]))).sum(1)
    alpha = 3 / 10
    for calibration, beta in (
        (1.0, alpha),
        (0.75, alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha)),
    ):
        expected = -beta * np.log(sigmoid(SCORES[:, 0])) + negatives
        np.testing.assert_allclose(
            losses.gbce(SCORES, WEIGHT, ITEMS, calibration), expected, rtol=1e-5
        )


@pytest.mark.parametrize(
    ("at_once", "width"), [(1, 4), (3 * 11, 4), (10**6, 4), (3 * 11, 0)]
)
def test_softmax_of_products_is_the_softmax_of_the_scores_and_so_is_its_gradient(
    monkeypatch, at_once, width
):
    """Whatever number of rows is scored at once: 2, 3, and more than there are."""
    monkeypatch.setattr(losses, "SCORES_AT_ONCE", at_once)
    monkeypatch.setattr(losses, "MIN_ROWS", 2)
    rows, items, popular = (
        RNG.normal(size=(5, 7, 3)),
        RNG.normal(size=(ITEMS, 3)),
        RNG.normal(size=ITEMS),
    )
    positive, weight = RNG.integers(0, ITEMS, (5, 7)), RNG.uniform(size=(5, 7))
    item, value = (
        RNG.integers(0, ITEMS + 1, (5, 7, width)),
        RNG.normal(size=(5, 7, width)),
    )  # some twice, some none's

    def plain(rows, items, popular, value):
        some = (jax.nn.one_hot(item, ITEMS) * value[..., None]).sum(-2)
        return (
            1.7
            * (
                losses.softmax(rows @ items.T + popular[None, None] + some, positive)
                * weight
            ).sum()
        )

    def chunked(rows, items, popular, value):
        return 1.7 * losses.product_softmax(
            rows, items, Prior(popular, item, value), positive, weight
        )

    inputs = rows, items, popular, value
    expected, found = (
        jax.value_and_grad(f, (0, 1, 2, 3))(*inputs) for f in (plain, chunked)
    )
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected
    )


RANKING = ["bce", "bpr", "sampled_softmax", "gbce"]


@pytest.mark.parametrize("name", RANKING)
def test_a_negative_of_weight_0_has_neither_value_nor_gradient(name):
    loss = losses.ranking_loss(ObjectiveConfig(loss=name), ITEMS)
    scores, weight = jnp.asarray(SCORES, jnp.float32), jnp.asarray(WEIGHT, jnp.float32)
    spoiled = jnp.concatenate(
        [scores[:, :1], jnp.where(weight > 0, scores[:, 1:], 50.0)], 1
    )
    np.testing.assert_allclose(loss(spoiled, weight), loss(scores, weight), rtol=1e-6)
    gradient = np.asarray(jax.grad(lambda s: loss(s, weight).sum())(spoiled))
    assert np.isfinite(gradient).all()
    assert not gradient[:, 1:][WEIGHT == 0].any()
    assert (gradient[:, 1:][WEIGHT > 0] > 0).all()
    assert (gradient[:3, 0] < 0).all()


@pytest.mark.parametrize("name", RANKING)
def test_huge_scores_stay_finite(name):
    loss = losses.ranking_loss(ObjectiveConfig(loss=name), ITEMS)
    assert np.isfinite(
        loss(jnp.array([[-1e4, 1e4], [1e4, -1e4]]), jnp.ones((2, 1)))
    ).all()
