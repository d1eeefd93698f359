"""Hover, dwell and click compressed into one engagement score, and what is known before an event."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

CLICK_WEIGHT, DWELL_WEIGHT, HOVER_WEIGHT = 0.4, 0.4, 0.2
Trace = np.ndarray | None  # [N], NaN where it is unknown
QUANTILE = (
    0.95  # of the positive training durations: longer ones count as full engagement
)


@dataclass(frozen=True)
class Scales:
    """Seconds of hover and dwell that count as full engagement."""

    hover: float = 1.0
    dwell: float = 1.0


def fit_scales(hover: Trace, dwell: Trace) -> Scales:
    """The 95 % quantile of the known positive durations [N] of training events in seconds, 1 where there are none."""
    known = [
        np.zeros(0) if x is None else x[x > 0] for x in (hover, dwell)
    ]  # NaN is not above 0
    return Scales(
        *(
            float(np.quantile(seconds, QUANTILE)) if seconds.size else 1.0
            for seconds in known
        )
    )


def compress_dwell(dwell: np.ndarray, scale: float) -> np.ndarray:
    """min(1, log(1 + seconds) / log(1 + scale)), float32 [N] in [0, 1]; NaN stays NaN.

    The logarithm tames the heavy tail of durations, the clip bounds what is left of it.
    """
    seconds = np.maximum(np.asarray(dwell, dtype=np.float64), 0.0)
    return np.minimum(np.log1p(seconds) / np.log1p(scale), 1.0).astype(np.float32)


def engagement_score(
    hover: Trace, dwell: Trace, clicked: Trace, scales: Scales
) -> np.ndarray:
    """How much an event says that the product was liked: float32 [N] in [0, 1], three decimals.

    score = (.4 clicked + .4 d + .2 h) / (sum of the weights of the known traces), with d and h the
    dwell and hover seconds [N] after `compress_dwell` and clicked [N] 0 or 1. A trace that is NaN, or
    None for all events, is unknown and takes no part. NaN where no trace is known.
    """
    clicked, dwell, hover = (
        np.array(np.nan) if trace is None else trace
        for trace in (clicked, dwell, hover)
    )
    traces = (
        clicked,
        compress_dwell(dwell, scales.dwell),
        compress_dwell(hover, scales.hover),
    )
    known = np.ma.masked_invalid(
        np.stack(np.broadcast_arrays(*traces)).astype(np.float64)
    )
    score = np.ma.average(
        known, axis=0, weights=[CLICK_WEIGHT, DWELL_WEIGHT, HOVER_WEIGHT]
    )
    return np.ma.filled(score, np.nan).round(3).astype(np.float32)


def mean_dwell(user: np.ndarray, dwell01: np.ndarray) -> np.ndarray:
    """Mean of the user's known compressed dwells so far, float32 [N], 0 where none is known yet; NaN is skipped.

    Rows [N] are sorted by (user, time). Row e depends on no later row and on no other user, to the last bit.
    """
    known = pd.DataFrame(
        {"sum": np.nan_to_num(dwell01).astype(float), "count": ~np.isnan(dwell01) * 1.0}
    )
    total = known.groupby(user).cumsum()
    return (total["sum"] / total["count"].clip(lower=1)).to_numpy(np.float32)


def previous(user: np.ndarray, column: np.ndarray, initial: int) -> np.ndarray:
    """The column [N] of the user's previous event, `initial` for the first; rows are sorted by (user, time)."""
    return np.where(np.diff(user, prepend=-1) != 0, initial, np.roll(column, 1)).astype(
        column.dtype
    )
