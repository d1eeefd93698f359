"""Ranking and prediction metrics on the host (NumPy, float64); ties are settled by expectation.

Every ranking metric is the exact expected value over uniformly random orders of the candidates
with equal scores, so a tie never favours the positive and a constant scorer gets what a random
ranking gets. Legend: `Q` queries (users), `E` held-out positives, `G` groups of positives of one
query that share a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BLOCK = 16_384  # tie groups handled at a time by `sampled_metrics`: the block stays in the cache


class Ranks(NamedTuple):
    """Where the held-out positives of each query stand among its eligible candidates.

    The positives of a query are distinct items and all of them are among its candidates.
    """

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


def ranking_metrics(ranks: Ranks, ks: Sequence[int] = (1, 5, 10, 20)) -> dict[str, np.ndarray]:
    """Expected metrics of every query over random orders of tied candidates.

    With P positives in the query and places counted from 1:
    `hit_rate@k` = P(some positive within k); `recall@k` = positives within k / P;
    `ndcg@k` = sum over positives within k of 1 / log2(place + 1), divided by the same sum over the
    places 1 .. min(k, P); `mrr@k` = 1 / place of the first positive, 0 beyond k;
    `auc` = share of (positive, other candidate) pairs in the right order, ties half.

    Returns float64 [Q] per name: NaN without positives; `auc` also without other candidates.
    """
    groups, count = _tie_groups(ranks), np.diff(ranks.start)
    gain = np.append(0.0, np.cumsum(1 / np.log2(np.arange(2, max(ks) + 2))))
    last = groups.greater + groups.size
    hit, reciprocal = _first_positive(groups, ks)
    first = groups.query[groups.above == 0]
    found: dict[str, np.ndarray] = {}
    for column, k in enumerate(ks):
        begin, end = np.minimum(groups.greater, k), np.minimum(last, k)
        found[f"hit_rate@{k}"] = _spread(first, hit[column], count)
        found[f"recall@{k}"] = _average(groups, (end - begin) / groups.size, count)
        dcg = _average(groups, (gain[end] - gain[begin]) / groups.size, count)
        found[f"ndcg@{k}"] = dcg * count / gain[np.clip(count, 1, k)]
        found[f"mrr@{k}"] = _spread(first, reciprocal[column], count)
    better, tied, others = _other_candidates(ranks, groups)
    wrong = np.divide(better + tied / 2, others, out=np.full(len(others), np.nan), where=others > 0)
    return found | {"auc": _average(groups, 1 - wrong, count)}


def sampled_metrics(ranks: Ranks, negatives: int, ks: Sequence[int] = (1, 5, 10, 20)) -> dict[str, np.ndarray]:
    """Expected `hit_rate@k`, `ndcg@k` and `mrr@k` of ranking each positive against random negatives.

    `negatives` of the N candidates that are not positives are drawn uniformly without replacement
    (all of them where there are fewer), apart for each positive; a query's value is the mean over
    its positives. Nothing is drawn: with b candidates above and t tied, random tie-breaking puts s
    of the tied above, s uniform on 0 .. t, and the number j of drawn candidates above is
    hypergeometric; averaged over s,

        P(j) = (N + 1) / ((m + 1) (t + 1)) * (F(j; b) - F(j; b + t + 1)),

    F(j; g) the chance that m + 1 draws from N + 1 hold at most j of g marked ones: P(j) sums over
    s the (m + 1)-subsets of N + 1 places whose element number j is at place b + s.

    Returns float64 [Q] per name, NaN without positives.
    """
    groups, count, depth = _tie_groups(ranks), np.diff(ranks.start), max(ks)
    better, tied, others = _other_candidates(ranks, groups)
    total = np.maximum(others, negatives)  # absent negatives are items that rank last
    place = np.arange(1, depth + 1)
    rules = {"hit_rate": np.ones(depth), "ndcg": 1 / np.log2(place + 1), "mrr": 1 / place}
    gains = {f"{name}@{k}": np.where(place <= k, gain, 0.0) for name, gain in rules.items() for k in ks}
    value = np.empty((len(gains), len(better)))
    for begin in range(0, len(better), BLOCK):
        part = slice(begin, begin + BLOCK)
        below = _at_most(total[part] + 1, better[part], negatives + 1, depth)
        below -= _at_most(total[part] + 1, better[part] + tied[part] + 1, negatives + 1, depth)
        scale = (total[part] + 1) / ((negatives + 1) * (tied[part] + 1))
        value[:, part] = np.stack(list(gains.values())) @ below * scale
    return {name: _average(groups, row, count) for name, row in zip(gains, value, strict=True)}


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
    """Share of (positive, negative) pairs that `score` [N] puts in the right order, ties half.

    The Mann-Whitney statistic; `label` [N] is positive where above 0. None where only one class is present.
    """
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    positive = np.bincount(place[label > 0], minlength=len(count))
    negative = count - positive
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative
    return float(positive @ (below + negative / 2) / pairs) if pairs else None


def _tie_groups(ranks: Ranks) -> _TieGroups:
    start = np.asarray(ranks.start, np.int64)
    query = np.repeat(np.arange(len(start) - 1), np.diff(start))
    # Two positives of a query are tied exactly when as many candidates are greater than each.
    order = np.lexsort((ranks.greater, query))
    query, greater = query[order], np.asarray(ranks.greater, np.int64)[order]
    opens = np.ones(len(query), bool)
    opens[1:] = (query[1:] != query[:-1]) | (greater[1:] != greater[:-1])
    at = np.flatnonzero(opens)
    size = np.asarray(ranks.equal, np.int64)[order][at] + 1
    return _TieGroups(query[at], greater[at], size, np.diff(np.append(at, len(query))), at - start[query[at]])


def _other_candidates(ranks: Ranks, groups: _TieGroups) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates that are not positives: above the group, tied with it, and all; int64 [G] each."""
    others = np.asarray(ranks.candidates, np.int64) - np.diff(ranks.start)
    return groups.greater - groups.above, groups.size - groups.positives, others[groups.query]


