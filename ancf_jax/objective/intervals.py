"""Means over users and their bootstrap intervals."""

from __future__ import annotations

import numpy as np

BLOCK = 4_000_000  # resampling counts held at a time (float64)

Interval = tuple[float, float]


def mean(per_user: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean of each metric [U] over its users, NaN ones left out; NaN where no user is left."""
    kept = {name: values[~np.isnan(values)] for name, values in per_user.items()}
    return {name: float(values.mean()) if len(values) else float("nan") for name, values in kept.items()}


def bootstrap(
    per_user: dict[str, np.ndarray], *, seed: int, draws: int = 1000, level: float = 0.95
) -> dict[str, Interval]:
    """Percentile bootstrap interval (low, high) of the mean over users of each metric [U].

    Users are drawn with replacement, as many as there are, `draws` times; the interval spans the
    middle `level` of the means of the draws. Users with NaN are left out of the metrics concerned;
    metrics defined for the same users share their draws. (NaN, NaN) where no user is left.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    together: dict[bytes, list[str]] = {}
    for name, values in per_user.items():
        together.setdefault(np.isnan(values).tobytes(), []).append(name)
    found: dict[str, Interval] = {}
    for names in together.values():
        values = np.stack([np.asarray(per_user[name], np.float64) for name in names], axis=1)
        values = values[~np.isnan(values[:, 0])]
        means = _resampled_means(values, draws, np.random.default_rng(seed))
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
        found |= {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
    return {name: found[name] for name in per_user}


def paired(
    a: dict[str, np.ndarray], b: dict[str, np.ndarray], *, seed: int, draws: int = 1000, level: float = 0.95
) -> dict[str, Interval]:
    """Bootstrap interval of the mean of a - b over the same users, for the metrics that both have.

    Arrays are [U], user by user in the same order; an interval without 0 is a difference at `level`.
    """
    difference = {name: a[name] - b[name] for name in a if name in b}
    return bootstrap(difference, seed=seed, draws=draws, level=level)


def _resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Means [draws, M] of resampled users; a draw is how often each user of `values` [U, M] occurs."""
    users, block = len(values), max(1, BLOCK // max(1, len(values)))
    if not users:
        return np.full((draws, values.shape[1]), np.nan)
    means = np.empty((draws, values.shape[1]))
    for begin in range(0, draws, block):
        rows = means[begin : begin + block]
        times = np.empty((len(rows), users))
        for row in times:
            row[:] = np.bincount(rng.integers(users, size=users), minlength=users)
        rows[:] = times @ values / users
    return means
