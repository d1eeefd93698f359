"""From event numbers to what was known before them: histories by index arithmetic.

All functions are pure and jit-able; no (N x L) matrix is ever made.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.types import Array, Batch, EventLog, Request


class Tokens(NamedTuple):
    """The tokens of a history; see `types.Request`."""

    token: Array
    token_minute: Array
    segment: Array
    basket: Array | None
    known: Array | None
    token_value: Array


def tokens_before(log: EventLog, user: Array, end: Array, length: int) -> Tokens:
    """The latest `length` events of each user before an offset of the log.

    The slot before a user's first event holds -1 in segment 0: "nothing yet". Slots before
    that are padding.

    Args:
        log: the events.
        user: int32 [B] places of users in the log.
        end: int32 [B] offsets of the log; the event there is not among the tokens.
        length: L.

    Returns:
        Tokens [B, L].
    """
    offset = end[:, None] - length + jnp.arange(length, dtype=jnp.int32)[None, :]
    user_start = log.start[user][:, None]
    segment = jnp.where(offset >= user_start - 1, 0, -1)
    return _tokens_at(log, offset, offset >= user_start, segment)


def _tokens_at(
    log: EventLog,
    offset: Array,
    is_event: Array,
    segment: Array,
    known: Array | None = None,
) -> Tokens:
    """Tokens [B, L] of the events at offsets of the log; "nothing" where there is no event."""
    place = jnp.clip(offset, 0, log.item.shape[0] - 1)
    return Tokens(
        token=jnp.where(is_event, log.item[place], -1),
        token_minute=jnp.where(is_event, log.minute[place], 0),
        segment=segment,
        basket=_basket_numbers(log, place, is_event),
        known=known,
        token_value=jnp.where(is_event, log.value[place], 0.0),
    )


def tokens_around(log: EventLog, event: Array, length: int) -> Tokens:
    """The user's other events about each event, earlier and later ones, in their order.

    Of a user with more than `length` others those nearest to the event, half of them before it and
    half after where there are so many. Nothing of the event's own basket is among them.

    Args:
        log: the events.
        event: int32 [B] offsets of the log.
        length: L.

    Returns:
        Tokens [B, L], right-aligned, with padding alone before them.
    """
    user = log.user[event]
    begin = log.start[user]
    earlier = _begin_of_basket(log, event) - begin
    own_size = jnp.ones_like(event)
    if log.basket_size is not None:
        own_size = log.basket_size[event]
    others = log.start[user + 1] - begin - own_size
    # The others are counted from 0, as if the own basket were not there.
    first = jnp.clip(earlier - length // 2, 0, jnp.maximum(others - length, 0))
    end = jnp.minimum(first + length, others)
    other = end[:, None] - length + jnp.arange(length, dtype=jnp.int32)[None, :]
    is_event = other >= first[:, None]
    is_later = other >= earlier[:, None]
    skipped = jnp.where(is_later, own_size[:, None], 0)
    offset = begin[:, None] + other + skipped
    return _tokens_at(log, offset, is_event, segment=jnp.where(is_event, 0, -1))


def _basket_numbers(log: EventLog, place: Array, is_event: Array) -> Array | None:
    """Numbers of the baskets of the events at `place` [B, L], ascending within a row."""
    if log.basket_place is None:
        return None
    begin = jnp.where(is_event, _begin_of_basket(log, place), -1)
    is_new = jnp.diff(begin, axis=1, prepend=-1) != 0
    return jnp.cumsum(is_new, axis=1)


def batch_of_events(log: EventLog, event: Array, length: int) -> Batch:
    """The batch that scores events [B] from the `length` events before the basket of each.

    Event -1 is padding of weight 0.
    """
    place = jnp.maximum(event, 0)
    end = _begin_of_basket(log, place)
    return _batch(log, event, tokens_before(log, log.user[place], end, length))


def batch_among_events(log: EventLog, event: Array, length: int) -> Batch:
    """The batch that scores events [B] from `length` other events of the user, later ones, too.

    Event -1 is padding of weight 0.
    """
    place = jnp.maximum(event, 0)
    return _batch(log, event, tokens_around(log, place, length))


def _begin_of_basket(log: EventLog, place: Array) -> Array:
    """The first event of the basket of each event."""
    return place if log.basket_place is None else place - log.basket_place[place]


def _batch(log: EventLog, event: Array, tokens: Tokens) -> Batch:
    """The batch of events of any shape, -1 for padding, with the history of each."""
    place = jnp.maximum(event, 0)
    user = log.user[place]
    request = Request(
        user=log.number[user],
        minute=log.minute[_begin_of_basket(log, place)],
        kind=log.prior_kind[place],
        dwell=log.prior_dwell[place],
        **tokens._asdict(),
    )
    return Batch(
        request=request,
        row=user,
        positive=log.item[place],
        value=log.value[place],
        weight=_weight(log, event, place),
    )


def _weight(log: EventLog, event: Array, place: Array) -> Array:
    """1, shared by the events of a basket; 0 for padding."""
    is_event = (event >= 0).astype(jnp.float32)
    if log.basket_size is None:
        return is_event
    return is_event / log.basket_size[place]


def batch_of_windows(log: EventLog, target: Array) -> Batch:
    """The batch that scores events from the events before their baskets in the same window.

    The token at a position is the event before its target, so that an encoder which looks
    only backwards sees nothing of the target. All targets of a basket know what the first of
    them in the window does.

    Args:
        log: the events.
        target: int32 [B, L] runs of consecutive events; -1 is padding of weight 0.
    """
    place = jnp.maximum(target, 0)
    user = log.user[place]
    jumps = jnp.diff(target, axis=1, prepend=-2) != 1
    changes_user = jnp.diff(user, axis=1, prepend=-1) != 0
    begins = jumps | changes_user
    # A run may begin within a basket, of which its first target may know nothing.
    end = jnp.where(begins, _begin_of_basket(log, place), place)
    is_event = end > log.start[user]
    run = jnp.cumsum(begins, axis=1)
    segment = jnp.where(target >= 0, run, -1)
    known = _known(log, place, begins)
    tokens = _tokens_at(log, end - 1, is_event, segment, known)
    return _batch(log, target, tokens)


def _known(log: EventLog, place: Array, begins: Array) -> Array | None:
    """The place of the latest token that each position knows: where its basket begins."""
    if log.basket_place is None:
        return None
    begins_basket = begins | (log.basket_place[place] == 0)
    column = jnp.arange(place.shape[1], dtype=jnp.int32)[None]
    return jax.lax.cummax(jnp.where(begins_basket, column, 0), axis=1)


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
    tokens = tokens_before(log, row, end, length)
    return Request(
        user=user,
        minute=minute,
        kind=jnp.where(has_events, log.kind[last], -1),
        dwell=jnp.where(has_events, log.mean_dwell[last], 0.0),
        **tokens._asdict(),
    )
