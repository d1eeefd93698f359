"""Parts of the work in order, by several threads, and never far ahead of who takes the results."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from ancf_jax.machine.sizes import WAITING_BLOCKS
from ancf_jax.ranking.blocks import map_ahead, padded_positives, parts_of
from ancf_jax.types import Heldout


def test_parts_cover_everything_once():
    assert parts_of(7, 3) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert parts_of(6, 3) == [slice(0, 3), slice(3, 6)]
    assert parts_of(0, 3) == []


@pytest.mark.parametrize("total", [0, 1, 2, 50])
def test_results_come_in_order_whoever_is_done_first(total):
    def slow_at_first(number: int) -> int:
        time.sleep(0.01 if number % 5 == 0 else 0)
        return number * number

    squares = [number * number for number in range(total)]
    assert list(map_ahead(slow_at_first, range(total), at_once=3)) == squares


def test_several_parts_are_computed_at_a_time():
    """Each waits for another one, so one at a time would never end."""
    together = threading.Barrier(2, timeout=60)
    assert len(list(map_ahead(lambda _: together.wait(), range(6), at_once=2))) == 6


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
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_positives_are_padded_to_a_power_of_two():
    item = np.array([5, 6, 7, 8, 9], np.int32)
    start = np.array([0, 1, 1, 4, 5], np.int32)
    user = np.arange(4, dtype=np.int32)
    heldout = Heldout(user, user, item, np.ones(5, np.float32), start)
    expected = [[-1, -1, -1, -1], [6, 7, 8, -1]]
    assert padded_positives(heldout, slice(1, 3)).tolist() == expected
    assert padded_positives(heldout, slice(1, 2)).tolist() == [[-1]]
