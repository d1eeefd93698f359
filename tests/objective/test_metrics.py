from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb, log, log2, nan, prod, sqrt

import numpy as np
import pytest

from ancf_jax.objective import metrics
from ancf_jax.objective.metrics import (
    Ranks,
    auc_binary,
    coverage,
    ranking_metrics,
    sampled_metrics,
)

KS = (1, 2, 3, 5, 11)


def ranks_of(requests: list[tuple[np.ndarray, np.ndarray]]) -> Ranks:
    """Ranks of (scores of the candidates, which of them are positive), counted one by one."""
    own = [(scores, scores[positive]) for scores, positive in requests]
    greater = [np.sum(scores > s) for scores, kept in own for s in kept]
    equal = [np.sum(scores == s) - 1 for scores, kept in own for s in kept]
    start = np.cumsum([0] + [len(kept) for _, kept in own])
    candidates = np.array([len(scores) for scores, _ in own], np.int64)
    score = np.concatenate([kept for _, kept in own])
    return Ranks(
        start.astype(np.int32),
        np.array(greater, np.int64),
        np.array(equal, np.int64),
        candidates,
        score,
    )


def orders(scores: np.ndarray):
    """Every order of the candidates, best first, that agrees with the scores."""
    ties = [np.flatnonzero(scores == s) for s in np.unique(scores)[::-1]]
    for parts in itertools.product(*(itertools.permutations(tie) for tie in ties)):
        yield np.array([i for part in parts for i in part], int)


def metrics_of_order(positive: np.ndarray) -> dict[str, float]:
    """Metrics of one order without ties; `positive` [K]: whether a place holds a positive."""
    places = np.flatnonzero(positive) + 1
    found = {}
    for k in KS:
        top = [place for place in places if place <= k]
        ideal = sum(1 / log2(place + 1) for place in range(1, min(k, len(places)) + 1))
        found[f"hit_rate@{k}"] = float(bool(top))
        found[f"recall@{k}"] = len(top) / len(places)
        found[f"precision@{k}"] = len(top) / k
        found[f"ndcg@{k}"] = sum(1 / log2(place + 1) for place in top) / ideal
        found[f"mrr@{k}"] = 1 / top[0] if top else 0.0
    pairs = [
        p < other
        for p in np.flatnonzero(positive)
        for other in np.flatnonzero(~positive)
    ]
    found["auc"] = sum(pairs) / len(pairs) if pairs else nan
    return found


