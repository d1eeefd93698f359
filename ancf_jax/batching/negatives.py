"""Negative items drawn on the device."""

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.types import Array, EventLog

LARGEST_BITS = 2**28  # pairs of user and item that have a bit each: 32 MiB


def with_bits(log: EventLog, items: int) -> EventLog:
    """The log (NumPy columns) with `seen_bits`, unless there are too many pairs."""
    users = len(log.seen_start) - 1
    width = -(-items // 8)  # bytes of a user, rounded up
    if users * width * 8 > LARGEST_BITS:
        return log
    seen_items = np.diff(log.seen_start)
    user = np.repeat(np.arange(users), seen_items)
    item = np.asarray(log.seen_item)
    byte = item // 8
    bit = 1 << item % 8
    seen_bits = np.zeros((users, width), np.uint8)
    np.bitwise_or.at(seen_bits, (user, byte), bit.astype(np.uint8))
    return log._replace(seen_bits=seen_bits)


def is_seen(log: EventLog, user: Array, item: Array, max_seen: int) -> Array:
    """Whether each user has each item in the log.

    A look-up of one bit where the log has bits, else binary search.

    Args:
        log: the events.
        user: int32 [B] places of users in the log.
        item: int32 [B, C].
        max_seen: an upper bound on the number of distinct items of a user.

    Returns:
        bool [B, C].
    """
    if log.seen_bits.size:
        return _is_seen_by_bits(log, user, item)
    return _is_seen_by_search(log, user, item, max_seen)


def _is_seen_by_bits(log: EventLog, user: Array, item: Array) -> Array:
    byte = log.seen_bits[user[:, None], item // 8]
    position = item % 8
    bit = byte >> position.astype(jnp.uint8) & 1
    return bit == 1


def _is_seen_by_search(log: EventLog, user: Array, item: Array, max_seen: int) -> Array:
    """Binary search in the user's ascending items, `seen_item[begin:end]`.

    The search looks for the last place that holds no larger item. It starts at `begin` and
    tries jumps of 2^k, 2^(k - 1), .. 1 places, where 2^k is the largest power of two up to
    `max_seen`. A jump is made where it lands within the user's items and on none larger
    than `item`. The jumps add up to every distance below 2^(k + 1), so the place is reached;
    the item was seen if it stands there.
    """
    begin = log.seen_start[user][:, None]
    end = log.seen_start[user + 1][:, None]
    last_place = log.seen_item.shape[0] - 1
    jumps = max_seen.bit_length()

    def seen_at(place: Array) -> Array:
        safe_place = jnp.minimum(place, last_place)
        return log.seen_item[safe_place]

    def try_jump(step: Array, place: Array) -> Array:
        distance = 1 << (jumps - 1 - step)
        landing = place + distance
        within = landing < end
        not_larger = seen_at(landing) <= item
        return jnp.where(within & not_larger, landing, place)

    start = jnp.broadcast_to(begin, item.shape)
    found = jax.lax.fori_loop(0, jumps, try_jump, start)
    has_items = begin < end
    return has_items & (seen_at(found) == item)


def first_unseen(
    log: EventLog, user: Array, drawn: Array, max_seen: int
) -> tuple[Array, Array]:
    """Of two draws for each place, the first that the user has not in the log.

    Args:
        log: the events.
        user: int32 [B] places of users in the log.
        drawn: int32 [2, B, C] items.
        max_seen: an upper bound on the number of distinct items of a user.

    Returns:
        Items [B, C] and weights [B, C]. Where both draws are seen the weight is 0, so that
        no item of the user ever counts as a negative.
    """
    redraw = is_seen(log, user, drawn[0], max_seen)
    chosen = jnp.where(redraw, drawn[1], drawn[0])
    unseen = ~is_seen(log, user, chosen, max_seen)
    return chosen, unseen.astype(jnp.float32)


def draw_uniform(key: Array, shape: tuple[int, ...], items: int) -> Array:
    """Items of `shape`, uniform over the catalogue.

    Probabilities are equal to 1 in 4,096 at worst: the remainder of random bits costs half
    of an exact draw. A very large catalogue is drawn from exactly.
    """
    if items <= 1 << 20:
        bits = jax.random.bits(key, shape, jnp.uint32)
        item = bits % items
        return item.astype(jnp.int32)
    return jax.random.randint(key, shape, 0, items, dtype=jnp.int32)
