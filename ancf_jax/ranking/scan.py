"""The pass over the catalogue: scores of one chunk of items at a time, seen items hidden."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.batching.histories import request_after_log
from ancf_jax.models.protocol import Model, NeuralModel
from ancf_jax.ranking.tiles import ceil_div, chunk_sizes
from ancf_jax.types import Array, Catalogue, EventLog, Variables

Visit = Callable[[Array, Array], Any]


class Tables(NamedTuple):
    """What a ranking reads, the same for all users.

    Attributes:
        variables: of the model.
        log: the events that the model may see.
        catalogue: what is known of items and users besides.
        item_side: what the model knows of every item of the catalogue.
        among: bool [I] the items that are candidates; None for all.
    """

    variables: Variables
    log: EventLog
    catalogue: Catalogue
    item_side: Any
    among: Array | None = None

    @property
    def items(self) -> int:
        """Number of items in the catalogue."""
        return self.catalogue.popularity.shape[0]


class HidingState(NamedTuple):
    """How far the seen items of users [B] are hidden in a chunk.

    Attributes:
        scores: float32 [B, C].
        place: int32 [B] the next seen item of every user.
        goes_on: bool [] whether a user may have more of them in the chunk.
    """

    scores: jax.Array
    place: Array
    goes_on: Array


def encode_users(model: Model, tables: Tables, user: Array, minute: Array) -> Any:
    """The model's user side of what the log holds of users [B] at `minute` [B]."""
    length = model.history_length if isinstance(model, NeuralModel) else 1
    request = request_after_log(tables.log, user, minute, length)
    return model.encode_users(tables.variables, tables.log, tables.catalogue, request)


def scan_catalogue(
    model: Model,
    seen_slots: int,
    tables: Tables,
    user: Array,
    minute: Array,
    visit: Visit,
) -> tuple[Any, Array]:
    """Scores of all items for users [B], chunk by chunk.

    They are -inf for seen items and for those that are no candidates, and where the last chunk
    overlaps the one before.

    Args:
        model: what scores.
        seen_slots: seen items of a user that are hidden at a time; 0 keeps them all.
        tables: what is read.
        user: int32 [B], -1 for an unknown user.
        minute: int32 [B] the moments to score for.
        visit: takes the scores float32 [B, C] of a chunk, and its first item.

    Returns:
        What `visit` returned, stacked, and the first item int32 [chunks] of every chunk.
    """
    chunk_size, score_chunk = _chunk_scorer(model, tables, user, minute)
    begins, new_from = _chunk_begins(tables.items, chunk_size)
    seen_begin, seen_end = _seen_range(tables.log, user)
    seen = tables.log.seen_item

    def one_chunk(place: Array, chunk: tuple[Array, Array]) -> tuple[Array, Any]:
        begin, new_from = chunk
        scores = _hide_first(score_chunk(begin), new_from - begin)
        scores = _hide_others(scores, begin, tables.among)
        if seen_slots:
            scores, place = _hide_seen(scores, begin, seen, place, seen_end, seen_slots)
        return place, visit(scores, begin)

    _, visited = jax.lax.scan(one_chunk, seen_begin, (begins, new_from))
    return visited, begins


def _chunk_begins(items: int, chunk_size: int) -> tuple[Array, Array]:
    """The first item of every chunk, and the first that no chunk before has: int32 [chunks].

    The two differ in the last chunk, as all are of one size.
    """
    chunks = ceil_div(items, chunk_size)
    new_from = jnp.arange(chunks, dtype=jnp.int32) * chunk_size
    begins = jnp.minimum(new_from, items - chunk_size)
    return begins, new_from


def _chunk_scorer(
    model: Model, tables: Tables, user: Array, minute: Array
) -> tuple[int, Callable[[Array], Array]]:
    """The size of a chunk, and what scores [B, C] the chunk from an item on, tile by tile."""
    users = encode_users(model, tables, user, minute)
    score = partial(model.score, tables.variables)
    item_side = tables.item_side
    chunk_size, tile_size = chunk_sizes(score, users, item_side, tables.items)

    def score_chunk(begin: Array) -> Array:
        def one_tile(number: Array, scores: Array) -> Array:
            offset = number * tile_size

            def in_tile(x: Array) -> Array:
                return jax.lax.dynamic_slice_in_dim(x, begin + offset, tile_size)

            tile = jax.tree.map(in_tile, item_side)
            found = score(users, tile)
            return jax.lax.dynamic_update_slice(scores, found, (0, offset))

        blank = jnp.zeros((len(user), chunk_size))
        tiles = chunk_size // tile_size
        return jax.lax.fori_loop(0, tiles, one_tile, blank)

    return chunk_size, score_chunk


def _seen_range(log: EventLog, user: Array) -> tuple[Array, Array]:
    """Where the seen items of users [B] begin and end; an unknown user has none."""
    row = jnp.maximum(user, 0)
    is_known = user >= 0
    begin = log.seen_start[row]
    end = jnp.where(is_known, log.seen_start[row + 1], 0)
    return begin, end


def _hide_first(scores: Array, count: Array) -> jax.Array:
    """Scores [B, C] with -inf for the first `count` items."""
    is_shown = jnp.arange(scores.shape[1]) >= count
    return jnp.where(is_shown[None, :], scores, -jnp.inf)


def _hide_others(scores: jax.Array, begin: Array, among: Array | None) -> jax.Array:
    """Scores [B, C] of the items from `begin` on, with -inf for those not `among` these."""
    if among is None:
        return scores
    width = scores.shape[1]
    is_candidate = jax.lax.dynamic_slice_in_dim(jnp.asarray(among), begin, width)
    return jnp.where(is_candidate[None, :], scores, -jnp.inf)


def _hide_seen(
    scores: jax.Array, begin: Array, seen: Array, place: Array, end: Array, slots: int
) -> tuple[Array, Array]:
    """Scores with -inf for seen items, and the places behind the items that were visited.

    A user's seen items ascend, so that each is visited once, in whatever chunk it is.

    Args:
        scores: [B, C] of the items from `begin` on.
        begin: first item of the chunk.
        seen: the seen items of all users.
        place: int32 [B] where in `seen` the user's next item stands.
        end: int32 [B] where the user's seen items end.
        slots: how many are visited at a time.
    """
    rows, width = scores.shape
    row = jnp.arange(rows)[:, None]
    ahead = jnp.arange(slots, dtype=jnp.int32)[None, :]

    def hide(state: HidingState) -> HidingState:
        slot = state.place[:, None] + ahead
        item = jnp.take(seen, slot, mode="clip") - begin
        is_own = slot < end[:, None]
        item = jnp.where(is_own, item, width)
        is_here = item < width
        return HidingState(
            scores=state.scores.at[row, item].set(-jnp.inf, mode="drop"),
            place=state.place + is_here.sum(1, dtype=jnp.int32),
            goes_on=is_here[:, -1].any(),
        )

    def goes_on(state: HidingState) -> Array:
        return state.goes_on

    before = HidingState(scores, place, jnp.array(True))
    after = jax.lax.while_loop(goes_on, hide, before)
    return after.scores, after.place
