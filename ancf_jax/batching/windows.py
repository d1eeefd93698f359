"""Packing the events of a log into rows of equal length, with little padding."""

import numpy as np


def pack_windows(start: np.ndarray, length: int) -> np.ndarray:
    """Every event once, in rows of targets for `batch_of_windows`.

    Each user's events are cut into windows of `length`, counted from the last event.
    Windows, longest first, go into the fullest row that still has room, so that little of
    a row is padding.

    Args:
        start: int32 [U + 1] the events of user u are start[u] .. start[u + 1] - 1.
        length: L.

    Returns:
        int32 [R, L] event numbers, -1 for padding.
    """
    begin, size = _cut_windows(start, length)
    row, column = _best_fit(size, length)
    within = _count_up(size)
    event = np.repeat(begin, size) + within
    event_row = np.repeat(row, size)
    event_column = np.repeat(column, size) + within
    used_rows = int(row.max(initial=-1)) + 1
    targets = np.full((used_rows, length), -1, np.int32)
    targets[event_row, event_column] = event
    return targets


def _cut_windows(start: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The earliest event and the number of events of each window: two int [W]."""
    events = np.diff(start)
    users = len(events)
    windows = -(-events // length)  # rounded up
    user = np.repeat(np.arange(users), windows)
    windows_after = _count_up(windows)
    end = start[user + 1] - windows_after * length
    size = np.minimum(length, end - start[user])
    return end - size, size


def _count_up(counts: np.ndarray) -> np.ndarray:
    """0 .. count - 1 for each count, one after another: int [sum of counts]."""
    begin = np.cumsum(counts) - counts
    return np.arange(counts.sum()) - np.repeat(begin, counts)


def _best_fit(size: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column [W] of each window in rows of `capacity`, by best fit decreasing.

    The window goes into the row with the least room that is enough. A row per window, all
    empty, is there from the start, so that some row always has room.
    """
    windows = len(size)
    row_of = np.zeros(windows, np.int64)
    column_of = np.zeros(windows, np.int64)
    # Entry r: the rows with room for exactly r more events.
    rows_by_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rows_by_room[capacity] = list(reversed(range(windows)))
    # Bit r is set where some row has room r: the least that is enough is one look-up.
    rooms = 1 << capacity
    for window in np.argsort(-size, kind="stable").tolist():
        need = int(size[window])
        room = _lowest_bit_from(rooms, need)
        row = rows_by_room[room].pop()
        if not rows_by_room[room]:
            rooms &= ~(1 << room)
        room_left = room - need
        rows_by_room[room_left].append(row)
        rooms |= 1 << room_left
        row_of[window] = row
        column_of[window] = capacity - room
    return row_of, column_of


def _lowest_bit_from(bits: int, begin: int) -> int:
    """The number of the lowest bit that is set in `bits`, at `begin` or above."""
    shifted = bits >> begin
    lowest = shifted & -shifted
    return begin + lowest.bit_length() - 1
