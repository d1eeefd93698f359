"""Ranking and prediction metrics on the host (NumPy, float64).

Every ranking metric is the exact expected value over uniformly random orders of the candidates with equal scores.
Legend: `Q` queries (users), `E` held-out positives, `G` groups of positives of one query that share a score.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata


class Ranks(NamedTuple):
    """Where the held-out positives of each query, distinct items, stand among its eligible candidates."""

    start: (
        np.ndarray
    )  # int32 [Q + 1] the positives of query q are start[q] .. start[q + 1] - 1
    greater: np.ndarray  # int64 [E] candidates with a strictly greater score
    equal: (
        np.ndarray
    )  # int64 [E] candidates with the same score, the positive itself left out
    candidates: np.ndarray  # int64 [Q] eligible candidates, positives included
    score: np.ndarray  # float32 [E] the positive's own score


class _TieGroups(NamedTuple):
    query: np.ndarray  # [G] number among the T queries that have positives
    first: np.ndarray  # [T] the topmost group of each such query
    count: np.ndarray  # [T] its positives
    others: np.ndarray  # [T] its candidates that are no positives
    greater: np.ndarray  # [G] candidates above the group
    size: np.ndarray  # [G] candidates in the group
    positives: np.ndarray  # [G] positives in the group
    above: np.ndarray  # [G] positives of the query above the group


def ranking_metrics(
    ranks: Ranks, ks: Sequence[int] = (1, 5, 10, 20)
) -> dict[str, np.ndarray]:
    """Expected metrics of every query over random orders of tied candidates.

    With P positives in the query and places counted from 1:
    `hit_rate@k` = P(some positive within k); `recall@k` = positives within k / P;
    `ndcg@k` = sum over positives within k of 1 / log2(place + 1), over the same sum for places 1 .. min(k, P);
    `mrr@k` = 1 / place of the first positive, 0 beyond k;
    `auc` = share of (positive, other candidate) pairs in the right order, ties half.

    Returns float64 [Q] per name: NaN without positives; `auc` also without other candidates.
    """
    groups = _tie_groups(ranks)
    place = np.arange(1, max(ks) + 1)[:, None]
    discount = 1 / np.log2(place + 1)
    inside = (place > groups.greater) & (place <= groups.greater + groups.size)
    expected = _per_query(
        groups, inside * (groups.positives / groups.size)
    )  # positives at each place
    # Only the topmost group of a query can hold its first positive, each of its places with the same chance.
    greater, size, positives = (
        x[groups.first] for x in (groups.greater, groups.size, groups.positives)
    )
    left = size - (place - 1 - greater)  # places of the group from here on
    missed = 1 - np.where(
        (left <= size) & (left >= positives), positives / np.maximum(left, 1), 0.0
    )
    hit = 1 - np.cumprod(missed, axis=0)  # chance of a positive here or before
    cumulated = {
        "hit_rate": hit,
        "recall": np.cumsum(expected, axis=0) / groups.count,
        "ndcg": np.cumsum(expected * discount, axis=0)
        / np.cumsum(discount)[np.minimum(place, groups.count) - 1],
        "mrr": np.cumsum(np.diff(hit, axis=0, prepend=0) / place, axis=0),
    }
    found = {
        f"{name}@{k}": value[k - 1] for k in ks for name, value in cumulated.items()
    }
    wrong = groups.positives * (
        groups.greater - groups.above + (groups.size - groups.positives) / 2
    )
    with np.errstate(invalid="ignore"):  # 0 / 0 where there are no other candidates
        return _of_all(
            ranks,
            found
            | {"auc": 1 - _per_query(groups, wrong) / (groups.count * groups.others)},
        )


def sampled_metrics(
    ranks: Ranks, negatives: int, ks: Sequence[int] = (1, 5, 10, 20)
) -> dict[str, np.ndarray]:
    """Expected `hit_rate@k`, `ndcg@k` and `mrr@k` of ranking each positive against random negatives.

    m = `negatives` of the N candidates that are not positives are drawn uniformly without replacement (all where
    there are fewer), apart for each positive. With b candidates above and t tied, random tie-breaking puts s of the
    tied above, s uniform on 0 .. t, and the number j of drawn candidates above is hypergeometric; averaged over s,
    P(j) = (N + 1) / ((m + 1) (t + 1)) * (F(j; b) - F(j; b + t + 1)), F(j; g) the chance that m + 1 draws from N + 1
    hold at most j of g marked ones: that sums the (m + 1)-subsets of N + 1 places whose element j is at place b + s.

    Returns float64 [Q] per name, the mean over the query's positives; NaN without positives.
    """
    groups = _tie_groups(ranks)
    better, tied = groups.greater - groups.above, groups.size - groups.positives
    # Absent negatives count as items that rank last.
    total, draws = np.maximum(groups.others, negatives)[groups.query] + 1, negatives + 1
    place = np.arange(1, max(ks) + 1)
    chance = _at_most(total, better, draws, len(place)) - _at_most(
        total, better + tied + 1, draws, len(place)
    )
    chance = (
        _per_query(groups, groups.positives * chance * total / (draws * (tied + 1)))
        / groups.count
    )
    gains = {
        "hit_rate": np.ones(len(place)),
        "ndcg": 1 / np.log2(place + 1),
        "mrr": 1 / place,
    }
    return _of_all(
        ranks,
        {
            f"{name}@{k}": gain[:k] @ chance[:k]
            for name, gain in gains.items()
            for k in ks
        },
    )


def coverage(top_ids: np.ndarray, items: int) -> float:
    """Share of a catalogue of `items` that stands in at least one list; -1 in `top_ids` is an empty place."""
    return len(np.unique(top_ids[top_ids >= 0])) / items


def rmse(prediction: np.ndarray, target: np.ndarray) -> float:
    """Root of the mean squared error, sqrt(mean((prediction - target)^2)), of two arrays [N]."""
    return float(
        np.sqrt(np.mean(np.square(np.subtract(prediction, target, dtype=np.float64))))
    )


def mae(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error, mean(|prediction - target|), of two arrays [N]."""
    return float(np.mean(np.abs(np.subtract(prediction, target, dtype=np.float64))))


