"""Ranking and prediction metrics on the host (NumPy, float64).

Every ranking metric is the exact expected value over uniformly random orders of the candidates with equal scores.
Legend: `Q` queries (users), `E` held-out positives, `G` groups of positives of one query that share a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata


class Ranks(NamedTuple):
    """Where the held-out positives of each query, distinct items, stand among its eligible candidates."""

    start: np.ndarray  # int32 [Q + 1] the positives of query q are start[q] .. start[q + 1] - 1
    greater: np.ndarray  # int64 [E] candidates with a strictly greater score
    equal: np.ndarray  # int64 [E] candidates with the same score, the positive itself left out
    candidates: np.ndarray  # int64 [Q] eligible candidates, positives included
    score: np.ndarray  # float32 [E] the positive's own score


class _TieGroups(NamedTuple):
    query: np.ndarray  # [G]
    greater: np.ndarray  # [G] candidates above the group
    size: np.ndarray  # [G] candidates in the group
    positives: np.ndarray  # [G] positives in the group
    above: np.ndarray  # [G] positives of the query above the group
    others: np.ndarray  # [G] candidates of the query that are no positives


def ranking_metrics(ranks: Ranks, ks: Sequence[int] = (1, 5, 10, 20)) -> dict[str, np.ndarray]:
    """Expected metrics of every query over random orders of tied candidates.

    With P positives in the query and places counted from 1:
    `hit_rate@k` = P(some positive within k); `recall@k` = positives within k / P;
    `ndcg@k` = sum over positives within k of 1 / log2(place + 1), over the same sum for places 1 .. min(k, P);
    `mrr@k` = 1 / place of the first positive, 0 beyond k;
    `auc` = share of (positive, other candidate) pairs in the right order, ties half.

    Returns float64 [Q] per name: NaN without positives; `auc` also without other candidates.
    """
    groups, count = _tie_groups(ranks), np.diff(ranks.start)
    gain = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, max(ks) + 2))))
    hit, reciprocal = _first_positive(groups, max(ks))
    found: dict[str, np.ndarray] = {}
    for k in ks:
        begin, end = np.minimum(groups.greater, k), np.minimum(groups.greater + groups.size, k)
        dcg = _average(groups, (gain[end] - gain[begin]) / groups.size, count)
        found[f"hit_rate@{k}"] = _average(groups, hit[k - 1], count)
        found[f"recall@{k}"] = _average(groups, (end - begin) / groups.size, count)
        found[f"ndcg@{k}"] = dcg * count / gain[np.clip(count, 1, k)]
        found[f"mrr@{k}"] = _average(groups, reciprocal[k - 1], count)
    wrong = groups.greater - groups.above + (groups.size - groups.positives) / 2
    share = np.divide(wrong, groups.others, out=np.full(len(wrong), np.nan), where=groups.others > 0)
    return found | {"auc": _average(groups, 1 - share, count)}


def sampled_metrics(ranks: Ranks, negatives: int, ks: Sequence[int] = (1, 5, 10, 20)) -> dict[str, np.ndarray]:
    """Expected `hit_rate@k`, `ndcg@k` and `mrr@k` of ranking each positive against random negatives.

    m = `negatives` of the N candidates that are not positives are drawn uniformly without replacement (all where
    there are fewer), apart for each positive. With b candidates above and t tied, random tie-breaking puts s of the
    tied above, s uniform on 0 .. t, and the number j of drawn candidates above is hypergeometric; averaged over s,
    P(j) = (N + 1) / ((m + 1) (t + 1)) * (F(j; b) - F(j; b + t + 1)), F(j; g) the chance that m + 1 draws from N + 1
    hold at most j of g marked ones: that sums the (m + 1)-subsets of N + 1 places whose element j is at place b + s.

    Returns float64 [Q] per name, the mean over the query's positives; NaN without positives.
    """
    groups, count = _tie_groups(ranks), np.diff(ranks.start)
    better, tied = groups.greater - groups.above, groups.size - groups.positives
    total, draws, place = np.maximum(groups.others, negatives) + 1, negatives + 1, np.arange(1, max(ks) + 1)
    # Absent negatives count as items that rank last.
    chance = _at_most(total, better, draws, len(place)) - _at_most(total, better + tied + 1, draws, len(place))
    chance *= total / (draws * (tied + 1))
    gains = {"hit_rate": np.ones(len(place)), "ndcg": 1 / np.log2(place + 1), "mrr": 1 / place}
    values = {f"{name}@{k}": gain[:k] @ chance[:k] for name, gain in gains.items() for k in ks}
    return {name: _average(groups, value, count) for name, value in values.items()}


def coverage(top_ids: np.ndarray, items: int) -> float:
    """Share of a catalogue of `items` that stands in at least one list; -1 in `top_ids` is an empty place."""
    return len(np.unique(top_ids[top_ids >= 0])) / items


def rmse(prediction: np.ndarray, target: np.ndarray) -> float:
    """Root of the mean squared error, sqrt(mean((prediction - target)^2)), of two arrays [N]."""
    return float(np.sqrt(np.mean(np.square(np.subtract(prediction, target, dtype=np.float64)))))


def mae(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error, mean(|prediction - target|), of two arrays [N]."""
    return float(np.mean(np.abs(np.subtract(prediction, target, dtype=np.float64))))


