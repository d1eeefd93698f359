"""Packing against what it promises."""

from __future__ import annotations

import numpy as np

from ancf_jax.batching.windows import pack_windows


def offsets(counts: list[int]) -> np.ndarray:
    start = np.cumsum([0, *counts])
    return start.astype(np.int32)


START = offsets([3, 0, 7, 1, 5])  # events of each user


def runs_of(rows: np.ndarray) -> set[tuple[int, ...]]:
    """The runs of consecutive events within rows."""
    runs = set()
    for row in rows:
        is_break = np.diff(row) != 1
        begins = np.flatnonzero(is_break) + 1
        for run in np.split(row, begins):
            runs.add(tuple(run.tolist()))
    return runs


def test_packing_holds_every_event_once():
    rows = pack_windows(START, 4)
    packed = np.sort(rows[rows >= 0])
    np.testing.assert_array_equal(packed, np.arange(16))
    assert rows.shape == (4, 4)  # nothing is padded


def test_windows_are_counted_from_the_last_event():
    rows = pack_windows(START, 4)
    runs = runs_of(rows)
    assert (0, 1, 2) in runs
    assert (3, 4, 5) in runs
    assert (6, 7, 8, 9) in runs
    assert (12, 13, 14, 15) in runs


def test_packing_wastes_little():
    rng = np.random.default_rng(0)
    counts = rng.geometric(1 / 29, 499)
    start = offsets(counts.tolist())
    rows = pack_windows(start, 53)
    padding = rows < 0
    packed = np.sort(rows[~padding])
    np.testing.assert_array_equal(packed, np.arange(counts.sum()))
    assert padding.mean() < 0.01
