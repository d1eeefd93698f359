"""What is shown where there is no terminal: seldom enough to be read, often enough to be trusted."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ancf_jax.cli.screen import Screen
from ancf_jax.view import in_time


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines_of(clock: Clock, calls: list[tuple[float, str, int, str]]) -> list[str]:
    """What a log file holds after progress at these seconds, of work of 100 parts."""
    screen = Screen(clock)
    text = io.StringIO()
    screen.console = Console(file=text, width=200, highlight=False)
    for seconds, title, done, note in calls:
        clock.now = 1000 + seconds
        screen.progress(title, done, 100, note)
    return text.getvalue().splitlines()


def test_a_line_every_half_minute_with_what_is_left(clock):
    """20 parts took 31 s after the first call, so 80 take 124 s; then 40 took 64 s, so 60 take 96."""
    calls = [
        (0, "epoch 1/3", 1, "loss 5"),
        (29, "epoch 1/3", 19, "loss 4"),
        (31, "epoch 1/3", 20, "loss 3"),
        (45, "epoch 1/3", 30, "loss 3"),
        (64, "epoch 1/3", 40, ""),
    ]
    assert lines_of(clock, calls) == [
        "epoch 1/3: 20 of 100, loss 3, 2 min left",
        "epoch 1/3: 40 of 100, 96 s left",
    ]


def test_short_work_says_nothing(clock):
    calls = [
        (0, "epoch 1/3", 50, ""),
        (20, "epoch 1/3", 100, ""),
        (41, "epoch 2/3", 50, ""),
    ]
    assert lines_of(clock, calls) == []


def test_the_end_of_long_work_is_told_by_what_follows(clock):
    assert lines_of(clock, [(0, "scoring", 1, ""), (99, "scoring", 100, "")]) == []


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (99, "99 s"), (101, "2 min"), (7_200, "2.0 h")]
)
def test_times_are_in_the_unit_that_people_take(seconds, words):
    assert in_time(seconds) == words


def test_what_is_left_is_reckoned_from_the_beginning_of_this_work(clock):
    """Work that began 500 s after the screen: 20 parts in 40 s, so 80 take 160."""
    calls = [(500, "testing", 1, ""), (540, "testing", 20, "")]
    assert lines_of(clock, calls) == ["testing: 20 of 100, 3 min left"]
