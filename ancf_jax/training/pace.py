"""How long a training will take, told once its first steps have shown it."""

import time
from collections.abc import Callable

from ancf_jax.machine import sizes
from ancf_jax.training.standing import EpochReport
from ancf_jax.view import in_time

ENOUGH = 5  # seconds of steps that say how long others take
LONGEST_CALL = 10  # seconds of the devices, unheard by whoever wants to stop them
WORTH_TELLING = 20  # seconds that people would rather know of before


class CallLength:
    """How many steps a call may do, so that whoever wants to stop training is soon heard.

    What a run computes does not depend on it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls = 0
        self._begin = 0.0
        self._seconds_per_step = 0.0

    def begin(self) -> None:
        """A call begins."""
        self._begin = self._clock()

    def end(self, steps: int) -> None:
        """A call of so many steps ends; the first one held the time of the compiler."""
        self._calls += 1
        if self._calls > 1:
            self._seconds_per_step = (self._clock() - self._begin) / steps

    def most_steps(self) -> int:
        """Few as long as no pace is known."""
        if not self._seconds_per_step:
            return sizes.MIN_STEPS_PER_CALL
        return max(1, int(LONGEST_CALL / self._seconds_per_step))


class Pace:
    """Measures steps from the first report on, for that one holds the time of the compiler."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self._is_told = False

    def told(self, report: EpochReport, epochs_after: int) -> str:
        """What is to be said now; empty but once, and where the rest is short.

        Args:
            report: on the epoch at hand, the first that this process trains.
            epochs_after: epochs that come after it.
        """
        now = self._clock()
        if self._first is None:
            self._first = (now, report.done)
        began, done_before = self._first
        steps = report.done - done_before
        if self._is_told or steps <= 0 or now - began < ENOUGH:
            return ""
        self._is_told = True
        steps_left = report.total - report.done + epochs_after * report.total
        seconds = (now - began) / steps * steps_left
        if seconds < WORTH_TELLING:
            return ""
        epochs = f"{epochs_after} more epochs" if epochs_after else "this epoch"
        return (
            f"about {in_time(seconds)} to go, to the end of {epochs}, validation aside"
        )
