"""iALS: matrix factorisation over all user-item pairs by alternating least squares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_factor, cho_solve

from ancf_jax.models.user_rows import Progress, fold_slices, slices_of_users
from ancf_jax.modules.embeddings import lookup, pair_dot
from ancf_jax.types import Array, Catalogue, EventLog, Query, Sizes, Variables

ROWS = 128


class _Side(NamedTuple):
    """Who had what, from one side: for row r the entries column[start[r] : start[r + 1]]."""

    column: Array
    start: Array
    blocks: Array  # int32 [n, ROWS] all rows, sorted by length so that a block pads little; -1 fills the last


@dataclass(frozen=True)
class Ials:
    """score(u, i) = <w_u, h_i>, where W and H minimise

    sum_{(u,i) seen} (<w_u,h_i> - 1)^2 + a sum_{all u,i} <w_u,h_i>^2
    + l2 (sum_u (n_u + a I) |w_u|^2 + sum_i (n_i + a U) |h_i|^2)

    with `a` = `unobserved` and n = number of partners seen. Hu, Koren, Volinsky 2008, with the
    frequency-scaled penalty of Rendle et al. 2021, "Revisiting the performance of iALS on item
    recommendation benchmarks".

    Only H is kept: w_u is solved again from the log at hand, so new events and new users count
    without a new fit; a user without events is the zero vector.
    """

    sizes: Sizes
    size: int
    l2: float
    unobserved: float
    sweeps: int

    def fit(self, log: EventLog, catalogue: Catalogue, seed: int, progress: Progress | None = None) -> Variables:
        """Item factors float32 [I, D] and their Gram matrix [D, D]."""
        by_user, by_item = _sides(np.asarray(log.seen_item), np.asarray(log.seen_start), self.sizes.items)
        shape, scale = (self.sizes.items, self.size), 0.1 / self.size**0.5
        items = scale * jax.random.normal(jax.random.key(seed), shape, jnp.float32)
        for sweep in range(self.sweeps):
            users = _half_sweep(items, by_user, self.l2, self.unobserved)
            items = jax.block_until_ready(_half_sweep(users, by_item, self.l2, self.unobserved))
            if progress is not None:
                progress("sweeps", sweep + 1, self.sweeps)
        return {"params": {"item": items, "gram": _gram(items)}}

    def encode_users(self, variables: Variables, log: EventLog, catalogue: Catalogue, query: Query) -> jax.Array:
        """Factors of users [B], solved from their items in `log`: float32 [B, D]."""
        users = query.user.shape[0]
        width = min(ROWS, users)
        blocks = jnp.pad(query.user, (0, -users % width), constant_values=-1).reshape(-1, width)
        side = _Side(log.seen_item, log.seen_start, blocks)
        table, gram = variables["params"]["item"], variables["params"]["gram"]
        return _solve_blocks(table, gram, side, self.l2, self.unobserved).reshape(-1, self.size)[:users]

    def encode_items(self, variables: Variables, catalogue: Catalogue, items: Array) -> jax.Array:
        """Factors of items: [C, D] or [B, C, D]."""
        return variables["params"]["item"][items]

    def score(self, variables: Variables, users: Array, items: Array) -> Array:
        """Scores float32 [B, C]."""
        return pair_dot(users, items)


@jax.jit
def _half_sweep(table: Array, side: _Side, l2: float, unobserved: float) -> jax.Array:
    """The factors of all rows of `side`, given the factors `table` of its columns."""
    solved = _solve_blocks(table, _gram(table), side, l2, unobserved)
    rows = side.start.shape[0] - 1
    place = jnp.where(side.blocks < 0, rows, side.blocks)
    return jnp.zeros((rows, table.shape[1]), jnp.float32).at[place].set(solved, mode="drop")


def _solve_blocks(table: Array, gram: Array, side: _Side, l2: float, unobserved: float) -> jax.Array:
    """One block of rows at a time, which bounds memory by ROWS * D * D: [n, ROWS, D]."""
    return jax.lax.map(lambda rows: _solve(table, gram, side, rows, l2, unobserved), side.blocks)


def _solve(table: Array, gram: Array, side: _Side, rows: Array, l2: float, unobserved: float) -> jax.Array:
    """w_r = (sum_{c of r} h_c h_c^T + a G + l2 (n_r + a |table|) I)^-1 sum_{c of r} h_c for rows [B]: [B, D]."""
    begin, end = slices_of_users(side.start, rows)
    size = table.shape[1]

    def visit(carry: tuple[Array, Array], place: Array, inside: Array) -> tuple[Array, Array]:
        matrix, target = carry
        had = lookup(table, jnp.where(inside, side.column[place], -1))
        outer = jnp.einsum("bld,ble->bde", had, had, precision="highest")
        return matrix + outer, target + had.sum(1)

    empty = jnp.zeros((len(rows), size, size)), jnp.zeros((len(rows), size))
    matrix, target = fold_slices(visit, empty, begin, end)
    penalty = l2 * ((end - begin) + unobserved * table.shape[0])
    matrix += unobserved * gram[None] + penalty[:, None, None] * jnp.eye(size)[None]
    return cho_solve(cho_factor(matrix), target[..., None])[..., 0]


def _gram(table: Array) -> jax.Array:
    return jnp.einsum("nd,ne->de", table, table, precision="highest")


def _sides(item: np.ndarray, start: np.ndarray, items: int) -> tuple[_Side, _Side]:
    """Who had what, by user and by item."""
    user = np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))
    item_start = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=items))]).astype(np.int32)
    by_item = user[np.argsort(item, kind="stable")]
    return _side(item, start), _side(by_item, item_start)


def _side(column: np.ndarray, start: np.ndarray) -> _Side:
    order = np.argsort(np.diff(start), kind="stable").astype(np.int32)
    blocks = np.pad(order, (0, -len(order) % ROWS), constant_values=-1).reshape(-1, ROWS)
    return _Side(jnp.asarray(column), jnp.asarray(start), jnp.asarray(blocks))
