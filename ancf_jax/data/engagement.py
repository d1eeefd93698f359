"""Hover, dwell and click as one engagement score, and what is known before an event."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

CLICK_WEIGHT = 0.4
DWELL_WEIGHT = 0.4
HOVER_WEIGHT = 0.2

# Of the positive training durations: longer ones count as full engagement.
QUANTILE = 0.95

Trace = np.ndarray | None  # [N], NaN where it is unknown; None where all are


@dataclass(frozen=True)
class Scales:
    """Seconds of hover and dwell that count as full engagement."""

    hover: float = 1.0
    dwell: float = 1.0


def fit_scales(hover: Trace, dwell: Trace) -> Scales:
    """The 95 % quantile of the known positive durations of training events.

    Args:
        hover: seconds [N].
        dwell: seconds [N].

    Returns:
        Seconds; 1 where no duration is known and positive.
    """
    return Scales(_fit_scale(hover), _fit_scale(dwell))


def _fit_scale(seconds: Trace) -> float:
    if seconds is None:
        return 1.0
    positive = seconds[seconds > 0]  # NaN is not above 0
    if not positive.size:
        return 1.0
    return float(np.quantile(positive, QUANTILE))


def compress_dwell(dwell: np.ndarray, scale: float) -> np.ndarray:
    """min(1, log(1 + seconds) / log(1 + scale)), float32 [N] in [0, 1]; NaN stays NaN.

    The logarithm tames the heavy tail of durations, the clip bounds what is left of it.
    """
    seconds = np.maximum(np.asarray(dwell, dtype=np.float64), 0.0)
    compressed = np.log1p(seconds) / np.log1p(scale)
    return np.minimum(compressed, 1.0).astype(np.float32)


def engagement_score(
    hover: Trace, dwell: Trace, clicked: Trace, scales: Scales
) -> np.ndarray:
    """How much an event says that the product was liked.

    score = (.4 clicked + .4 d + .2 h) / (sum of the weights of the known traces)

    with d and h the dwell and hover seconds after `compress_dwell`. A trace that is NaN, or
    None for all events, is unknown and takes no part.

    Args:
        hover: seconds [N].
        dwell: seconds [N].
        clicked: [N] 0 or 1.
        scales: seconds that count as full engagement.

    Returns:
        float32 [N] in [0, 1], rounded to three decimals; NaN where no trace is known.
    """
    traces = np.broadcast_arrays(
        _or_unknown(clicked),
        compress_dwell(_or_unknown(dwell), scales.dwell),
        compress_dwell(_or_unknown(hover), scales.hover),
    )
    weights = [CLICK_WEIGHT, DWELL_WEIGHT, HOVER_WEIGHT]
    known = np.ma.masked_invalid(np.stack(traces).astype(np.float64))
    score = np.ma.average(known, axis=0, weights=weights)
    return np.ma.filled(score, np.nan).round(3).astype(np.float32)


def _or_unknown(trace: Trace) -> np.ndarray:
    """The trace, or a scalar NaN that stands for all events."""
    return np.array(np.nan) if trace is None else trace


def mean_dwell(user: np.ndarray, compressed: np.ndarray) -> np.ndarray:
    """Mean of the user's known compressed dwells up to and including each event.

    Row e depends on no later row and on no other user, to the last bit.

    Args:
        user: [N] sorted by (user, time).
        compressed: [N] from `compress_dwell`; NaN, unknown, is skipped.

    Returns:
        float32 [N], 0 where none is known yet.
    """
    known = pd.DataFrame(
        {
            "sum": np.nan_to_num(compressed).astype(float),
            "count": ~np.isnan(compressed) * 1.0,
        }
    )
    total = known.groupby(user).cumsum()
    count = total["count"].clip(lower=1)
    return (total["sum"] / count).to_numpy(np.float32)


def previous(user: np.ndarray, column: np.ndarray, initial: int) -> np.ndarray:
    """The column [N] at the user's previous event, `initial` at the first.

    Rows are sorted by (user, time).
    """
    is_earliest = np.diff(user, prepend=-1) != 0
    shifted = np.roll(column, 1)
    return np.where(is_earliest, initial, shifted).astype(column.dtype)