def log_loss(probability: np.ndarray, label: np.ndarray, eps: float = 1e-7) -> float:
    """Mean of -y ln p - (1 - y) ln(1 - p) in nats, p clipped to [eps, 1 - eps]; labels [N] in [0, 1]."""
    p, y = np.clip(np.asarray(probability, np.float64), eps, 1 - eps), np.asarray(label, np.float64)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))


def auc_binary(score: np.ndarray, label: np.ndarray) -> float | None:
    """Share of (positive, negative) pairs that `score` [N] puts in the right order, ties half (Mann and Whitney).

    `label` [N] is positive where above 0. None where only one class is present.
    """
    positive, count = label > 0, np.count_nonzero(label > 0)
    pairs = count * (len(label) - count)
    return float((rankdata(score)[positive].sum() - count * (count + 1) / 2) / pairs) if pairs else None


def _tie_groups(ranks: Ranks) -> _TieGroups:
    count = np.diff(ranks.start)
    query = np.repeat(np.arange(len(count)), count)
    # Two positives of a query are tied exactly when as many candidates are greater than each.
    order = np.lexsort((ranks.greater, query))
    greater, equal = ranks.greater[order], ranks.equal[order]
    at = np.flatnonzero((np.diff(query, prepend=-1) != 0) | (np.diff(greater, prepend=-1) != 0))
    positives, query = np.diff(np.append(at, len(query))), query[at]
    others = (ranks.candidates - count)[query]
    return _TieGroups(query, greater[at], equal[at] + 1, positives, at - ranks.start[query], others)


def _average(groups: _TieGroups, value: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Mean over the positives of each query of a value [G] that tied positives share; NaN for none."""
    total = np.bincount(groups.query, groups.positives * value, minlength=len(count))
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def _first_positive(groups: _TieGroups, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Chance of a positive within k, and expected reciprocal place of the first; each [depth, G], row k - 1 for k.

    Only the topmost group of a query can hold its first positive, each of its places with the same chance; what is
    found for it is spread over all groups of the query.
    """
    top = np.flatnonzero(groups.above == 0)
    greater, size, positives = groups.greater[top], groups.size[top], groups.positives[top]
    place = np.arange(1, depth + 1)[:, None]
    left = size - (place - 1 - greater)  # places of the group from here on
    chance = np.where((left <= size) & (left >= positives), positives / np.maximum(left, 1), 0.0)
    missed = np.cumprod(1 - chance, axis=0)
    first = np.vstack([chance[:1], missed[:-1] * chance[1:]])
    spread = np.cumsum(groups.above == 0) - 1
    return (1 - missed)[:, spread], np.cumsum(first / place, axis=0)[:, spread]


def _at_most(total: np.ndarray, marked: np.ndarray, draws: int, depth: int) -> np.ndarray:
    """P(X <= j) for j < depth, X the marked ones among `draws` of `total` without replacement; [depth, G].

    Sums logarithms of ratios term by term: differences of log-gamma lose 7 digits at a million items.
    """
    log_chance = np.full((depth, len(total)), -np.inf)
    log_unmarked, log_marked = np.zeros(len(total)), np.zeros(len(total))
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0 = -inf is the chance of what cannot happen
        for i in range(draws + 1):
            if draws - i < depth:
                log_chance[draws - i] = log_unmarked
            log_unmarked = log_unmarked + np.log(np.maximum(total - marked - i, 0) / (total - i))
        for j in range(min(depth - 1, draws)):
            ratio = (draws - j) / (j + 1) * np.maximum(marked - j, 0) / (total - draws + 1 + j)
            log_marked = log_marked + np.log(ratio)
            log_chance[j + 1] += log_marked
    return np.cumsum(np.exp(log_chance), axis=0)
