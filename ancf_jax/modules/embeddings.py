"""Embedding tables and bags: rows by number, pooled over the values of a feature."""

import math
from typing import Literal

import jax.numpy as jnp

from ancf_jax.machine import forms
from ancf_jax.types import Array

ROWS_PER_ID = 16  # a table of so many times more rows than are asked for is a short one


def lookup(table: Array, ids: Array) -> Array:
    """Rows [..., D] of `table` [V, D] at `ids` [...]; the zero vector for id -1."""
    (rows,) = lookup_parts(table, ids, ())
    return rows


def lookup_parts(table: Array, ids: Array, cuts: tuple[int, ...]) -> list[Array]:
    """`lookup` of a table whose columns belong to several embeddings side by side.

    Args:
        table: [V, D].
        ids: int32 [...]; -1 for the zero vector.
        cuts: the columns that all embeddings but the first begin with, ascending.

    Returns:
        The embeddings [..., cuts[0]] to [..., D - cuts[-1]].
    """
    return forms.lookup_parts(table, ids, cuts)


def embedding_bag(
    table: Array, ids: Array, pooling: Literal["mean", "sum"] = "mean"
) -> Array:
    """Sum or mean of the rows of `table` at the present ids of each bag.

    Args:
        table: [V, D].
        ids: int32 [..., M]; -1 where a bag holds fewer than M.
        pooling: what is made of the rows.

    Returns:
        [..., D]; the zero vector for an empty bag.
    """
    total = lookup(table, ids).sum(-2)
    if pooling == "sum":
        return total
    count = (ids >= 0).sum(-1, keepdims=True).astype(total.dtype)
    return total / jnp.maximum(count, 1.0)


def weighted_sum_of_rows(table: Array, ids: Array, weight: Array) -> Array:
    """sum_l weight_l table[ids_l]: [B, D].

    Where the table is short, as a product with the weight of each of its rows.

    Args:
        table: [V, D].
        ids: int32 [B, L]; -1 where there is no row.
        weight: [B, L].
    """
    size = len(table)
    if size > ROWS_PER_ID * ids.shape[-1]:
        return jnp.einsum("bl,bld->bd", weight, lookup(table, ids))
    row = jnp.where(ids < 0, size, ids)
    every_row = jnp.arange(size, dtype=jnp.int32)
    return boost_of_items(row, weight, every_row, size) @ table


def pair_dot(users: Array, items: Array) -> Array:
    """Dot products [..., C] of users [..., D] with items [C, D] or [..., C, D]."""
    if items.ndim == 2:
        return users @ items.T
    return jnp.einsum("...d,...cd->...c", users, items)


def pair_align(users: Array, items: Array) -> tuple[Array, Array]:
    """Users and items with axes such that they broadcast to all pairs, [..., C, D].

    Args:
        users: [..., D].
        items: [C, D] for all users, or [..., C, D] of their own.
    """
    if items.ndim == 2:
        lead = users.shape[:-1]
        items = repeat(items, math.prod(lead)).reshape(*lead, *items.shape)
    return users[..., None, :], items


def pair_sum(users: Array, items: Array) -> Array:
    """Sums [..., C, D] of users [..., D] and items [C, D] or [..., C, D]."""
    user, item = pair_align(users, items)
    return user + item


def weighted_products(user: Array, item: Array, kernel: Array) -> Array:
    """(user * item) @ kernel of every pair, [..., C, K], without the products in memory.

    Args:
        user: [..., D], or [..., C, D] where it differs from candidate to candidate.
        item: [C, D] for all, or [..., C, D].
        kernel: [D, K].
    """
    if user.ndim == item.ndim and user.ndim > 2:
        return (user * item) @ kernel
    if kernel.shape[1] == 1:
        weights = kernel[:, 0]
        leading_axes = tuple(range(user.ndim - 1))
        weighted = user * jnp.expand_dims(weights, leading_axes)
        dots = pair_dot(weighted, item)
        return dots[..., None]
    if user.ndim == item.ndim == 2:
        return forms.pair_products(user, item, kernel)
    leading_axes = tuple(range(user.ndim - 1))
    weights = jnp.expand_dims(kernel, leading_axes)
    weighted = user[..., :, None] * weights
    if item.ndim == 2:
        return jnp.einsum("cd,...dk->...ck", item, weighted)
    return jnp.einsum("...cd,...dk->...ck", item, weighted)


def boost_of_items(boosted_item: Array, boost: Array, items: Array, size: int) -> Array:
    """Sum over l of boost_l where boosted_item_l is the candidate: [..., C].

    Args:
        boosted_item: int32 [..., L]; `size` stands for none.
        boost: float32 [..., L].
        items: int32 candidates below `size`: [C] for all, or [..., C] of their own.
        size: number of items.
    """
    return forms.boost_of_items(boosted_item, boost, items, size)


def repeat(x: Array, count: int) -> Array:
    """x [...] for each of `count` rows: [count, ...]."""
    return forms.repeat(x, count)
