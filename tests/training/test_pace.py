"""How long a training will take: told once, from steps without the compiler's time."""

from __future__ import annotations

import pytest

from ancf_jax.training.pace import CallLength, Pace
from ancf_jax.training.standing import EpochReport


def told(reports: list[tuple[float, int]], epochs_after: int) -> list[str]:
    """What is said after reports at these seconds and steps of 100."""
    seconds = iter([second for second, _ in reports])
    pace = Pace(lambda: next(seconds))
    return [pace.told(EpochReport(done, 100), epochs_after) for _, done in reports]


def test_the_time_is_told_once_by_the_steps_after_the_first_report():
    """10 steps in 6 s after the compiler's 70: 80 + 2 x 100 steps are left, 168 s."""
    found = told([(70, 10), (73, 15), (76, 20), (90, 30)], epochs_after=2)
    words = "about 3 min to go, to the end of 2 more epochs, validation aside"
    assert found == ["", "", words, ""]


def test_the_last_epoch_is_named_as_such():
    found = told([(0, 10), (20, 20)], epochs_after=0)
    assert found[1] == "about 3 min to go, to the end of this epoch, validation aside"


@pytest.mark.parametrize(
    "reports", [[(0, 100)], [(0, 50), (4, 100)], [(0, 10), (6, 70)]]
)
def test_what_is_soon_over_is_not_told(reports):
    assert set(told(reports, epochs_after=0)) == {""}


def test_calls_are_as_long_as_the_pace_allows_once_it_is_known():
    """The first call compiles: 50 s for 8 steps; then 4 s for 8, and 60 s for 20."""
    seconds = iter([0, 50, 54, 54, 114, 114, 154])
    length = CallLength(lambda: next(seconds))
    found = []
    for steps in (8, 8, 20, 1):
        found.append(length.most_steps())
        length.begin()
        length.end(steps)
    assert [*found, length.most_steps()] == [8, 8, 20, 3, 1]
