"""Means over users and their bootstrap intervals."""

import numpy as np
import pandas as pd

Interval = tuple[float, float]
Intervals = dict[str, Interval]  # by metric


def mean(per_user: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean over users of each metric [U].

    A NaN is left out: its user has no such figure. The mean is NaN where no user is left.
    """
    return {name: float(pd.Series(values).mean()) for name, values in per_user.items()}


def bootstrap(
    per_user: dict[str, np.ndarray], seed: int, draws: int = 1000, level: float = 0.95
) -> Intervals:
    """Percentile bootstrap interval of the mean over users of each metric.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Args:
        per_user: name -> [U]; NaN figures are left out of their metric's mean.
        seed: of the draws; all metrics see the same users.
        draws: how often U users are drawn with replacement.
        level: share of the means that the interval spans, from the middle.

    Returns:
        (low, high) by name; (NaN, NaN) where no user has the metric.
    """
    columns = list(per_user.values())
    values = np.stack(columns, axis=1).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = pd.DataFrame(_means_of_draws(values, draws, rng))
    bounds = means.quantile([(1 - level) / 2, (1 + level) / 2])
    lows, highs = bounds.to_numpy().tolist()
    intervals = zip(lows, highs, strict=True)
    return dict(zip(per_user, intervals, strict=True))


def _means_of_draws(
    values: np.ndarray, draws: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Means [M] of values [U, M] over users drawn with replacement, one entry a draw.

    The first entry is NaN and stands for no draw; `quantile` leaves it out.
    """
    users, metrics = values.shape
    known = 1.0 - np.isnan(values)
    values = np.nan_to_num(values)
    means = [np.full(metrics, np.nan)]
    if users == 0:
        return means
    with np.errstate(invalid="ignore"):  # 0 / 0 where nobody drawn has the metric
        for _ in range(draws):
            drawn = rng.integers(users, size=users)
            times_drawn = np.bincount(drawn, minlength=users)
            total = times_drawn @ values
            count = times_drawn @ known
            means.append(total / count)
    return means
