"""Hover, dwell and click compressed into one engagement score, and what is known before an event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLICK_WEIGHT, DWELL_WEIGHT, HOVER_WEIGHT = 0.4, 0.4, 0.2
QUANTILE = 0.95  # of the positive training durations: longer ones count as full engagement
_FIXED_POINT = 2.0**30


@dataclass(frozen=True)
class Scales:
    """Seconds of hover and dwell that count as full engagement."""

    hover: float = 1.0
    dwell: float = 1.0


def fit_scales(hover: np.ndarray | None, dwell: np.ndarray | None) -> Scales:
    """The 95 % quantile of the known positive durations [N] in seconds, 1 where there are none.

    Give training events only: the scales are parameters learned from data.
    """

    def scale(seconds: np.ndarray | None) -> float:
        known = seconds[seconds > 0] if seconds is not None else np.zeros(0)  # NaN is not above 0
        return float(np.quantile(known, QUANTILE)) if known.size else 1.0

    return Scales(hover=scale(hover), dwell=scale(dwell))


def compress_dwell(dwell: np.ndarray, scale: float) -> np.ndarray:
    """min(1, log(1 + seconds) / log(1 + scale)), float32 [N] in [0, 1]; NaN stays NaN.

    The logarithm tames the heavy tail of durations, the clip bounds what is left of it.
    """
    seconds = np.maximum(np.asarray(dwell, dtype=np.float64), 0.0)
    return np.minimum(np.log1p(seconds) / np.log1p(scale), 1.0).astype(np.float32)


def engagement_score(
    hover: np.ndarray | None, dwell: np.ndarray | None, clicked: np.ndarray | None, scales: Scales
) -> np.ndarray:
    """How much an event says that the product was liked: float32 [N] in [0, 1], three decimals.

    score = (.4 clicked + .4 d + .2 h) / (sum of the weights of the known traces), with d and h the
    dwell and hover seconds [N] after `compress_dwell` and clicked [N] 0 or 1. A trace that is NaN, or
    None for all events, is unknown and takes no part. NaN where no trace is known.
    """
    columns = [
        (CLICK_WEIGHT, clicked),
        (DWELL_WEIGHT, None if dwell is None else compress_dwell(dwell, scales.dwell)),
        (HOVER_WEIGHT, None if hover is None else compress_dwell(hover, scales.hover)),
    ]
    traces = [(weight, np.asarray(column, dtype=np.float64)) for weight, column in columns if column is not None]
    total = sum(weight * np.nan_to_num(column) for weight, column in traces)
    known = sum(weight * ~np.isnan(column) for weight, column in traces)
    score = np.divide(total, known, out=np.full(np.shape(total), np.nan), where=known > 0)
    return np.round(score, 3).astype(np.float32)


def mean_dwell(user: np.ndarray, dwell01: np.ndarray) -> np.ndarray:
    """Mean compressed dwell of the user's known dwells so far, float32 [N], 0 where none is known yet.

    Rows [N] are sorted by (user, time); NaN is skipped. Row e depends on no later row and on no other
    user, to the last bit: the sums are integers.
    """
    first = np.searchsorted(user, user)

    def so_far(values: np.ndarray) -> np.ndarray:
        total = np.cumsum(values)
        return total - (total - values)[first]

    total = so_far(np.rint(np.nan_to_num(dwell01).astype(np.float64) * _FIXED_POINT).astype(np.int64))
    return (total / _FIXED_POINT / np.maximum(so_far(~np.isnan(dwell01) * 1), 1)).astype(np.float32)


def previous(user: np.ndarray, column: np.ndarray, initial: int) -> np.ndarray:
    """The column [N] of the user's previous event, `initial` for the first; rows are sorted by (user, time)."""
    return np.where(np.diff(user, prepend=-1) != 0, initial, np.roll(column, 1)).astype(column.dtype)
