"""Figures of a model whose scores are known, against counting by hand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ancf_jax import data
from ancf_jax.config import ObjectiveConfig
from ancf_jax.data import TEST, TRAIN, VALIDATION, Dataset, Interactions
from ancf_jax.data.corner_store import Truth
from ancf_jax.errors import UserError
from ancf_jax.evaluation import (
    evaluate,
    explored_evaluation,
    given_ranks,
    groups_by_events,
    mean_baselines,
    only_liked,
    truth_metrics,
    value_figures,
    value_objective,
)
from ancf_jax.evaluation.repeats import figures_apart, had_before
from ancf_jax.machine.parallel import device_count
from ancf_jax.models.protocol import predictions
from ancf_jax.models.registry import default_config
from ancf_jax.objective.metrics import Ranks
from ancf_jax.objective.objective import objective_of
from ancf_jax.prepared import prepare
from ancf_jax.ranking import Ranker

USERS = 3
ITEMS = 7
# user, item, part, value
EVENTS = [
    (0, 1, TRAIN, 5.0),
    (0, 2, TRAIN, 1.0),
    (0, 3, VALIDATION, 4.0),
    (0, 4, TEST, 3.0),
    (1, 1, TRAIN, 3.0),
    (1, 5, TRAIN, 2.0),
    (1, 1, VALIDATION, 5.0),
    (1, 5, TEST, 1.0),
    (2, 6, TRAIN, 4.0),
    (2, 6, VALIDATION, 3.0),
    (2, 0, TEST, 5.0),
]
SCORES = [
    [7, 6, 5, 4, 3, 2, 1],
    [1, 1, 1, 1, 1, 1, 1],
    [0, 9, 8, 0, 0, 0, 7],
]


@dataclass(frozen=True)
class ByTable:
    def encode_users(self, variables, log, catalogue, request):
        return variables["table"][request.user]

    def encode_items(self, variables, catalogue, items):
        return items

    def score(self, variables, users, items):
        if items.ndim == 1:
            return users[:, items]
        return jnp.take_along_axis(users, items, axis=1)


@pytest.fixture(scope="module")
def shop() -> Dataset:
    columns = zip(*EVENTS, strict=True)
    user, item, part, value = map(np.array, columns)
    negatives = [
        [0, 1, 4, -1],
        [0, 2, 3, 4],
        [1, 3, 4, 2],
    ]
    interactions = Interactions(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        time=np.arange(len(EVENTS)),
        clock=False,
        users=np.array(["a", "b", "c"]),
        items=np.array([f"i{n}" for n in range(ITEMS)]),
        names=np.array([f"item {n}" for n in range(ITEMS)]),
        kind=np.zeros(len(EVENTS), np.int8),
        given_negatives=np.array(negatives, np.int32),
    )
    return Dataset(
        interactions=interactions,
        part=part.astype(np.int8),
        audit={},
        scales=None,
        value=value.astype(np.float32),
    )


@pytest.fixture(scope="module", params=["one device", "all devices"])
def ranker(shop, request) -> Ranker:
    assert device_count() > 1, "the tests have several devices"
    log = data.event_log(shop, data.known_parts(TEST))
    catalogue = data.catalogue(shop)
    return Ranker(
        model=ByTable(),
        variables={"table": jnp.array(SCORES, jnp.float32)},
        log=jax.device_put(log),
        catalogue=jax.device_put(catalogue),
        block=2,
        devices=device_count() if request.param == "all devices" else 1,
    )


def test_a_part_without_events_is_refused(shop, ranker):
    """As the validation part is after --split.validation 0."""
    part = np.where(shop.part == VALIDATION, TRAIN, shop.part)
    without = dataclasses.replace(shop, part=part)
    with pytest.raises(UserError, match="only --split test"):
        evaluate(ranker, without, VALIDATION)


def test_full_ranking_with_seen_items_left_out(shop, ranker):
    """a: 0 above 4 of the unseen 0, 4, 5, 6: place 2. b: 5 was seen before.

    c: 0 ties with 3, 4, 5 below 1, 2.
    """
    found = evaluate(ranker, shop, TEST)
    assert found.left_out == 1
    assert_array_equal(found.user, [0, 1, 2])
    second = 1 / np.log2(3)
    third_to_sixth = np.mean(1 / np.log2([4, 5, 6, np.inf]))
    expected = [second, np.nan, third_to_sixth]
    assert_allclose(found.per_user["ndcg@5"], expected)
    assert found.metrics["hit_rate@5"] == pytest.approx((1 + 3 / 4) / 2)
    assert found.metrics["hit_rate@1"] == 0
    low, high = found.intervals["hit_rate@5"]
    assert 0.75 <= low <= 0.875 <= high <= 1
    assert found.metrics["coverage@10"] == 1.0


def test_full_ranking_with_seen_items_kept(shop, ranker):
    found = evaluate(ranker, shop, TEST, keep_seen=True)
    assert found.left_out == 0
    # b is tied with all, c's item 0 with 3, 4 and 5 below 1, 2 and 6.
    fifth = 1 / 5
    first_to_seventh = (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 7
    fourth_to_seventh = (1 / 4 + 1 / 5) / 4
    expected = [fifth, first_to_seventh, fourth_to_seventh]
    assert_allclose(found.per_user["mrr@5"], expected)


def test_what_users_take_again_has_figures_of_its_own(shop, ranker):
    """b takes item 5 again, at any of 7 places; a's 4 and c's 0 are new, at 5 and at 4 to 7."""
    found = evaluate(ranker, shop, TEST, keep_seen=True)
    any_place = np.mean(1 / np.log2(np.arange(2, 9)))
    assert_allclose(found.per_user["repeats: ndcg@10"], [np.nan, any_place, np.nan])
    fourth_to_seventh = np.mean(1 / np.log2([5, 6, 7, 8]))
    first_time = [1 / np.log2(6), np.nan, fourth_to_seventh]
    assert_allclose(found.per_user["first-time: ndcg@10"], first_time)
    assert found.metrics["first-time: ndcg@10"] == pytest.approx(np.nanmean(first_time))
    low, high = found.intervals["first-time: ndcg@10"]
    assert low == pytest.approx(fourth_to_seventh)
    assert high == pytest.approx(1 / np.log2(6))
    assert found.metrics["repeats: share"] == pytest.approx(1 / 3)
    for plain in (
        evaluate(ranker, shop, TEST),
        evaluate(ranker, shop, TEST, protocol="sampled", keep_seen=True),
    ):
        assert not any("repeats" in name for name in plain.metrics)


def test_figures_apart_by_hand():
    """Of 13 items a's stand at 1 (new), 3 (again) and 12 (again), b's at 2 (new); c has none.

    d's two are tied for 10 and 11: one is taken again, one is new.
    """
    ranks = Ranks(
        start=np.array([0, 3, 4, 4, 6]),
        greater=np.array([0, 2, 11, 1, 9, 9]),
        equal=np.array([0, 0, 0, 0, 1, 1]),
        candidates=np.full(4, 13),
        score=np.array([9.0, 7.0, 1.0, 8.0, 3.0, 3.0]),
    )
    is_repeat = np.array([False, True, True, False, True, False])
    found = figures_apart(ranks, is_repeat)
    assert_allclose(found["repeats: recall@10"], [1 / 2, np.nan, np.nan, 1 / 2])
    assert_allclose(found["first-time: recall@10"], [1, 1, np.nan, 1 / 2])
    tenth = 1 / np.log2(11)
    at_best = 1 + 1 / np.log2(3)
    expected = [0.5 / at_best, np.nan, np.nan, tenth / 2]
    assert_allclose(found["repeats: ndcg@10"], expected)
    expected = [1, 1 / np.log2(3), np.nan, tenth / 2]
    assert_allclose(found["first-time: ndcg@10"], expected)


def test_what_was_had_before_is_what_the_log_holds(shop):
    """Before validation b had 1 and 5, c had 6; before the test a had 3, too."""
    train = data.event_log(shop, (TRAIN,))
    validation = data.heldout(shop, VALIDATION)
    assert_array_equal(validation.item, [3, 1, 6])
    assert_array_equal(had_before(validation, train), [False, True, True])
    known = data.event_log(shop, data.known_parts(TEST))
    tested = data.heldout(shop, TEST)
    assert_array_equal(tested.item, [4, 5, 0])
    assert_array_equal(had_before(tested, known), [False, True, False])


def test_given_negatives_rank_against_the_items_of_the_files(shop, ranker):
    """a: 4 is its own negative, which does not count, and -1 is none: below 0 and 1 of 3 in all."""
    ranks = given_ranks(ranker, shop, data.heldout(shop, TEST))
    assert_array_equal(ranks.greater, [2, 0, 2])
    assert_array_equal(ranks.equal, [0, 4, 2])
    assert_array_equal(ranks.candidates, [3, 5, 5])
    found = evaluate(ranker, shop, TEST, protocol="given")
    assert found.left_out == 0
    assert_allclose(found.per_user["hit_rate@1"], [0, 1 / 5, 0])
    assert "coverage@10" not in found.metrics


def test_the_sampled_protocol_is_an_expectation(shop, ranker):
    """a: against one of the unseen 0, 5, 6 the item 4 wins in two of three draws.

    c: against one of 1 to 5 the item 0 ties in three of five draws.
    """
    found = evaluate(ranker, shop, TEST, protocol="sampled", negatives=1)
    expected = [2 / 3, np.nan, 0.5 * 3 / 5]
    assert_allclose(found.per_user["hit_rate@1"], expected)


def test_given_negatives_that_cannot_be_used_are_explained(shop, ranker):
    interactions = dataclasses.replace(shop.interactions, given_negatives=None)
    without = dataclasses.replace(shop, interactions=interactions)
    with pytest.raises(UserError, match="no given negatives"):
        given_ranks(ranker, without, data.heldout(shop, TEST))
    part = np.where(shop.part == TRAIN, TEST, shop.part)
    all_tested = dataclasses.replace(shop, part=part)
    two = data.heldout(all_tested, TEST)
    with pytest.raises(UserError, match="exactly one"):
        given_ranks(ranker, shop, two)


def test_values_make_hits_of_what_is_liked_alone(shop, ranker):
    """The median of the training values 5, 1, 3, 2, 4 is 3.

    So of the test values 3, 1, 5 b's does not count.
    """
    liked = only_liked(data.heldout(shop, TEST), shop)
    assert_array_equal(liked.item, [4, 0])
    assert_array_equal(liked.start, [0, 1, 1, 2])
    mse = objective_of(ObjectiveConfig(loss="mse"), ITEMS)
    found = evaluate(ranker, shop, TEST, objective=mse, keep_seen=True)
    errors = np.array([3 - 3, 1 - 1, 0 - 5])
    rmse = np.sqrt((errors**2).mean())
    assert found.metrics["rmse"] == pytest.approx(rmse)
    mae = np.abs(errors).mean()
    assert found.metrics["mae"] == pytest.approx(mae)
    assert np.isnan(found.per_user["ndcg@10"][1])


def test_engagement_is_judged_by_auc_and_log_loss(shop, ranker):
    prediction = np.array([0.9, 0.2, 0.6])
    value = np.array([1.0, 0.0, 0.5])
    figures = value_figures(prediction, value, "log_loss", 0.5)
    assert figures["auc"] == 1.0
    half = (np.log(0.6) + np.log(0.4)) / 2
    expected = -np.mean([np.log(0.9), np.log(0.8), half])
    assert figures["log_loss"] == pytest.approx(expected)
    one_class = value_figures(prediction, np.ones(3), "log_loss", 0.5)
    assert one_class["auc"] is None


def test_means_of_items_and_users(shop):
    """Known before the test: items 1 (5, 3, 5), 2 (1), 3 (4), 5 (2), 6 (4, 3).

    Users a (5, 1, 4), b (3, 2, 5), c (4, 3).
    """
    found = mean_baselines(shop, TEST, "mse")
    overall = np.mean([5, 1, 4, 3, 2, 5, 4, 3])
    # Tested are items 4, 5 and 0.
    of_item = np.array([overall - 3, 2 - 1, overall - 5])
    rmse = np.sqrt((of_item**2).mean())
    assert found["item mean"]["rmse"] == pytest.approx(rmse)
    of_user = np.array([10 / 3 - 3, 10 / 3 - 1, 3.5 - 5])
    mae = np.abs(of_user).mean()
    assert found["user mean"]["mae"] == pytest.approx(mae)


def test_the_truth_is_the_best_there_is(shop):
    """True chances rank b's item first; a's is behind item 0, unless that is left out as seen."""
    assert truth_metrics(shop, TEST, True) is None
    chance = np.full((USERS, ITEMS), 0.1, np.float32)
    chance[0, [1, 4]] = [0.4, 0.3]  # 1 was seen before
    chance[1, 5] = 0.5
    chance[2, 0] = 0.2
    truth = Truth(validation=1 - chance, test=chance)
    simulated = dataclasses.replace(shop, truth=truth)
    kept = truth_metrics(simulated, TEST, True)
    assert_allclose(kept["mrr@5"], [1 / 2, 1, 1])
    unseen = truth_metrics(simulated, TEST, False)
    assert_allclose(unseen["mrr@5"], [1, np.nan, 1])


SIGMOID = 1 / (1 + np.exp(-0.3))


@pytest.mark.parametrize(
    ("name", "value_loss", "prediction"),
    [
        ("linear", "mse", 0.3),
        ("engagement", "log_loss", SIGMOID),
        ("neumf", None, 0.3),
        ("popularity", None, 0.3),
    ],
)
def test_models_that_predict_values_are_known_by_their_loss(
    shop, name, value_loss, prediction
):
    prepared = prepare(default_config(name), shop, (TRAIN,))
    objective = value_objective(prepared)
    assert (objective and objective.name) == value_loss
    assert predictions(prepared.model, 0.3) == pytest.approx(prediction)


def test_an_objective_without_values_changes_nothing(shop, ranker):
    softmax = objective_of(ObjectiveConfig(loss="softmax"), ITEMS)
    found = evaluate(ranker, shop, TEST, objective=softmax)
    plain = evaluate(ranker, shop, TEST)
    assert found.metrics == plain.metrics
    assert found.intervals == plain.intervals


def test_groups_by_known_events(shop, ranker):
    """0, 3 and 4 have no training event, 5 and 6 have one, 1 two. a and b took two events, c one.

    a: place 5 of 7, b: all are tied, c: 4 ties with 0, 3, 5 behind three.
    """
    ranker = dataclasses.replace(
        ranker, catalogue=jax.device_put(data.catalogue(shop, (TRAIN,)))
    )
    found = evaluate(ranker, shop, keep_seen=True)
    groups = groups_by_events(ranker, found.ranked, found.per_user)
    by_name = {group.name: group for group in groups}
    assert list(by_name) == [
        "items, 0 events",
        "items, 1-5 events",
        "users, 1-5 events",
    ]
    new = by_name["items, 0 events"]
    assert (new.count, new.share) == (2, 2 / 3)
    assert new.share_of_places == 3 / 7
    assert_allclose(new.metrics["random"], 1)
    known = by_name["items, 1-5 events"]
    assert_allclose(known.metrics["ndcg@10"], found.per_user["ndcg@10"][1])
    users = by_name["users, 1-5 events"]
    assert (users.count, users.share_of_places) == (3, None)
    assert_allclose(users.metrics["ndcg@10"], found.metrics["ndcg@10"])


def test_explored_lists_cost_what_they_cost(shop, ranker):
    """All ten places are kept for 0, 3 and 4; the four others come before these three.

    a: 4 is the last of all. b: 5 is one of the four, all tied. c: 0 ties with 3 and 4.
    """
    ranker = dataclasses.replace(
        ranker, catalogue=jax.device_put(data.catalogue(shop, (TRAIN,)))
    )
    plain = evaluate(ranker, shop, keep_seen=True)
    held = plain.ranked.held
    found = explored_evaluation(ranker, held, True, plain.per_user, 1.0, seed=0)
    assert found.share_of_purchases == 2 / 3
    assert_allclose(found.share_of_places, 3 / 10)
    gain = 1 / np.log2(np.arange(2, 9))
    expected = np.mean([gain[6], gain[:4].mean(), gain[4:].mean()])
    assert_allclose(found.metrics["ndcg@10"], expected)
    change = expected - plain.metrics["ndcg@10"]
    assert_allclose(found.metrics["change in ndcg@10"], change)
    assert_allclose(found.metrics["new: hit_rate"], 1)
