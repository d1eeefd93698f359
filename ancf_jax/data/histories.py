"""From event numbers to what was known before them: histories and windows by index arithmetic.

All functions are pure and jit-able; no (N x L) matrix is ever made.
"""

import jax.numpy as jnp
import numpy as np

from ancf_jax.types import Array, Batch, EventLog, Query


def tokens_before(
    log: EventLog, user: Array, end: Array, length: int
) -> tuple[Array, Array, Array]:
    """Items, minutes and segment [B, L] of the `length` events that precede log offset `end` [B].

    The slot before a user's first event holds -1 in segment 0: "nothing yet". Slots before that are padding.
    """
    slot = end[:, None] - length + jnp.arange(length, dtype=jnp.int32)[None, :]
    first = log.start[user][:, None]
    known = slot >= first
    place = jnp.clip(slot, 0, log.item.shape[0] - 1)
    segment = jnp.where(slot >= first - 1, 0, -1)
    return (
        jnp.where(known, log.item[place], -1),
        jnp.where(known, log.minute[place], 0),
        segment,
    )


def batch_of_events(log: EventLog, event: Array, length: int) -> Batch:
    """The batch that scores events [B] from what preceded each; event -1 is padding of weight 0."""
    place = jnp.maximum(event, 0)
    return _batch(log, event, *tokens_before(log, log.user[place], place, length))


def _batch(log: EventLog, event: Array, *history: Array) -> Batch:
    """The batch of events of any shape, -1 for padding, with the tokens, minutes and segments of their history."""
    place = jnp.maximum(event, 0)
    user = log.user[place]
    query = Query(
        log.number[user],
        log.minute[place],
        log.prior_kind[place],
        log.prior_dwell[place],
        *history,
    )
    return Batch(
        query, user, log.item[place], log.value[place], (event >= 0).astype(jnp.float32)
    )


def batch_of_windows(log: EventLog, target: Array) -> Batch:
    """The batch that scores the events `target` [B, L], runs of consecutive ones, each from the run before it.

    The token at a position is the event before its target, so that an encoder which looks only
    backwards sees nothing of the target. Target -1 is padding of weight 0.
    """
    place = jnp.maximum(target, 0)
    user, before = log.user[place], jnp.maximum(place - 1, 0)
    known = place > log.start[user]
    token, token_minute = (
        jnp.where(known, log.item[before], -1),
        jnp.where(known, log.minute[before], 0),
    )
    begins = (jnp.diff(target, axis=1, prepend=-2) != 1) | (
        jnp.diff(user, axis=1, prepend=-1) != 0
    )
    return _batch(
        log,
        target,
        token,
        token_minute,
        jnp.where(target >= 0, jnp.cumsum(begins, axis=1), -1),
    )


def query_after_log(log: EventLog, user: Array, minute: Array, length: int) -> Query:
    """What is known of users [B] at `minute` [B], after all their events in the log.

    User -1 (unknown) has an empty history.
    """
    row = jnp.maximum(user, 0)
    begin = log.start[row]
    end = jnp.where(user >= 0, log.start[row + 1], begin)
    last = jnp.clip(end - 1, 0, log.item.shape[0] - 1)
    kind = jnp.where(end > begin, log.kind[last], -1)
    dwell = jnp.where(end > begin, log.mean_dwell[last], 0.0)
    return Query(user, minute, kind, dwell, *tokens_before(log, row, end, length))


def pack_windows(start: np.ndarray, length: int) -> np.ndarray:
    """Every event once, as rows int32 [R, L] of targets for `batch_of_windows`, -1 padded.

    Each user's events are cut into windows of `length`, counted from the last event; windows, longest first, go
    into the fullest row that still has room, so that little of a row is padding.
    """
    events = np.diff(start)
    windows = -(-events // length)
    user = np.repeat(np.arange(len(events)), windows)
    number = np.arange(len(user)) - np.repeat(np.cumsum(windows) - windows, windows)
    end = start[user + 1] - number * length
    size = np.minimum(length, end - start[user])
    row, column = _best_fit(size, length)
    rows = np.full((int(row.max(initial=-1)) + 1, length), -1, np.int32)
    within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    rows[np.repeat(row, size), np.repeat(column, size) + within] = (
        np.repeat(end - size, size) + within
    )
    return rows


def _best_fit(size: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column [W] of each piece in rows of `capacity`, by best fit decreasing."""
    row, column = np.zeros((2, len(size)), np.int64)
    with_room: list[list[int]] = [
        [] for _ in range(capacity)
    ]  # row numbers by the room they have
    with_room.append(
        list(range(len(size)))[::-1]
    )  # the empty ones, a row for every piece
    rooms = 1 << capacity  # bit r: some row has room r
    for piece in np.argsort(-size, kind="stable").tolist():
        need = int(size[piece])
        enough = rooms >> need
        room = need + (enough & -enough).bit_length() - 1
        row[piece], column[piece] = with_room[room].pop(), capacity - room
        rooms &= ~(0 if with_room[room] else 1 << room)
        with_room[room - need].append(int(row[piece]))
        rooms |= 1 << (room - need)
    return row, column
