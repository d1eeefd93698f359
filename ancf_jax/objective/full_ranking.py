"""Metrics of ranking the held-out positives of a request among all its candidates.

Candidates of equal score stand in a uniformly random order; every figure is the exact expected
value over these orders. Shapes as in `ties`, and `K` places, counted from 1 at the top.
"""

from collections.abc import Sequence

import numpy as np

from ancf_jax.objective.ties import Ranks, TieGroups, of_all_requests, tie_groups


def ranking_metrics(
    ranks: Ranks, ks: Sequence[int] = (1, 5, 10, 20)
) -> dict[str, np.ndarray]:
    """Expected metrics of every request over random orders of tied candidates.

    With P positives in the request and places counted from 1:

    - `hit_rate@k`: the chance of some positive within k;
    - `recall@k`: positives within k / P;
    - `precision@k`: positives within k / k;
    - `ndcg@k`: the sum over positives within k of 1 / log2(place + 1), over the same sum for
      places 1 .. min(k, P);
    - `mrr@k`: 1 / place of the topmost positive, 0 beyond k;
    - `auc`: share of (positive, other candidate) pairs in the right order, ties half.

    Returns:
        name -> float64 [R]: NaN without positives; `auc` also without other candidates.
    """
    groups = tie_groups(ranks)
    place = np.arange(1, max(ks) + 1)[:, None]
    expected = _expected_positives(groups, place)
    hit = _chance_of_hit(groups, place)
    topmost = np.diff(hit, axis=0, prepend=0)  # chance of the topmost positive there
    found = np.cumsum(expected, axis=0)
    at_depth = {
        "hit_rate": hit,
        "recall": found / groups.total_positives,
        "precision": found / place,
        "ndcg": _ndcg(groups, place, expected),
        "mrr": np.cumsum(topmost / place, axis=0),
    }
    figures = {}
    for k in ks:
        for name, values in at_depth.items():
            figures[f"{name}@{k}"] = values[k - 1]
    figures["auc"] = _auc(groups)
    return of_all_requests(ranks, figures)


def _expected_positives(groups: TieGroups, place: np.ndarray) -> np.ndarray:
    """Expected number of positives [K, T] at each place [K, 1]."""
    last_place = groups.greater + groups.size
    inside = (place > groups.greater) & (place <= last_place)
    share_of_positives = groups.positives / groups.size
    return groups.sum_per_request(inside * share_of_positives)


def _chance_of_hit(groups: TieGroups, place: np.ndarray) -> np.ndarray:
    """Chance [K, T] of a positive at a place [K, 1] or above.

    Only the top group of a request can hold its topmost positive. Going down its places, the next
    candidate is a positive with the chance positives / candidates left, if none came before.
    """
    greater = groups.greater[groups.top_group]
    size = groups.size[groups.top_group]
    positives = groups.positives[groups.top_group]
    passed = place - 1 - greater
    left = size - passed  # places of the group from here on
    can_be_topmost = (left <= size) & (left >= positives)
    chance = np.where(can_be_topmost, positives / np.maximum(left, 1), 0.0)
    return 1 - np.cumprod(1 - chance, axis=0)


def _ndcg(groups: TieGroups, place: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Normalised discounted cumulative gain [K, T] from the positives expected at each place."""
    discount = 1 / np.log2(place + 1)
    gain = np.cumsum(expected * discount, axis=0)
    ideal_gain = np.cumsum(discount)
    ideal_places = np.minimum(place, groups.total_positives)
    return gain / ideal_gain[ideal_places - 1]


def _auc(groups: TieGroups) -> np.ndarray:
    """Area under the ROC curve [T]: 1 - share of (positive, other) pairs in the wrong order."""
    others_above = groups.greater - groups.positives_above
    others_tied = groups.size - groups.positives
    wrong = groups.positives * (others_above + others_tied / 2)
    pairs = groups.total_positives * groups.total_others
    with np.errstate(invalid="ignore"):  # 0 / 0 where there are no other candidates
        return 1 - groups.sum_per_request(wrong) / pairs
