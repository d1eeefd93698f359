"""Large tables: the rows that a batch touches, gathered into a small world of its own.

The users and items of a batch get new numbers. Their rows of every table, of the optimiser's moments and of the
catalogue are gathered, the step runs on them as on any small tables, and the changed rows are put back. So neither
its cost nor what devices tell each other depends on the length of the tables, which may be divided among devices.

Rows that no example touches stand still: the same as with dense updates under SGD and Adagrad. Adam's moments, and
weight decay, would move them; here they wait until the row is touched again ("lazy").
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.models.protocol import Groups, NeuralModel
from ancf_jax.modules.heads import AXIS
from ancf_jax.types import Array, Batch, Catalogue

EMPTY = np.iinfo(np.int32).max  # no row: putting it does nothing
SPARSE_FROM, FEW = 4, 50_000  # times the rows that a step touches; rows below which updating all costs nothing


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


def sparse_kinds(model: NeuralModel, tables: str, loss: str, touched: dict[str, int]) -> tuple[str, ...]:
    """Which of "user" and "item" are updated by row, by the setting `loop.tables` and the rows a step touches.

    With a softmax over the catalogue every item is touched.
    """
    rows = {"user": model.sizes.users, "item": model.sizes.items}
    possible = [kind for kind in rows if kind in model.tables.values() and (kind == "user" or loss != "softmax")]
    if tables == "auto":
        return tuple(kind for kind in possible if rows[kind] > max(FEW, SPARSE_FROM * touched[kind]))
    return tuple(possible) if tables != "dense" else ()


def kinds_of(model: NeuralModel, kinds: tuple[str, ...], tree: Any) -> Any:
    """For every leaf of parameters or of moments "user" or "item" if it is a table of `kinds`, else ""."""

    def kind(path: Any, _leaf: Any) -> str:
        found = model.tables.get(str(getattr(path[-1], "key", "")), "")
        return found if found in kinds else ""

    return jax.tree_util.tree_map_with_path(kind, tree)


def small_world(model: NeuralModel, kinds: tuple, catalogue: Catalogue, batch: Batch, groups: Groups) -> World:
    """The batch in terms of the rows of `kinds` that the batches of all devices touch."""
    query, rows, sizes = batch.query, {}, model.sizes
    if "user" in kinds:
        rows["user"], [user] = renumber([query.user])
        query = query._replace(user=user)
        sizes = sizes._replace(users=len(rows["user"]))
        catalogue = catalogue._replace(user_features=_gather(catalogue.user_features, rows["user"]))
    if "item" in kinds:
        rows["item"], [token, *numbered] = renumber([query.token, *groups])
        query, groups = query._replace(token=token), tuple(numbered)
        sizes = sizes._replace(items=len(rows["item"]))
        parts = {name: getattr(catalogue, name) for name in ("item_features", "popularity", "similar")}
        catalogue = catalogue._replace(**_gather(parts, rows["item"]))
    return World(model.resized(sizes), catalogue, batch._replace(query=query), groups, model.sizes.items, rows)


def renumber(ids: list[Array]) -> tuple[Array, list[Array]]:
    """The distinct ids of all devices, ascending among EMPTY ones [n], and `ids` as places among them (-1 stays)."""
    flat = jnp.concatenate([x.ravel() for x in ids])
    everybody = jnp.sort(jax.lax.all_gather(jnp.where(flat < 0, EMPTY, flat), AXIS, tiled=True))
    first = jnp.diff(everybody, prepend=-1) > 0
    places = jnp.where(flat < 0, -1, jnp.searchsorted(everybody, flat)).astype(jnp.int32)
    parts = jnp.split(places, np.cumsum([x.size for x in ids])[:-1])
    return jnp.where(first, everybody, EMPTY), [part.reshape(x.shape) for part, x in zip(parts, ids, strict=True)]


def take(kinds: Any, tree: Any, rows: dict[str, Array], divided: bool, whole: bool) -> Any:
    """`tree` with the leaves of a kind reduced to `rows`.

    With `divided` a device holds but its share of each table: `whole` says whether it gets the others' rows, too.
    """

    def one(kind: str, leaf: Array) -> Array:
        if not kind or not divided:
            return _gather(leaf, rows[kind]) if kind else leaf
        own = jnp.asarray(leaf).at[_own(rows[kind], len(leaf))].get(mode="fill", fill_value=0)
        return jax.lax.psum(own, AXIS) if whole else own

    return jax.tree.map(one, kinds, tree)


def put(kinds: Any, tree: Any, small: Any, rows: dict[str, Array], divided: bool) -> Any:
    """`tree` with the leaves of `small`; those of a kind have them at `rows` alone, in place."""

    def one(kind: str, leaf: Array, new: Array) -> Array:
        if not kind:
            return new
        at = _own(rows[kind], len(leaf)) if divided else rows[kind]
        return jnp.asarray(leaf).at[at].set(new, mode="drop", unique_indices=True)

    return jax.tree.map(one, kinds, tree, small)


def _own(rows: Array, share: int) -> Array:
    """Row numbers within this device's share of a table, EMPTY for rows of other devices."""
    local = rows - jax.lax.axis_index(AXIS) * share
    return jnp.where((local >= 0) & (local < share), local, EMPTY)


def _gather(tables: Any, rows: Array) -> Any:
    """Rows of some tables, any for EMPTY, which nothing refers to; filling would take longer than gathering."""
    return jax.tree.map(lambda table: jnp.asarray(table).at[rows].get(mode="clip"), tables)
