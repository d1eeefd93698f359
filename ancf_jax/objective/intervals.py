"""Means over users and their bootstrap intervals."""

import numpy as np
import pandas as pd

Interval = tuple[float, float]
Intervals = dict[str, Interval]  # by metric


def mean(per_user: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean of each metric [U] over its users, NaN ones left out; NaN where no user is left."""
    return {name: float(pd.Series(values).mean()) for name, values in per_user.items()}


def bootstrap(
    per_user: dict[str, np.ndarray], seed: int, draws: int = 1000, level: float = 0.95
) -> Intervals:
    """Percentile bootstrap interval (low, high) of the mean over users of each metric [U], NaN ones left out.

    It spans the middle `level` of the means of `draws` draws of all users; (NaN, NaN) where none has the metric.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    values, rng = (
        np.stack([*per_user.values()], axis=1).astype(np.float64),
        np.random.default_rng(seed),
    )
    values, known, means = (
        np.nan_to_num(values),
        1.0 - np.isnan(values),
        [np.full(len(per_user), np.nan)],
    )
    with np.errstate(invalid="ignore"):  # 0 / 0 where nobody drawn has the metric
        for _ in range(draws if len(values) else 0):
            times = np.bincount(
                rng.integers(len(values), size=len(values)), minlength=len(values)
            )
            means.append(times @ values / (times @ known))
    bounds = pd.DataFrame(means).quantile([(1 - level) / 2, (1 + level) / 2]).to_numpy()
    return {
        name: (float(low), float(high))
        for name, low, high in zip(per_user, *bounds, strict=True)
    }
