"""The simplest baselines, and what all baselines share.

A baseline is a frozen dataclass with `fit(log, catalogue, seed)`, which returns its variables, their
`shapes()`, and the pure functions `encode_users`, `encode_items` and `score` that every model has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from ancf_jax.models.protocol import Progress
from ancf_jax.types import Array, Catalogue, EventLog, Query, Sizes, Variables

Carry = TypeVar("Carry")

Slices = tuple[
    Array, Array
]  # (column, start): what row r has is column[start[r] : start[r + 1]]
SLOTS = 64


@dataclass(frozen=True)
class CatalogueScores:
    """A baseline whose user side is the scores of the whole catalogue, float32 [B, I]."""

    sizes: Sizes

    def encode_items(
        self, variables: Variables, catalogue: Catalogue, items: Array
    ) -> Array:
        """The items themselves: [C] or [B, C]."""
        return items

    def score(self, variables: Variables, users: Array, items: Array) -> Array:
        """The scores of `items` among those of the catalogue: float32 [B, C]."""
        return (
            users[:, items]
            if items.ndim == 1
            else jnp.take_along_axis(users, items, axis=1)
        )


@dataclass(frozen=True)
class Popularity(CatalogueScores):
    """score(u, i) = number of training events of item i; the same for every user."""

    def shapes(self) -> Variables:
        """Shapes of the variables."""
        return variables_of(
            count=jax.ShapeDtypeStruct((self.sizes.items,), jnp.float32)
        )

    def fit(
        self,
        log: EventLog,
        catalogue: Catalogue,
        seed: int,
        progress: Progress | None = None,
    ) -> Variables:
        """Counts float32 [I] of the training events per item."""
        return variables_of(count=jnp.asarray(catalogue.popularity))

    def encode_users(
        self, variables: Variables, log: EventLog, catalogue: Catalogue, query: Query
    ) -> jax.Array:
        """Scores of the whole catalogue: float32 [B, I]."""
        return jnp.broadcast_to(
            variables["params"]["count"], (len(query.user), self.sizes.items)
        )


@dataclass(frozen=True)
class MostBought(Popularity):
    """score(u, i) = events of u with i in the log at hand + training events of i / (all of them + 1).

    The second term, below 1, only orders items that the user had equally often; for an unknown
    user (-1) it is all there is.
    """

    def encode_users(
        self, variables: Variables, log: EventLog, catalogue: Catalogue, query: Query
    ) -> jax.Array:
        """Scores of the whole catalogue: float32 [B, I]."""
        count = variables["params"]["count"]
        return (
            count_items((log.item, log.start), query.user, self.sizes.items)
            + (count / (count.sum() + 1.0))[None, :]
        )


def variables_of(**params: Any) -> Variables:
    """Parameters in the form that neural models have."""
    return {"params": params, "batch_stats": {}}


def seen_matrix(log: EventLog, items: int) -> sparse.csr_array:
    """X float32 [U, I]: 1 where the user had the item, however often."""
    item, start = np.asarray(log.seen_item), np.asarray(log.seen_start)
    return sparse.csr_array(
        (np.ones(len(item), np.float32), item, start), shape=(len(start) - 1, items)
    )


def fold_slice(
    visit: Callable[[Carry, Array], Carry], carry: Carry, slices: Slices, row: Array
) -> Carry:
    """Folds `visit(carry, values)` over what a row (int32 []) has: `values` [SLOTS] at a time, -1 for none, as has row -1.

    There are as many rounds as the slice needs, so neither memory nor a compiled shape depends on the
    length of a history, and nothing is cut off.
    """
    column, start = slices
    begin = start[jnp.maximum(row, 0)]
    end = jnp.where(row >= 0, start[row + 1], begin)

    def one_round(number: jax.Array, carry: Carry) -> Carry:
        place = begin + number * SLOTS + jnp.arange(SLOTS)
        return visit(
            carry, jnp.where(place < end, jnp.take(column, place, mode="clip"), -1)
        )

    return jax.lax.fori_loop(0, (end - begin + SLOTS - 1) // SLOTS, one_round, carry)


def count_items(slices: Slices, user: Array, items: int) -> jax.Array:
    """How often each of `items` items stands in the slices of users [B]: float32 [B, I]."""

    def visit(counts: jax.Array, item: Array) -> jax.Array:
        return counts.at[jnp.where(item < 0, items, item)].add(
            1.0, mode="drop"
        )  # at -1 stands the last item

    return jax.vmap(lambda row: fold_slice(visit, jnp.zeros(items), slices, row))(user)
