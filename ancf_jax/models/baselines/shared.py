"""What the baselines share.

A baseline is a frozen dataclass with `fit(log, catalogue, seed)`, which returns its variables,
their `shapes()`, and the pure functions `encode_users`, `encode_items` and `score` that every
model has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from ancf_jax.types import Array, Catalogue, EventLog, Sizes, Variables

Carry = TypeVar("Carry")

Slices = tuple[
    Array, Array
]  # (column, start): row r holds column[start[r] : start[r + 1]]
SLOTS = 64  # entries of a row that are visited at a time


@dataclass(frozen=True)
class CatalogueScores:
    """A baseline that scores the whole catalogue when it encodes users: float32 [B, I]."""

    sizes: Sizes

    def encode_items(
        self, variables: Variables, catalogue: Catalogue, items: Array
    ) -> Array:
        """The items themselves: [C] or [B, C]."""
        return items

    def score(self, variables: Variables, users: Array, items: Array) -> Array:
        """The scores of `items` among those of the catalogue: float32 [B, C]."""
        if items.ndim == 1:
            return users[:, items]
        return jnp.take_along_axis(users, items, axis=1)


def variables_of(**params: Any) -> Variables:
    """Parameters in the form that neural models have."""
    return {"params": params, "batch_stats": {}}


def seen_matrix(log: EventLog, items: int) -> sparse.csr_array:
    """X float32 [U, I]: 1 where the user has an event with the item, however many."""
    item = np.asarray(log.seen_item)
    start = np.asarray(log.seen_start)
    ones = np.ones(len(item), np.float32)
    return sparse.csr_array((ones, item, start), shape=(len(start) - 1, items))


def fold_slice(
    visit: Callable[[Carry, Array], Carry], carry: Carry, slices: Slices, row: Array
) -> Carry:
    """Folds `visit(carry, values)` over what a row holds, `values` [SLOTS] at a time.

    There are as many rounds as the slice needs, so neither memory nor a compiled shape depends
    on the length of a history, and nothing is cut off.

    Args:
        visit: takes the carry and some values, -1 where there are fewer than SLOTS.
        carry: what the fold begins with.
        slices: what all rows hold.
        row: int32 []; -1 is a row without values.
    """
    column, start = slices
    begin = start[jnp.maximum(row, 0)]
    end = jnp.where(row >= 0, start[row + 1], begin)

    def one_round(number: jax.Array, carry: Carry) -> Carry:
        place = begin + number * SLOTS + jnp.arange(SLOTS)
        values = jnp.take(column, place, mode="clip")
        return visit(carry, jnp.where(place < end, values, -1))

    rounds = (end - begin + SLOTS - 1) // SLOTS
    return jax.lax.fori_loop(0, rounds, one_round, carry)


def count_items(slices: Slices, user: Array, items: int) -> jax.Array:
    """How often each of `items` items stands in the slices of users [B]: float32 [B, I]."""

    def visit(counts: jax.Array, item: Array) -> jax.Array:
        place = jnp.where(item < 0, items, item)  # -1 would be the last item
        return counts.at[place].add(1.0, mode="drop")

    def of_one(row: Array) -> jax.Array:
        return fold_slice(visit, jnp.zeros(items), slices, row)

    return jax.vmap(of_one)(user)