def enumerated(scores: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    every = [metrics_of_order(positive[order]) for order in orders(scores)]
    return {name: sum(found[name] for found in every) / len(every) for name in every[0]}


def random_requests(
    seed: int, single: bool = False
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Small requests with many ties; every fifth one has no positive."""
    rng = np.random.default_rng(seed)
    requests = []
    for number in range(40):
        size = rng.integers(1, 7)
        scores = rng.integers(0, rng.integers(1, 5), size).astype(np.float32)
        if number % 5 == 3:
            count = 0
        elif single:
            count = 1
        else:
            count = rng.integers(1, size + 1)
        chosen = rng.permutation(size)[:count]
        requests.append((scores, np.isin(np.arange(size), chosen)))
    return requests


@pytest.mark.parametrize("seed", range(5))
def test_ranking_metrics_equal_the_mean_over_every_order_of_tied_candidates(seed):
    requests = random_requests(seed)
    found = ranking_metrics(ranks_of(requests), KS)
    names = ("hit_rate", "recall", "precision", "ndcg", "mrr")
    assert list(found) == [*(f"{name}@{k}" for k in KS for name in names), "auc"]
    for number, (scores, positive) in enumerate(requests):
        expected = dict.fromkeys(found, nan)
        if positive.any():
            expected = enumerated(scores, positive)
        for name, values in found.items():
            where = f"request {number}, {name}"
            np.testing.assert_allclose(
                values[number], expected[name], atol=1e-12, err_msg=where
            )


def test_ranking_metrics_by_hand():
    # Request 0: places 1 and 4 of 5.
    # Request 1: tied with one other candidate at places 2 and 3 of 3.
    ranks = Ranks(
        *map(np.array, ([0, 2, 3], [3, 0, 1], [0, 0, 1], [5, 3], [0.1, 0.9, 0.5]))
    )
    found = ranking_metrics(ranks, (1, 2, 3, 4))
    expected = {
        "hit_rate@1": [1, 0],
        "recall@1": [0.5, 0],
        "hit_rate@2": [1, 0.5],
        "recall@4": [1, 1],
        "precision@1": [1, 0],
        "precision@2": [0.5, 0.25],
        "precision@3": [1 / 3, 1 / 3],
        "precision@4": [0.5, 0.25],
        "ndcg@1": [1, 0],
        "ndcg@2": [1 / (1 + 1 / log2(3)), 0.5 / log2(3)],
        "ndcg@4": [(1 + 1 / log2(5)) / (1 + 1 / log2(3)), (1 / log2(3) + 1 / 2) / 2],
        "mrr@2": [1, 1 / 4],
        "mrr@3": [1, (1 / 2 + 1 / 3) / 2],
        "auc": [(3 + 1) / 6, (0.5 + 0) / 2],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, err_msg=name)


def test_a_constant_scorer_gets_exactly_what_a_random_ranking_gets():
    n = 101
    p = 7
    k = 11
    positive = np.isin(np.arange(n), np.arange(p))
    found = ranking_metrics(ranks_of([(np.zeros(n, np.float32), positive)]), (k,))
    ideal = sum(1 / log2(place + 1) for place in range(1, p + 1))
    topmost = [
        Fraction(comb(n - place, p - 1), comb(n, p)) for place in range(1, k + 1)
    ]
    expected = {
        "hit_rate": 1 - comb(n - p, k) / comb(n, k),
        "recall": k / n,
        "precision": p / n,
        "ndcg": p / n * sum(1 / log2(place + 1) for place in range(1, k + 1)) / ideal,
        "mrr": float(sum(chance / place for place, chance in enumerate(topmost, 1))),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[f"{name}@{k}"], [value], rtol=1e-12, err_msg=name
        )
    assert found["auc"] == [0.5]
    single = ranks_of([(np.zeros(n, np.float32), np.arange(n) == 3)])
    alone = sampled_metrics(single, 19, (5,))
    np.testing.assert_allclose(alone["hit_rate@5"], [5 / 20], rtol=1e-12)


def test_auc_needs_candidates_that_are_not_positives():
    ranks = ranks_of([(np.array([2, 1], np.float32), np.array([True, True]))])
    found = ranking_metrics(ranks, (1,))
    assert np.isnan(found["auc"][0])
    assert found["hit_rate@1"][0] == 1


def enumerated_samples(
    scores: np.ndarray, positive: np.ndarray, negatives: int
) -> dict[str, float]:
    """Mean over positives, samples of the other candidates and places within ties, one by one."""
    names = ("hit_rate", "ndcg", "mrr")
    totals = dict.fromkeys([f"{name}@{k}" for name in names for k in KS], 0.0)
    weight = 0
    others = scores[~positive]
    for own in scores[positive]:
        samples = list(itertools.combinations(others, min(negatives, len(others))))
        weight += len(samples)
        for sample in samples:
            above = np.sum(np.array(sample) > own)
            tied = np.sum(np.array(sample) == own)
            for place in range(above + 1, above + tied + 2):
                for k in [k for k in KS if place <= k]:
                    totals[f"hit_rate@{k}"] += 1 / (tied + 1)
                    totals[f"ndcg@{k}"] += 1 / log2(place + 1) / (tied + 1)
                    totals[f"mrr@{k}"] += 1 / place / (tied + 1)
    if not weight:
        return dict.fromkeys(totals, nan)
    return {name: total / weight for name, total in totals.items()}


@pytest.mark.parametrize(
    ("single", "negatives"), [(True, 1), (True, 2), (True, 3), (False, 2), (False, 9)]
)
def test_sampled_metrics_equal_the_mean_over_every_sample(single, negatives):
    requests = random_requests(11 + negatives, single)
    found = sampled_metrics(ranks_of(requests), negatives, KS)
    for number, (scores, positive) in enumerate(requests):
        expected = enumerated_samples(scores, positive, negatives)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            where = f"request {number}, {name}"
            np.testing.assert_allclose(
                found[name][number], value, atol=1e-12, err_msg=where
            )


def test_sampled_metrics_with_every_candidate_drawn_are_the_full_ranking():
    ranks = ranks_of(random_requests(3, single=True))
    full = ranking_metrics(ranks, KS)
    sampled = sampled_metrics(ranks, 13, KS)
    for name, values in sampled.items():
        np.testing.assert_allclose(values, full[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("greater", [0, 5, 9973, 100_003, 999_989])
def test_sampled_metrics_keep_their_digits_over_a_million_items(greater):
    items = 1_000_003
    negatives = 101
    k = 7
    ranks = Ranks(*map(np.array, ([0, 1], [greater], [0], [items + 1], [0.0])))
    worse = items - greater
    every = comb(items, negatives)
    chance = [
        Fraction(comb(greater, j) * comb(worse, negatives - j), every) for j in range(k)
    ]
    found = sampled_metrics(ranks, negatives, (k,))
    np.testing.assert_allclose(found["hit_rate@7"], [float(sum(chance))], atol=1e-9)
    ndcg = sum(float(c) / log2(j + 2) for j, c in enumerate(chance))
    np.testing.assert_allclose(found["ndcg@7"], [ndcg], atol=1e-9)


def test_many_negatives_and_deep_lists_stay_finite():
    ranks = Ranks(
        *map(np.array, ([0, 1, 2], [700, 4999], [3, 0], [5000, 5000], [0.0, 0.0]))
    )
    found = sampled_metrics(ranks, 4999, (1000,))
    np.testing.assert_allclose(found["hit_rate@1000"], [1, 0], atol=1e-9)


def test_coverage_counts_distinct_items_and_not_the_empty_places():
    assert coverage(np.array([[0, 3, 3], [3, 6, -1]]), items=7) == 3 / 7
    assert coverage(np.full((2, 3), -1), items=7) == 0


def test_prediction_errors_by_hand():
    prediction = np.array([1, 2, 5], np.float32)
    target = np.array([2, 2, 2])
    assert metrics.rmse(prediction, target) == pytest.approx(sqrt(10 / 3), rel=1e-15)
    assert metrics.mae(prediction, target) == pytest.approx(4 / 3, rel=1e-15)
    probability = np.array([0.25, 0.5, 0.8])
    label = np.array([0, 1, 0.5])
    by_hand = -log(prod([0.75, 0.5, sqrt(0.8 * 0.2)])) / 3
    assert metrics.log_loss(probability, label) == pytest.approx(by_hand, rel=1e-12)


def test_log_loss_of_a_certain_error_is_bounded_by_eps():
    sure_of_none = metrics.log_loss(np.array([0.0]), np.array([1]), eps=1e-3)
    assert sure_of_none == pytest.approx(log(1000))
    sure_of_one = metrics.log_loss(np.array([1.0], np.float32), np.array([0]))
    assert sure_of_one == pytest.approx(7 * log(10))


@pytest.mark.parametrize("seed", range(3))
def test_auc_binary_equals_counting_pairs(seed):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 5, 31).astype(np.float32)
    label = rng.random(31) < 0.3
    pairs = [(p > n) + (p == n) / 2 for p in score[label] for n in score[~label]]
    assert auc_binary(score, label) == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)


def test_auc_binary_of_one_class_is_none():
    assert auc_binary(np.array([0.1, 0.2]), np.array([1, 1])) is None
    assert auc_binary(np.array([0.1, 0.2]), np.array([0, 0])) is None
    assert auc_binary(np.array([0.7, 0.7]), np.array([0, 1])) == 0.5
