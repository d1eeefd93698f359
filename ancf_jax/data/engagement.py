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
    return Scales(hover=_scale(hover), dwell=_scale(dwell))


def _scale(seconds: np.ndarray | None) -> float:
    if seconds is None:
        return 1.0
    known = seconds[np.isfinite(seconds) & (seconds > 0)]
    return float(np.quantile(known, QUANTILE)) if known.size else 1.0


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
    if not traces:
        raise ValueError("engagement_score needs at least one of hover, dwell and clicked")
    total = sum(weight * np.nan_to_num(column) for weight, column in traces)
    known = sum(weight * ~np.isnan(column) for weight, column in traces)
    score = np.divide(total, known, out=np.full(np.shape(total), np.nan), where=known > 0)
    return np.round(score, 3).astype(np.float32)


def prior_means(user: np.ndarray, dwell01: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What was known of the user just before each event of a log sorted by (user, time), all [N].

    Returns the mean compressed dwell of the user's earlier events (float32, 0 where none is known; NaN
    is skipped) and the kind of the previous event (int32, -1 for the first). Row e depends on no trace
    of row e, of later rows, or of other users, to the last bit: the sums are integers.
    """
    if not len(user):
        return np.zeros(0, np.float32), np.zeros(0, np.int32)
    first = np.concatenate([[True], user[1:] != user[:-1]])
    begin = np.flatnonzero(first)[np.cumsum(first) - 1]
    known = ~np.isnan(dwell01)
    fixed = np.rint(np.nan_to_num(dwell01).astype(np.float64) * _FIXED_POINT).astype(np.int64)
    total, count = _sum_before(fixed, begin), _sum_before(known.astype(np.int64), begin)
    prior_dwell = (total / _FIXED_POINT / np.maximum(count, 1)).astype(np.float32)
    prior_kind = np.where(first, -1, np.roll(kind.astype(np.int32), 1)).astype(np.int32)
    return prior_dwell, prior_kind


def _sum_before(values: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Sum of `values` from row `begin` to just before each row."""
    before = np.cumsum(values) - values
    return before - before[begin]
