"""From event numbers to what was known before them: histories by index arithmetic.

All functions are pure and jit-able; no (N x L) matrix is ever made.
"""

import jax.numpy as jnp

from ancf_jax.types import Array, Batch, EventLog, Request


def tokens_before(
    log: EventLog, user: Array, end: Array, length: int
) -> tuple[Array, Array, Array]:
    """The latest `length` events of each user before an offset of the log.

    The slot before a user's first event holds -1 in segment 0: "nothing yet". Slots before
    that are padding.

    Args:
        log: the events.
        user: int32 [B] places of users in the log.
        end: int32 [B] offsets of the log; the event there is not among the tokens.
        length: L.

    Returns:
        Items, minutes and segments, int32 [B, L] each.
    """
    offset = end[:, None] - length + jnp.arange(length, dtype=jnp.int32)[None, :]
    user_start = log.start[user][:, None]
    known = offset >= user_start
    place = jnp.clip(offset, 0, log.item.shape[0] - 1)
    token = jnp.where(known, log.item[place], -1)
    minute = jnp.where(known, log.minute[place], 0)
    segment = jnp.where(offset >= user_start - 1, 0, -1)
    return token, minute, segment


def batch_of_events(log: EventLog, event: Array, length: int) -> Batch:
    """The batch that scores events [B] from the `length` events before each.

    Event -1 is padding of weight 0.
    """
    place = jnp.maximum(event, 0)
    history = tokens_before(log, log.user[place], place, length)
    return _batch(log, event, *history)


def _batch(
    log: EventLog, event: Array, token: Array, token_minute: Array, segment: Array
) -> Batch:
    """The batch of events of any shape, -1 for padding, with the history of each."""
    place = jnp.maximum(event, 0)
    user = log.user[place]
    request = Request(
        user=log.number[user],
        minute=log.minute[place],
        kind=log.prior_kind[place],
        dwell=log.prior_dwell[place],
        token=token,
        token_minute=token_minute,
        segment=segment,
    )
    return Batch(
        request=request,
        row=user,
        positive=log.item[place],
        value=log.value[place],
        weight=(event >= 0).astype(jnp.float32),
    )


def batch_of_windows(log: EventLog, target: Array) -> Batch:
    """The batch that scores events from the events before them in the same window.

    The token at a position is the event before its target, so that an encoder which looks
    only backwards sees nothing of the target.

    Args:
        log: the events.
        target: int32 [B, L] runs of consecutive events; -1 is padding of weight 0.
    """
    place = jnp.maximum(target, 0)
    user = log.user[place]
    before = jnp.maximum(place - 1, 0)
    known = place > log.start[user]
    token = jnp.where(known, log.item[before], -1)
    token_minute = jnp.where(known, log.minute[before], 0)
    jumps = jnp.diff(target, axis=1, prepend=-2) != 1
    changes_user = jnp.diff(user, axis=1, prepend=-1) != 0
    run = jnp.cumsum(jumps | changes_user, axis=1)
    segment = jnp.where(target >= 0, run, -1)
    return _batch(log, target, token, token_minute, segment)


def request_after_log(
    log: EventLog, user: Array, minute: Array, length: int
) -> Request:
    """What is known of users [B] at `minute` [B], after all their events in the log.

    User -1 (unknown) has an empty history.
    """
    row = jnp.maximum(user, 0)
    begin = log.start[row]
    end = jnp.where(user >= 0, log.start[row + 1], begin)
    has_events = end > begin
    last = jnp.clip(end - 1, 0, log.item.shape[0] - 1)
    token, token_minute, segment = tokens_before(log, row, end, length)
    return Request(
        user=user,
        minute=minute,
        kind=jnp.where(has_events, log.kind[last], -1),
        dwell=jnp.where(has_events, log.mean_dwell[last], 0.0),
        token=token,
        token_minute=token_minute,
        segment=segment,
    )
