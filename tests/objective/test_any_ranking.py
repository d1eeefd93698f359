"""Metrics of any scores: equal to plain NumPy, between 0 and 1, and blind to what does not matter."""

from __future__ import annotations

from math import log2

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ancf_jax.objective.metrics import (
    Ranks,
    auc_binary,
    log_loss,
    mae,
    ranking_metrics,
    rmse,
    sampled_metrics,
)

KS = (1, 3, 10)
Request = tuple[np.ndarray, np.ndarray]


@st.composite
def requests(draw: st.DrawFn, most_scores: int = 5) -> Request:
    """Scores [C] of which many are equal, and which of the candidates are positives."""
    size = draw(st.integers(1, 13))
    scores = draw(arrays(np.float32, size, elements=st.integers(0, most_scores - 1)))
    positive = draw(arrays(bool, size))
    assume(positive.any())
    return scores, positive


@st.composite
def distinct_requests(draw: st.DrawFn) -> Request:
    """Scores without equals."""
    scores, positive = draw(requests())
    order = draw(st.permutations(range(len(scores))))
    return np.array(order, np.float32), positive


def ranks_of(*asked: Request) -> Ranks:
    """Counted one by one."""
    own = [(scores, scores[positive]) for scores, positive in asked]
    return Ranks(
        start=np.cumsum([0, *(len(kept) for _, kept in own)]).astype(np.int32),
        greater=np.array([(scores > s).sum() for scores, kept in own for s in kept]),
        equal=np.array([(scores == s).sum() - 1 for scores, kept in own for s in kept]),
        candidates=np.array([len(scores) for scores, _ in own]),
        score=np.concatenate([kept for _, kept in own]),
    )


def figures(*asked: Request) -> dict[str, np.ndarray]:
    return ranking_metrics(ranks_of(*asked), KS)


@given(distinct_requests())
def test_without_ties_metrics_are_those_of_the_sorted_list(request_):
    scores, positive = request_
    hits = positive[np.argsort(-scores)]
    places = np.flatnonzero(hits) + 1
    found = figures(request_)
    for k in KS:
        top = places[places <= k]
        ideal = sum(1 / log2(place + 1) for place in range(1, min(k, len(places)) + 1))
        expected = {
            "hit_rate": len(top) > 0,
            "recall": len(top) / len(places),
            "precision": len(top) / k,
            "ndcg": sum(1 / log2(place + 1) for place in top) / ideal,
            "mrr": 1 / top[0] if len(top) else 0,
        }
        for name, value in expected.items():
            np.testing.assert_allclose(
                found[f"{name}@{k}"], value, atol=1e-12, err_msg=name
            )


@given(requests(), st.integers(0, 20))
def test_every_figure_is_between_0_and_1(request_, negatives):
    ranks = ranks_of(request_)
    for found in (ranking_metrics(ranks, KS), sampled_metrics(ranks, negatives, KS)):
        for name, value in found.items():
            if name != "auc" or not request_[1].all():
                assert -1e-12 <= value[0] <= 1 + 1e-12, name


@given(requests())
def test_only_the_order_of_scores_counts(request_):
    scores, positive = request_
    for other in (scores * 8 - 3, scores**3, np.exp2(scores)):
        for name, value in figures((other, positive)).items():
            np.testing.assert_array_equal(value, figures(request_)[name], err_msg=name)


@given(requests(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_plays_no_part(request_, random):
    scores, positive = request_
    order = list(range(len(scores)))
    random.shuffle(order)
    found = figures((scores[order], positive[order]))
    for name, value in figures(request_).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)


@given(st.lists(requests(), min_size=1, max_size=5))
def test_requests_do_not_see_each_other(asked):
    together = figures(*asked)
    for number, request_ in enumerate(asked):
        for name, value in figures(request_).items():
            np.testing.assert_array_equal(
                together[name][number], value[0], err_msg=name
            )


@given(requests())
def test_more_places_never_find_less(request_):
    found = figures(request_)
    for name in ("hit_rate", "recall", "mrr"):
        at_depth = [found[f"{name}@{k}"][0] for k in KS]
        assert (np.diff(at_depth) >= -1e-12).all(), name


@given(requests())
def test_a_positive_that_rises_lowers_nothing(request_):
    scores, positive = request_
    higher = scores.copy()
    higher[np.flatnonzero(positive)[0]] += 1
    better = figures((higher, positive))
    for name, value in figures(request_).items():
        if not np.isnan(value[0]):
            assert better[name][0] >= value[0] - 1e-12, name


@given(requests(most_scores=7))
def test_auc_is_the_share_of_pairs_in_order_either_way(request_):
    scores, positive = request_
    own = scores[positive][:, None]
    others = scores[~positive][None, :]
    found = auc_binary(scores, positive)
    if not others.size:
        assert found is None
        assert np.isnan(figures(request_)["auc"][0])
        return
    expected = ((own > others) + (own == others) / 2).mean()
    np.testing.assert_allclose(
        [found, figures(request_)["auc"][0]], expected, atol=1e-12
    )
    np.testing.assert_allclose(auc_binary(-scores, positive), 1 - expected, atol=1e-12)


values = arrays(np.float32, 11, elements=st.floats(-100, 100, width=32))


@given(values, values, st.permutations(range(11)))
def test_errors_are_those_of_numpy_and_blind_to_order(prediction, target, order):
    error = prediction.astype(float) - target
    np.testing.assert_allclose(
        rmse(prediction, target), np.sqrt((error**2).mean()), rtol=1e-12
    )
    np.testing.assert_allclose(mae(prediction, target), abs(error).mean(), rtol=1e-12)
    assert mae(prediction, target) <= rmse(prediction, target) * (1 + 1e-12)
    assert rmse(prediction, target) == rmse(target, prediction)
    assert rmse(target, target) == mae(target, target) == 0
    moved = rmse(prediction[order], target[order])
    np.testing.assert_allclose(moved, rmse(prediction, target), rtol=1e-12)


chances = arrays(np.float64, 11, elements=st.floats(0, 1))


@given(chances, arrays(bool, 11))
def test_log_loss_is_that_of_numpy_and_the_same_for_the_other_class(chance, label):
    p = chance.clip(1e-7, 1 - 1e-7)
    expected = -np.log(np.where(label, p, 1 - p)).mean()
    np.testing.assert_allclose(log_loss(chance, label), expected, rtol=1e-6)
    np.testing.assert_allclose(
        log_loss(1 - chance, ~label), log_loss(chance, label), rtol=1e-6
    )
    assert 0 <= log_loss(chance, label) <= -np.log(1e-7) * (1 + 1e-9)
