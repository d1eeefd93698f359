"""A batch in a world of its own, which holds only the users and items that the batch touches.

They get new numbers, and what the catalogue says of them is gathered. A loss computed there is the
same as in the whole world, but its cost does not depend on how many users and items there are.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.training.step_losses import World
from ancf_jax.types import AXIS, Array, Catalogue

EMPTY = np.iinfo(np.int32).max  # stands for no row


def small_world(kinds: tuple[str, ...], world: World) -> tuple[World, dict[str, Array]]:
    """The world of the rows that the batches of all devices touch.

    Args:
        kinds: which of "user" and "item" get new numbers.
        world: of whole tables.

    Returns:
        The small world, and for each kind the row int32 [n] that each new number stands for.
    """
    rows: dict[str, Array] = {}
    if "user" in kinds:
        world, rows["user"] = _with_few_users(world)
    if "item" in kinds:
        world, rows["item"] = _with_few_items(world)
    return world, rows


def _with_few_users(world: World) -> tuple[World, Array]:
    model, catalogue, examples = world
    request = examples.batch.request
    rows, (user,) = renumber([request.user])
    features = _gather(catalogue.user_features, rows)
    batch = examples.batch._replace(request=request._replace(user=user))
    small = World(
        model.resized(model.sizes._replace(users=len(rows))),
        catalogue._replace(user_features=features),
        examples._replace(batch=batch),
    )
    return small, rows


def _with_few_items(world: World) -> tuple[World, Array]:
    model, catalogue, examples = world
    request = examples.batch.request
    rows, (token, *candidates) = renumber([request.token, *examples.candidates])
    batch = examples.batch._replace(request=request._replace(token=token))
    small = World(
        model.resized(model.sizes._replace(items=len(rows))),
        _catalogue_of_items(catalogue, rows),
        examples._replace(batch=batch, candidates=tuple(candidates)),
    )
    return small, rows


def _catalogue_of_items(catalogue: Catalogue, rows: Array) -> Catalogue:
    """What the catalogue says of the items `rows`; followers are for whole catalogues only."""
    return catalogue._replace(
        item_features=_gather(catalogue.item_features, rows),
        popularity=_gather(catalogue.popularity, rows),
        repeat_counts=_gather(catalogue.repeat_counts, rows),
        log_unsold=_gather(catalogue.log_unsold, rows),
    )


def renumber(ids: list[Array]) -> tuple[Array, list[Array]]:
    """New numbers for ids: their places among the distinct ids of all devices.

    Args:
        ids: int32, of any shapes; -1 stands for nobody.

    Returns:
        The distinct ids of all devices, int32 [n], ascending, with `EMPTY` in between; and `ids`
        as places in it, in which -1 stays.
    """
    flat = jnp.concatenate([x.ravel() for x in ids])
    is_nobody = flat < 0
    known = jnp.where(is_nobody, EMPTY, flat)
    of_all_devices = jnp.sort(jax.lax.all_gather(known, AXIS, tiled=True))
    is_distinct = jnp.diff(of_all_devices, prepend=-1) > 0
    rows = jnp.where(is_distinct, of_all_devices, EMPTY)
    # The first of equal ids is the one that stays in `rows`, and the one that is found.
    found = jnp.searchsorted(of_all_devices, flat)
    place = jnp.where(is_nobody, -1, found).astype(jnp.int32)
    return rows, _split_like(ids, place)


def _split_like(arrays: list[Array], flat: Array) -> list[Array]:
    """Parts of `flat` [n] in the sizes and shapes of some arrays."""
    parts: list[Array] = []
    begin = 0
    for array in arrays:
        end = begin + array.size
        parts.append(flat[begin:end].reshape(array.shape))
        begin = end
    return parts


def _gather(tables: Any, rows: Array) -> Any:
    """Rows of some tables; any row for `EMPTY`, which nothing refers to.

    To fill these would take longer than to gather.
    """

    def of_rows(table: Array) -> Array:
        return jnp.asarray(table).at[rows].get(mode="clip")

    return jax.tree.map(of_rows, tables)