def _average(groups: _TieGroups, value: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Mean over the positives of each query of a value [G] that tied positives share; NaN for none."""
    total = np.bincount(groups.query, groups.positives * value, minlength=len(count))
    return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)


def _spread(query: np.ndarray, value: np.ndarray, count: np.ndarray) -> np.ndarray:
    out = np.full(len(count), np.nan)
    out[query] = value
    return out


def _first_positive(groups: _TieGroups, ks: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Chance of a positive within k, and expected reciprocal place of the first one; each [len(ks), queries].

    Walks down the places; only the topmost group of a query can hold its first positive, and each
    place of that group is as likely as any other to hold one that is still to come.
    """
    greater, size, positives = (column[groups.above == 0] for column in (groups.greater, groups.size, groups.positives))
    missed, reciprocal = np.ones(len(greater)), np.zeros(len(greater))
    after: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for place in range(1, max(ks) + 1):
        left = size - (place - 1 - greater)  # places of the group from here on
        inside = (left <= size) & (left >= positives)
        chance = np.where(inside, positives / np.maximum(left, 1), 0.0)
        reciprocal = reciprocal + missed * chance / place
        missed = missed * (1 - chance)
        after[place] = 1 - missed, reciprocal
    return np.stack([after[k][0] for k in ks]), np.stack([after[k][1] for k in ks])


def _at_most(total: np.ndarray, marked: np.ndarray, draws: int, depth: int) -> np.ndarray:
    """P(X <= j) for j < depth, X the marked ones among `draws` of `total` without replacement; [depth, G].

    Sums logarithms of ratios term by term: differences of log-gamma lose 7 digits at a million items.
    """
    log_chance = np.full((depth, len(total)), -np.inf)
    unmarked, log_product = total - marked, np.zeros(len(total))
    with np.errstate(divide="ignore"):  # log 0 = -inf is the chance of what cannot happen
        for i in range(draws):
            if draws - i < depth:
                log_chance[draws - i] = log_product
            log_product = log_product + np.log(np.maximum(unmarked - i, 0) / (total - i))
        log_chance[0] = log_product
        log_weight = np.zeros(len(total))
        for j in range(min(depth - 1, draws)):
            ratio = (draws - j) / (j + 1) * np.maximum(marked - j, 0) / (total - draws + 1 + j)
            log_weight = log_weight + np.log(ratio)
            log_chance[j + 1] += log_weight
    return np.cumsum(np.exp(log_chance), axis=0)
