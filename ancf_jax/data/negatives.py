"""Negative items drawn on the device."""

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.types import Array, EventLog

LARGEST_BITS = 2**28  # pairs of user and item that have a bit each: 32 MiB


def with_bits(log: EventLog, items: int) -> EventLog:
    """The log (NumPy columns) with `seen_bits`, unless there are too many pairs of user and item."""
    users, width = len(log.seen_start) - 1, -(-items // 8)
    if users * width * 8 > LARGEST_BITS:
        return log
    bits, item = np.zeros((users, width), np.uint8), np.asarray(log.seen_item)
    user = np.repeat(np.arange(users), np.diff(log.seen_start))
    np.bitwise_or.at(bits, (user, item // 8), (1 << item % 8).astype(np.uint8))
    return log._replace(seen_bits=bits)


def is_seen(log: EventLog, user: Array, item: Array, most: int) -> Array:
    """Whether each user [B] has each item [B, C] in the log, where none has more than `most` distinct ones.

    One bit each where the log has them, else binary search in the user's sorted items.
    """
    if log.seen_bits.size:
        return (
            log.seen_bits[user[:, None], item // 8] >> (item % 8).astype(jnp.uint8) & 1
            == 1
        )
    begin, end = log.seen_start[user][:, None], log.seen_start[user + 1][:, None]

    def leap(step, place):
        further = place + (1 << (most.bit_length() - 1 - step))
        no_later = (
            log.seen_item[jnp.minimum(further, log.seen_item.shape[0] - 1)] <= item
        )
        return jnp.where((further < end) & no_later, further, place)

    last = jax.lax.fori_loop(
        0, most.bit_length(), leap, jnp.broadcast_to(begin, item.shape)
    )
    return (begin < end) & (
        log.seen_item[jnp.minimum(last, log.seen_item.shape[0] - 1)] == item
    )


def first_unseen(
    log: EventLog, user: Array, drawn: Array, most: int
) -> tuple[Array, Array]:
    """Of two draws [2, B, C], the first that user [B] has not in the log: items [B, C], weights [B, C].

    Where both are seen the weight is 0, so that no item of the user ever counts as a negative.
    """
    chosen = jnp.where(is_seen(log, user, drawn[0], most), drawn[1], drawn[0])
    return chosen, (~is_seen(log, user, chosen, most)).astype(jnp.float32)


def draw_uniform(key: Array, shape: tuple[int, ...], items: int) -> Array:
    """Items of `shape`, uniform over the catalogue; to 1 in 4,096 at worst, for half of the price."""
    if items <= 1 << 20:
        return (jax.random.bits(key, shape, jnp.uint32) % items).astype(jnp.int32)
    return jax.random.randint(key, shape, 0, items, dtype=jnp.int32)
