"""What follows from the name of a loss."""

from __future__ import annotations

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.config import LossName, ObjectiveConfig
from ancf_jax.errors import UserError
from ancf_jax.objective import losses
from ancf_jax.objective.objective import objective_of
from ancf_jax.types import Batch, Request

ITEMS = 11
NEGATIVES = 3
DRAWN = ["bce", "bpr", "sampled_softmax", "gbce"]
RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((5, 1 + NEGATIVES), np.float32)
WEIGHT = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]], np.float32)


def objective(name: str, **settings):
    return objective_of(ObjectiveConfig(loss=name, **settings), ITEMS)


def batch_of(positive: np.ndarray, value: np.ndarray) -> Batch:
    """A batch of which the losses need no more than positives and values."""
    number = jnp.arange(positive.size).reshape(positive.shape)
    request = Request(*[number] * len(Request._fields))
    weight = jnp.ones(positive.shape)
    return Batch(request, number, jnp.asarray(positive), jnp.asarray(value), weight)


def with_positive(weight: np.ndarray) -> np.ndarray:
    """Weights of all candidates: the positive counts, and `weight` is that of the negatives."""
    ones = np.ones((*weight.shape[:-1], 1), weight.dtype)
    return np.concatenate([ones, weight], -1)


@pytest.mark.parametrize("name", DRAWN)
def test_losses_against_negatives_need_one(name):
    words = (
        f"--objective.negatives is 0, expected 1 or more, for --objective.loss {name}"
    )
    with pytest.raises(UserError, match=words):
        objective(name, negatives=0)
    assert objective("softmax", negatives=0).negatives == 0


@pytest.mark.parametrize(
    ("name", "candidates", "link", "metric"),
    [
        ("mse", "own", "identity", "loss"),
        ("log_loss", "own", "sigmoid", "auc"),
        ("bce", "drawn", "identity", "ndcg@10"),
        ("bpr", "drawn", "identity", "ndcg@10"),
        ("sampled_softmax", "drawn", "identity", "ndcg@10"),
        ("gbce", "drawn", "identity", "ndcg@10"),
        ("softmax", "catalogue", "identity", "ndcg@10"),
    ],
)
def test_what_a_loss_means(name, candidates, link, metric):
    found = objective(name, negatives=17)
    assert found.name == name
    assert found.candidates == candidates
    assert found.link == link
    assert found.metric == metric
    assert found.negatives == (17 if candidates == "drawn" else 0)
    assert found.predicts_values == (name in ("mse", "log_loss"))


@pytest.mark.parametrize("name", get_args(LossName))
def test_every_loss_that_can_be_set_has_an_objective(name):
    assert objective(name).name == name


def test_an_unknown_loss_is_refused_with_the_nearest_name():
    with pytest.raises(
        UserError, match=r'no loss "sofmax" \(did you mean "softmax"\?\)'
    ):
        objective("sofmax")
    with pytest.raises(
        UserError, match="choose one of mse, log_loss, bce, bpr, softmax"
    ):
        objective("hinge")


def test_equal_settings_give_the_same_objective_and_others_another():
    found = objective("gbce", gbce_calibration=0.5)
    assert found == objective("gbce", gbce_calibration=0.5)
    assert hash(found) == hash(objective("gbce", gbce_calibration=0.5))
    assert found != objective("gbce", gbce_calibration=0.25)
    assert found != objective_of(ObjectiveConfig(loss="gbce", gbce_calibration=0.5), 13)


def test_mse_by_hand():
    batch = batch_of(np.array([4, 2]), np.array([5.0, 1.5]))
    scores = jnp.array([[3.0], [1.0]])
    found = objective("mse").per_example(batch, scores, jnp.ones((2, 1)))
    np.testing.assert_allclose(found, [4.0, 0.25])


def test_log_loss_of_soft_labels():
    score = np.array([0.3, -2.0, 40.0])
    value = np.array([0.25, 1.0, 0.0])
    p = 1 / (1 + np.exp(-score[:2]))
    soft = -value[:2] * np.log(p) - (1 - value[:2]) * np.log(1 - p)
    batch = batch_of(np.array([4, 2, 3]), value.astype(np.float32))
    scores = jnp.asarray(score, jnp.float32)[:, None]
    found = objective("log_loss").per_example(batch, scores, jnp.ones((3, 1)))
    np.testing.assert_allclose(found, [*soft, 40.0], rtol=1e-5)


def test_softmax_finds_the_positive_in_the_catalogue():
    scores = RNG.standard_normal((2, 3, ITEMS), np.float32)
    positive = RNG.integers(0, ITEMS, (2, 3))
    batch = batch_of(positive, np.zeros((2, 3)))
    found = objective("softmax").per_example(batch, scores, jnp.ones((2, 3, 1)))
    exps = np.exp(scores)
    share = exps / exps.sum(-1, keepdims=True)
    of_positive = np.take_along_axis(share, positive[..., None], -1)[..., 0]
    np.testing.assert_allclose(found, -np.log(of_positive), rtol=1e-5)


def test_a_positive_is_held_against_its_drawn_negatives():
    batch = batch_of(np.arange(5), np.zeros(5))
    weight = with_positive(WEIGHT)
    expected = {
        "bce": losses.bce(SCORES, WEIGHT),
        "bpr": losses.bpr(SCORES, WEIGHT),
        "sampled_softmax": losses.sampled_softmax(SCORES, WEIGHT, ITEMS),
        "gbce": losses.gbce(SCORES, WEIGHT, ITEMS, calibration=0.6),
    }
    for name, values in expected.items():
        loss = objective(name, gbce_calibration=0.6)
        np.testing.assert_array_equal(
            loss.per_example(batch, SCORES, weight), values, err_msg=name
        )


@pytest.mark.parametrize("name", DRAWN)
def test_a_negative_of_weight_0_has_neither_value_nor_gradient(name):
    batch = batch_of(np.arange(5), np.zeros(5))
    weight = with_positive(WEIGHT)
    wrong = np.where(WEIGHT > 0, SCORES[:, 1:], 50.0)
    spoiled = np.concatenate([SCORES[:, :1], wrong], 1)

    def loss(scores):
        return objective(name).per_example(batch, scores, weight)

    np.testing.assert_allclose(loss(spoiled), loss(SCORES), rtol=1e-6)
    gradient = np.asarray(jax.grad(lambda scores: loss(scores).sum())(spoiled))
    assert np.isfinite(gradient).all()
    assert not gradient[:, 1:][WEIGHT == 0].any()
    assert (gradient[:, 1:][WEIGHT > 0] > 0).all()
    assert (gradient[:3, 0] < 0).all()


@pytest.mark.parametrize("name", DRAWN)
def test_huge_scores_stay_finite(name):
    scores = jnp.array([[-1e4, 1e4], [1e4, -1e4]])
    batch = batch_of(np.arange(2), np.zeros(2))
    loss = objective(name).per_example(batch, scores, jnp.ones((2, 2)))
    assert np.isfinite(loss).all()
