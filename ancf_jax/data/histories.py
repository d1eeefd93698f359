"""From event numbers to what was known before them: histories and windows by index arithmetic.

All functions are pure and jit-able; no (N x L) matrix is ever made.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from ancf_jax.types import Array, Batch, EventLog, Query


def tokens_before(log: EventLog, user: Array, end: Array, length: int) -> tuple[Array, Array, Array]:
    """Items, minutes and mask [B, L] of the `length` events that precede log offset `end` [B].

    The slot before a user's first event holds -1 with a true mask: "nothing yet". Slots before that
    are padding.
    """
    slot = end[:, None] - length + jnp.arange(length, dtype=jnp.int32)[None, :]
    first = log.start[user][:, None]
    known = slot >= first
    place = jnp.clip(slot, 0, log.item.shape[0] - 1)
    return jnp.where(known, log.item[place], -1), jnp.where(known, log.minute[place], 0), slot >= first - 1


def batch_of_events(log: EventLog, event: Array, length: int) -> Batch:
    """The batch that scores events [B] from what preceded each; event -1 is padding of weight 0."""
    place = jnp.maximum(event, 0)
    user, minute = log.user[place], log.minute[place]
    token, token_minute, mask = tokens_before(log, user, place, length)
    query = Query(user, minute, log.prior_kind[place], log.prior_dwell[place], token, token_minute, mask)
    return Batch(query, log.item[place], log.value[place], (event >= 0).astype(jnp.float32))


def batch_of_windows(log: EventLog, end: Array, length: int) -> Batch:
    """The batch that scores the `length` events before each log offset `end` [B], each from its past.

    Position t of a window holds as token the event before its target, so that an encoder which
    looks only backwards sees nothing of the target. End -1 is padding of weight 0.
    """
    place = jnp.maximum(end, 1)
    user = log.user[place - 1]
    token, token_minute, mask = tokens_before(log, user, place - 1, length)
    target = place[:, None] - length + jnp.arange(length, dtype=jnp.int32)[None, :]
    inside = (target >= log.start[user][:, None]) & (end[:, None] > 0)
    target = jnp.clip(target, 0, log.item.shape[0] - 1)
    query = Query(user, log.minute[target], log.prior_kind[target], log.prior_dwell[target], token, token_minute, mask)
    return Batch(query, log.item[target], log.value[target], inside.astype(jnp.float32))


def query_after_log(log: EventLog, user: Array, minute: Array, length: int) -> Query:
    """What is known of users [B] at `minute` [B], after all their events in the log.

    User -1 (unknown) has an empty history.
    """
    known = user >= 0
    row = jnp.maximum(user, 0)
    begin, end = log.start[row], log.start[row + 1]
    end = jnp.where(known, end, begin)
    token, token_minute, mask = tokens_before(log, row, end, length)
    last = jnp.clip(end - 1, 0, log.item.shape[0] - 1)
    any_event = end > begin
    kind = jnp.where(any_event, log.kind[last], -1)
    dwell = jnp.where(any_event, log.mean_dwell[last], 0.0)
    return Query(user, minute, kind, dwell, token, token_minute, mask)


def window_ends(start: np.ndarray, length: int) -> np.ndarray:
    """Log offsets int32 [W] that cut every user's events into windows of `length`, counted from the last event."""
    events = np.diff(start)
    windows = -(-events // length)
    user = np.repeat(np.arange(len(events)), windows)
    number = np.arange(len(user)) - np.repeat(np.cumsum(windows) - windows, windows)
    return (start[user + 1] - number * length).astype(np.int32)
