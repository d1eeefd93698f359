"""The shop's clock: when it opened and how its time is divided."""

import numpy as np

OPENING = (
    1_735_689_600  # unix seconds of 2025-01-01 00:00, the shop's clock taken as UTC
)
OPENING_WEEKDAY = 2  # a Wednesday; Monday is 0
DAY = 86_400  # seconds
SLOT = 900  # seconds of the quarter hours by which demand is tabulated


def weekday(day: np.ndarray) -> np.ndarray:
    """The weekday of days counted from the opening; Monday is 0."""
    return (day + OPENING_WEEKDAY) % 7
