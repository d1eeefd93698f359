"""Large tables: the rows that a batch touches, gathered into a small world of its own.

The users and items of a batch get new numbers. What belongs to them in the tables, the optimiser's moments and the
catalogue is gathered, the step runs on it as on any small tables, and the changed rows are put back. So neither
its cost nor what devices tell each other depends on the length of the tables, which may be divided among devices.

All that belongs to a user (an item) in tables and moments lies side by side in one row: memory that is far away
is gone to once, and not once for each of them.

Rows that no example touches stand still: the same as with dense updates under SGD and Adagrad. Adam's moments, and
weight decay, would move them; here they wait until the row is touched again ("lazy").
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.models.protocol import Groups, NeuralModel
from ancf_jax.modules.heads import AXIS
from ancf_jax.types import Array, Batch, Catalogue, TrainState

EMPTY = np.iinfo(np.int32).max  # no row
UNIT = 8  # rows are a multiple of so many figures long: XLA copies those of 33 to 39 one by one, those of 40 as vectors
SPARSE_FROM, FEW = (
    4,
    50_000,
)  # times the rows that a step touches; rows below which updating all costs nothing


class World(NamedTuple):
    """A batch under new numbers, out of a catalogue of `items`.

    `rows` says for "user" and "item" which row each number stands for.
    """

    model: NeuralModel
    catalogue: Catalogue
    batch: Batch
    groups: Groups
    items: int
    rows: dict[str, Array]


def sparse_kinds(
    model: NeuralModel, tables: str, loss: str, touched: dict[str, int]
) -> tuple[str, ...]:
    """Which of "user" and "item" are updated by row, by the setting `loop.tables` and the rows a step touches.

    With a softmax over the catalogue every item is touched.
    """
    rows = {"user": model.sizes.users, "item": model.sizes.items}
    possible = [
        kind
        for kind in rows
        if kind in model.tables.values() and (kind == "user" or loss != "softmax")
    ]
    if tables == "auto":
        return tuple(
            kind
            for kind in possible
            if rows[kind] > max(FEW, SPARSE_FROM * touched[kind])
        )
    return tuple(possible) if tables != "dense" else ()


def kinds_of(model: NeuralModel, kinds: tuple[str, ...], state: TrainState) -> Any:
    """For every leaf of parameters and of moments "user" or "item" if it is a table of `kinds`, else ""."""
    own = {name: kind for name, kind in model.tables.items() if kind in kinds}
    changing = state.params, state.opt_state
    return jax.tree.map_with_path(
        lambda path, _: own.get(str(getattr(path[-1], "key", "")), ""), changing
    )


def small_world(
    model: NeuralModel, kinds: tuple, catalogue: Catalogue, batch: Batch, groups: Groups
) -> World:
    """The batch in terms of the rows of `kinds` that the batches of all devices touch."""
    query, rows, sizes = batch.query, {}, model.sizes
    if "user" in kinds:
        rows["user"], [user] = renumber([query.user])
        query, sizes = (
            query._replace(user=user),
            sizes._replace(users=len(rows["user"])),
        )
        catalogue = catalogue._replace(
            user_features=_gather(catalogue.user_features, rows["user"])
        )
    if "item" in kinds:
        rows["item"], [token, *numbered] = renumber([query.token, *groups])
        query, sizes, groups = (
            query._replace(token=token),
            sizes._replace(items=len(rows["item"])),
            tuple(numbered),
        )
        parts = {
            name: getattr(catalogue, name)
            for name in ("item_features", "popularity", "similar")
        }
        catalogue = catalogue._replace(**_gather(parts, rows["item"]))
    return World(
        model.resized(sizes),
        catalogue,
        batch._replace(query=query),
        groups,
        model.sizes.items,
        rows,
    )


def renumber(ids: list[Array]) -> tuple[Array, list[Array]]:
    """The distinct ids of all devices, ascending among EMPTY ones [n], and `ids` as places among them (-1 stays)."""
    flat = jnp.concatenate([x.ravel() for x in ids])
    everybody = jnp.sort(
        jax.lax.all_gather(jnp.where(flat < 0, EMPTY, flat), AXIS, tiled=True)
    )
    first = jnp.diff(everybody, prepend=-1) > 0
    places = jnp.where(flat < 0, -1, jnp.searchsorted(everybody, flat)).astype(
        jnp.int32
    )
    parts = jnp.split(places, np.cumsum([x.size for x in ids])[:-1])
    return jnp.where(first, everybody, EMPTY), [
        part.reshape(x.shape) for part, x in zip(parts, ids, strict=True)
    ]


def pack(kinds: Any, tree: Any) -> tuple[Any, dict[str, Array]]:
    """`tree` with its leaves of a kind emptied, and what they held side by side: padded rows [V, W] of each kind."""
    pairs = list(zip(jax.tree.leaves(kinds), jax.tree.leaves(tree), strict=True))
    parts = {
        own: [x.reshape(len(x), -1) for kind, x in pairs if kind == own]
        for own, _ in pairs
        if own
    }
    for found in parts.values():
        found.append(jnp.zeros((len(found[0]), -sum(x.shape[1] for x in found) % UNIT)))
    empty = jax.tree.map(lambda kind, x: x[:0] if kind else x, kinds, tree)
    return empty, {
        kind: jnp.concatenate(found, axis=1) for kind, found in parts.items()
    }


def unpack(kinds: Any, tree: Any, rows: dict[str, Array]) -> Any:
    """The tree that `pack` made `tree` and `rows` of."""
    begin = dict.fromkeys(rows, 0)

    def one(kind: str, leaf: Array) -> Array:
        if not kind:
            return leaf
        part = slice(begin[kind], begin[kind] + math.prod(leaf.shape[1:]))
        begin[kind] = part.stop
        return rows[kind][:, part].reshape(-1, *leaf.shape[1:])

    return jax.tree.map(one, kinds, tree)


def places(rows: Array, length: int, divided: bool) -> Array:
    """Row numbers within a table of `length`, or this device's share of one; `length` for rows that are not there.

    Not EMPTY, for CPUs take long over writing nothing to addresses far from the table.
    """
    local = rows - jax.lax.axis_index(AXIS) * length if divided else rows
    return jnp.where((local >= 0) & (local < length), local, length)


def _gather(tables: Any, rows: Array) -> Any:
    """Rows of some tables, any for EMPTY, which nothing refers to; filling would take longer than gathering."""
    return jax.tree.map(
        lambda table: jnp.asarray(table).at[rows].get(mode="clip"), tables
    )
