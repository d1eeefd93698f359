"""Means over users and their bootstrap intervals."""

import numpy as np
import pandas as pd

Interval = tuple[float, float]


def mean(per_user: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean of each metric [U] over its users, NaN ones left out; NaN where no user is left."""
    return {name: float(pd.Series(values).mean()) for name, values in per_user.items()}


def bootstrap(
    per_user: dict[str, np.ndarray], *, seed: int, draws: int = 1000, level: float = 0.95
) -> dict[str, Interval]:
    """Percentile bootstrap interval (low, high) of the mean over users of each metric [U], NaN ones left out.

    It spans the middle `level` of the means of `draws` draws with replacement; (NaN, NaN) where no user is left.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    together: dict[bytes, list[str]] = {}
    for name, values in per_user.items():
        together.setdefault(np.isnan(values).tobytes(), []).append(name)
    found: dict[str, Interval] = {}
    for names in together.values():
        values = np.stack([per_user[name] for name in names], axis=1).astype(np.float64)
        means = _resampled_means(values[~np.isnan(values[:, 0])], draws, np.random.default_rng(seed))
        bounds = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
        found |= {name: (float(low), float(high)) for name, low, high in zip(names, *bounds, strict=True)}
    return {name: found[name] for name in per_user}


def _resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Means [draws, M] of resampled users; a draw is how often each user of `values` [U, M] occurs."""
    if not (users := len(values)):
        return np.full((draws, values.shape[1]), np.nan)
    times = (np.bincount(rng.integers(users, size=users), minlength=users) for _ in range(draws))
    return np.array([count @ values / users for count in times])