def log_loss(probability: np.ndarray, label: np.ndarray, eps: float = 1e-7) -> float:
    """Mean of -y ln p - (1 - y) ln(1 - p) in nats, p clipped to [eps, 1 - eps]; labels [N] in [0, 1]."""
    p, y = (
        np.clip(np.asarray(probability, np.float64), eps, 1 - eps),
        np.asarray(label, np.float64),
    )
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))


def auc_binary(score: np.ndarray, label: np.ndarray) -> float | None:
    """Share of (positive, negative) pairs that `score` [N] puts in the right order, ties half (Mann and Whitney).

    `label` [N] is positive where above 0. None where only one class is present.
    """
    positive, count = label > 0, np.count_nonzero(label > 0)
    pairs = count * (len(label) - count)
    return (
        float((rankdata(score)[positive].sum() - count * (count + 1) / 2) / pairs)
        if pairs
        else None
    )


def _tie_groups(ranks: Ranks) -> _TieGroups:
    query = np.repeat(np.arange(len(ranks.candidates)), np.diff(ranks.start))
    # Two positives of a query are tied exactly when as many candidates are greater than each.
    order = np.lexsort((ranks.greater, query))
    greater, equal = ranks.greater[order], ranks.equal[order]
    at = np.flatnonzero(
        (np.diff(query, prepend=-1) != 0) | (np.diff(greater, prepend=-1) != 0)
    )
    positives, above = np.diff(np.append(at, len(query))), at - ranks.start[query[at]]
    known, number, count = np.unique(query, return_inverse=True, return_counts=True)
    first, others = np.flatnonzero(above == 0), ranks.candidates[known] - count
    return _TieGroups(
        number[at], first, count, others, greater[at], equal[at] + 1, positives, above
    )


def _per_query(groups: _TieGroups, value: np.ndarray) -> np.ndarray:
    """Sums [..., T] of a value [..., G] over the groups of each query."""
    return np.add.reduceat(value, groups.first, axis=-1)


def _of_all(ranks: Ranks, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Figures [Q] from those of the queries that have positives [T]; NaN for the others."""
    figures = np.full((len(found), len(ranks.candidates)), np.nan)
    figures[:, np.diff(ranks.start) > 0] = list(found.values())
    return dict(zip(found, figures, strict=True))


def _at_most(
    total: np.ndarray, marked: np.ndarray, draws: int, depth: int
) -> np.ndarray:
    """P(X <= j) for j < depth, X the marked ones among `draws` of `total` without replacement; [depth, G].

    Sums logarithms of ratios term by term: differences of log-gamma lose 7 digits at a million items.
    """
    log_chance, log_unmarked = (
        np.full((depth, len(total)), -np.inf),
        np.zeros(len(total)),
    )
    j = np.arange(1, depth)[:, None]
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # log 0 = -inf is the chance of what cannot happen
        for i in range(draws + 1):
            if draws - i < depth:
                log_chance[draws - i] = log_unmarked
            log_unmarked = log_unmarked + np.log(
                np.maximum(total - marked - i, 0) / (total - i)
            )
        ratio = (
            np.maximum(draws - j + 1, 0)
            / j
            * np.maximum(marked - j + 1, 0)
            / (total - draws + j)
        )
        log_chance[1:] += np.cumsum(np.log(ratio), axis=0)
    return np.cumsum(np.exp(log_chance), axis=0)
