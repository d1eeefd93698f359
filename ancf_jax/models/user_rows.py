"""Dense rows per user, gathered from the user's slice of the log: what the baselines score with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from ancf_jax.types import Array

Carry = TypeVar("Carry")
Progress = Callable[[str, int, int], None]
SLOTS = 64


def slices_of_users(start: Array, user: Array) -> tuple[Array, Array]:
    """Offsets [B] of the first entry of users [B] and of the one after their last; an empty slice for user -1."""
    row = jnp.maximum(user, 0)
    begin = start[row]
    return begin, jnp.where(user >= 0, start[row + 1], begin)


def fold_slices(visit: Callable[[Carry, Array, Array], Carry], carry: Carry, begin: Array, end: Array) -> Carry:
    """Folds `visit(carry, place, inside)` over the offsets begin[b] .. end[b] - 1 of every row b.

    `place` int32 [B, SLOTS] are the next offsets of every row, `inside` says which of them exist
    (the others are 0). The number of rounds follows from the longest slice at hand, so neither
    memory nor a compiled shape depends on the length of a history, and nothing is cut off.
    """
    slot = jnp.arange(SLOTS, dtype=jnp.int32)[None, :]

    def one_round(number: jax.Array, carry: Carry) -> Carry:
        place = begin[:, None] + number * SLOTS + slot
        inside = place < end[:, None]
        return visit(carry, jnp.where(inside, place, 0), inside)

    return jax.lax.fori_loop(0, (jnp.max(end - begin) + SLOTS - 1) // SLOTS, one_round, carry)


def count_items(item: Array, start: Array, user: Array, items: int) -> jax.Array:
    """How often each of `items` items stands in the slice of `item` [N] of users [B]: float32 [B, I]."""
    begin, end = slices_of_users(start, user)
    row = jnp.arange(user.shape[0])[:, None]

    def visit(counts: jax.Array, place: Array, inside: Array) -> jax.Array:
        column = jnp.where(inside, item[place], items)  # one past the last column: dropped
        return counts.at[row, column].add(1.0, mode="drop")

    return fold_slices(visit, jnp.zeros((user.shape[0], items), jnp.float32), begin, end)


def pick(scores: Array, items: Array) -> Array:
    """The columns `items` (int32 [C] for all rows, or [B, C]) of scores [B, I]: [B, C]."""
    return scores[:, items] if items.ndim == 1 else jnp.take_along_axis(scores, items, axis=1)
