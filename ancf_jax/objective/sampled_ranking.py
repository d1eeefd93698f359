"""Metrics of ranking each held-out positive among randomly drawn negatives.

They are exact expected values over the draws and over random orders of equal scores, by the
hypergeometric distribution: nothing is drawn. Shapes as in `ties`, and `K` places.
"""

from collections.abc import Sequence

import numpy as np

from ancf_jax.objective.ties import Ranks, TieGroups, of_all_requests, tie_groups


def sampled_metrics(
    ranks: Ranks, negatives: int, ks: Sequence[int] = (1, 5, 10, 20)
) -> dict[str, np.ndarray]:
    """Expected `hit_rate@k`, `ndcg@k` and `mrr@k` of ranking each positive against negatives.

    For each positive apart, `negatives` of the candidates that are not positives are drawn
    uniformly without replacement, or all where there are fewer.

    Returns:
        name -> float64 [R], the mean over the request's positives; NaN without positives.
    """
    groups = tie_groups(ranks)
    place = np.arange(1, max(ks) + 1)
    chance = _chance_of_place(groups, negatives, len(place))
    gains = {
        "hit_rate": np.ones(len(place)),
        "ndcg": 1 / np.log2(place + 1),
        "mrr": 1 / place,
    }
    figures = {}
    for name, gain in gains.items():
        for k in ks:
            figures[f"{name}@{k}"] = gain[:k] @ chance[:k]
    return of_all_requests(ranks, figures)


def _chance_of_place(groups: TieGroups, negatives: int, depth: int) -> np.ndarray:
    """Chance [depth, T] that a positive stands at a place, the mean over a request's positives.

    Of N candidates that are not positives, m = `negatives` are drawn; b of the N are above the
    positive and t are tied with it. A random order of ties puts s of the tied above, s uniform on
    0 .. t. The number j of drawn candidates above is then hypergeometric. Averaged over s,

        P(j) = (N + 1) / ((m + 1) (t + 1)) * (F(j; b) - F(j; b + t + 1)),

    where F(j; g) is the chance that m + 1 draws from N + 1 hold at most j of g marked ones. The
    difference counts the (m + 1)-subsets of N + 1 places whose element number j is at one of the
    places b + 0 .. b + t.
    """
    above = groups.greater - groups.positives_above
    tied = groups.size - groups.positives
    draws = negatives + 1
    # Where there are fewer than m others, absent ones count as items that rank last.
    others = np.maximum(groups.total_others, negatives)
    total = others[groups.request] + 1
    cdf_above = _hypergeometric_cdf(total, above, draws, depth)
    cdf_above_or_tied = _hypergeometric_cdf(total, above + tied + 1, draws, depth)
    difference = cdf_above - cdf_above_or_tied
    weighted = groups.positives * difference * total / (draws * (tied + 1))
    return groups.sum_per_request(weighted) / groups.total_positives


def _hypergeometric_cdf(
    total: np.ndarray, marked: np.ndarray, draws: int, depth: int
) -> np.ndarray:
    """P(X <= j) for j < depth, X the marked ones among `draws` of `total`: [depth, G].

    Drawn without replacement, `total` and `marked` [G]. With M = marked, N = total, n = draws,

        P(X = j) = product over i < n - j of (N - M - i) / (N - i)
                 * product over i = 1 .. j of (n - i + 1) (M - i + 1) / (i (N - n + i)).

    Logarithms of these ratios are summed term by term: differences of log-gamma would lose 7
    digits at a million items.
    """
    # log 0 = -inf is the chance of what cannot happen.
    with np.errstate(divide="ignore", invalid="ignore"):
        log_chance = _log_chance_of_unmarked(total, marked, draws, depth)
        j = np.arange(1, depth)[:, None]
        draws_left = np.maximum(draws - j + 1, 0)
        marked_left = np.maximum(marked - j + 1, 0)
        ratio = draws_left / j * marked_left / (total - draws + j)
        log_chance[1:] += np.cumsum(np.log(ratio), axis=0)
    return np.cumsum(np.exp(log_chance), axis=0)


def _log_chance_of_unmarked(
    total: np.ndarray, marked: np.ndarray, draws: int, depth: int
) -> np.ndarray:
    """Log of the chance [depth, G] that the first draws - j draws are unmarked, for j < depth.

    It is -inf where j exceeds the draws.
    """
    log_chance = np.full((depth, len(total)), -np.inf)
    log_unmarked = np.zeros(len(total))
    for drawn in range(draws + 1):
        remaining = draws - drawn
        if remaining < depth:
            log_chance[remaining] = log_unmarked
        left = total - drawn
        unmarked_left = np.maximum(total - marked - drawn, 0)
        log_unmarked = log_unmarked + np.log(unmarked_left / left)
    return log_chance
