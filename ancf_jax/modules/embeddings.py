"""Embedding tables and bags: rows by number, pooled over the values of a feature."""

import math
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from ancf_jax.types import Array


def lookup(table: Array, ids: Array) -> Array:
    """Rows [..., D] of `table` [V, D] at `ids` [...]; the zero vector for id -1."""
    return lookup_parts(table, ids, ())[0]


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def lookup_parts(table: Array, ids: Array, cuts: tuple[int, ...]) -> list[Array]:
    """`lookup` with the columns cut before each of `cuts`, [..., cuts[0]] to [..., D - cuts[-1]].

    On CPUs XLA gathers and scatters parts of rows in less time than it takes to cut and join the rows.
    """
    rows = (
        jnp.take(part, ids.ravel(), axis=0, mode="clip")
        for part in jnp.split(table, cuts, axis=1)
    )
    return [
        jnp.where((ids >= 0)[..., None], x.reshape(*ids.shape, x.shape[1]), 0)
        for x in rows
    ]


def _lookup_back(
    cuts: tuple[int, ...], saved: tuple[Array, Array], above: list[Array]
) -> tuple[Array, None]:
    table, ids = saved
    at = jnp.where(
        ids < 0, len(table), ids
    ).ravel()  # without an id: beyond the table, so dropped
    total = (
        jnp.asarray(table) * 0
    )  # by measurement faster than zeros that XLA knows for such
    for begin, part in zip((0, *cuts), above, strict=True):
        total = total.at[at, begin : begin + part.shape[-1]].add(
            part.reshape(len(at), part.shape[-1]), mode="drop"
        )
    return total, None


lookup_parts.defvjp(
    lambda table, ids, cuts: (lookup_parts(table, ids, cuts), (table, ids)),
    _lookup_back,
)


def embedding_bag(
    table: Array, ids: Array, pooling: Literal["mean", "sum"] = "mean"
) -> Array:
    """Sum or mean over the present ids [..., M] of their rows in `table` [V, D]: [..., D].

    An empty bag (all -1) is the zero vector.
    """
    total = lookup(table, ids).sum(-2)
    count = jnp.maximum((ids >= 0).sum(-1, keepdims=True).astype(total.dtype), 1.0)
    return total if pooling == "sum" else total / count


def pair_dot(users: Array, items: Array) -> Array:
    """Dot products [..., C] of users [..., D] with items [C, D] or [..., C, D]."""
    return (
        users @ items.T
        if items.ndim == 2
        else jnp.einsum("...d,...cd->...c", users, items)
    )


def pair_align(users: Array, items: Array) -> tuple[Array, Array]:
    """users [..., D] and items [C, D] or [..., C, D], given axes so that they broadcast to [..., C, D]."""
    if items.ndim == 2:
        items = repeat(items, math.prod(users.shape[:-1])).reshape(
            *users.shape[:-1], *items.shape
        )
    return users[..., None, :], items


def had_before(had: Array, again: Array, items: Array, size: int) -> Array:
    """Sum over l of again_l where had_l is the candidate: [..., C].

    Args:
        had: item numbers [..., L]; `size` stands for none. `again` has the same shape.
        items: candidates below `size`, [C] for all or [..., C] of their own.
    """
    if items.ndim > 1:
        same = had[..., :, None] == items[..., None, :]
        return jnp.einsum("...l,...lc->...c", again, same.astype(again.dtype))
    count = len(items)
    column = jnp.full(size + 1, count).at[items].set(jnp.arange(count))
    row = jnp.arange(math.prod(had.shape[:-1]))[:, None]
    place, value = (x.reshape(len(row), -1) for x in (column[had], again))
    total = jnp.zeros((len(row), count)).at[row, place].add(value, mode="drop")
    return total[:, column[items]].reshape(*had.shape[:-1], count)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def repeat(x: Array, count: int) -> Array:
    """x [...] as [count, ...]; the gradient is a product with ones, on CPUs ten times as fast as XLA's sum."""
    return jnp.broadcast_to(x[None], (count, *x.shape))


def _repeat_back(count: int, _: None, above: Array) -> tuple[Array]:
    return (jnp.einsum("n,n...->...", jnp.ones(count, above.dtype), above),)


repeat.defvjp(lambda x, count: (repeat(x, count), None), _repeat_back)
