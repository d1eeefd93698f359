"""Parts of the work in order, by several threads, and never far ahead of who takes the results."""

from __future__ import annotations

import threading
import time
from itertools import islice

import numpy as np
import pytest

from ancf_jax.machine.sizes import WAITING_BLOCKS
from ancf_jax.ranking.blocks import (
    map_ahead,
    padded_positives,
    parts_of,
    queue_ahead,
)
from ancf_jax.types import Heldout


@pytest.mark.parametrize("total", [0, 1, 6, 7])
def test_parts_cover_everything_once(total):
    parts = parts_of(total, 3)
    covered = [n for part in parts for n in range(part.start, part.stop)]
    assert covered == list(range(total))
    assert all(part.stop - part.start == 3 for part in parts[:-1])


@pytest.mark.parametrize("total", [0, 1, 2, 50])
def test_results_come_in_order_whoever_is_done_first(total):
    def slow_at_first(number: int) -> int:
        time.sleep(0.01 if number % 5 == 0 else 0)
        return number * number

    found = map_ahead(slow_at_first, range(total), at_once=3)
    assert list(found) == [number * number for number in range(total)]


def test_several_parts_are_computed_at_a_time():
    """Each waits for another one, so one at a time would never end."""
    together = threading.Barrier(2, timeout=60)

    def wait(_: int) -> int:
        return together.wait()

    found = list(map_ahead(wait, range(6), at_once=2))
    assert sorted(found) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("total", [0, 1, 2, 7])
def test_a_queue_holds_what_has_begun_and_gives_results_in_order(total):
    told: list[str] = []

    def begin(number: int) -> int:
        told.append(f"begin {number}")
        return number

    def fetch(number: int) -> int:
        told.append(f"fetch {number}")
        return number * number

    found = queue_ahead(begin, fetch, range(total), at_once=2)
    assert list(found) == [number * number for number in range(total)]
    expected = {
        2: ["begin 0", "begin 1", "fetch 0", "fetch 1"],
        7: ["begin 0", "begin 1", "fetch 0", "begin 2", "fetch 1", "begin 3"],
    }
    assert told[:6] == expected.get(total, told)


def test_the_look_ahead_is_bounded():
    begun: list[int] = []
    results = map_ahead(begun.append, range(100), at_once=2)
    for taken in range(1, 10):
        next(results)
        time.sleep(0.02)
        assert len(begun) <= taken + 2 + WAITING_BLOCKS
    results.close()
    assert len(begun) <= 9 + 2 + WAITING_BLOCKS


def test_an_error_reaches_who_takes_the_results():
    def fails_at_three(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = map_ahead(fails_at_three, range(100), at_once=2)
    assert list(islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_positives_are_padded_to_a_power_of_two():
    heldout = Heldout(
        user=np.arange(4),
        minute=np.zeros(4),
        item=np.array([5, 6, 7, 8, 9]),
        value=np.ones(5),
        start=np.array([0, 1, 1, 4, 5]),
    )
    none_and_three = padded_positives(heldout, slice(1, 3))
    assert none_and_three.tolist() == [[-1, -1, -1, -1], [6, 7, 8, -1]]
    none = padded_positives(heldout, slice(1, 2))
    assert none.tolist() == [[-1]]
