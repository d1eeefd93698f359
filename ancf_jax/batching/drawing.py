"""From example numbers to what a step is computed from: batches, candidates and positions."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.batching.histories import (
    batch_among_events,
    batch_of_events,
    batch_of_windows,
)
from ancf_jax.batching.negatives import draw_uniform, first_unseen
from ancf_jax.types import Array, Batch, EventLog

Unit = Literal["event", "window"]
Groups = tuple[Array, ...]  # see `draw_candidates`
Draw = Callable[[int], Array]
RowDraw = Callable[[Draw, int], Array]


class Sampling(NamedTuple):
    """How candidates are chosen for the examples of a batch; the same in every step.

    Attributes:
        unit: what one example is: an event, or a window of events.
        candidates: what is scored for an event: its own item; also drawn negatives; or the
            whole catalogue.
        negatives: how many are drawn: for every event of its own, or for all windows together.
        items: size of the catalogue.
        max_seen: an upper bound on the number of distinct items of a user in the log.
    """

    unit: Unit
    candidates: Literal["own", "drawn", "catalogue"]
    negatives: int
    items: int
    max_seen: int


def draw_alone(draw: Draw, rows: int) -> Array:
    """draw(rows) [rows, ...]: the draw for a batch that no other device has a share of.

    Where several devices share a batch another function takes its place: each device draws for
    all and keeps its rows, so that the draw does not depend on the number of devices.
    """
    return draw(rows)


def make_batch(
    log: EventLog,
    example: Array,
    unit: Unit,
    history_length: int,
    both_sides: bool = False,
) -> Batch:
    """The batch of some examples.

    Args:
        log: the events.
        example: int32 [B] event numbers, or [B, L] windows of them; -1 is padding.
        unit: which of the two.
        history_length: number of events that the request of one event holds.
        both_sides: whether those are of the user's other events, earlier and later ones, instead
            of the earlier ones.
    """
    if unit == "window":
        return batch_of_windows(log, example)
    if both_sides:
        return batch_among_events(log, example, history_length)
    return batch_of_events(log, example, history_length)


def draw_candidates(
    sampling: Sampling,
    log: EventLog,
    batch: Batch,
    key: Array,
    draw_rows: RowDraw = draw_alone,
) -> tuple[Groups, Array]:
    """The candidates of a batch, positives first, and how much they count.

    Args:
        sampling: how they are chosen.
        log: the events.
        batch: the examples.
        key: of the random draw.
        draw_rows: see `draw_alone`.

    Returns:
        Groups of items, int32 [C] for all examples or [..., C] of their own, and the weight
        [..., C] of every candidate, or [..., 1] for all of an example.
    """
    if sampling.candidates == "own":
        return (batch.positive[..., None],), _ones(batch)
    if sampling.candidates == "catalogue":
        every_item = jnp.arange(sampling.items, dtype=jnp.int32)
        return (every_item,), _ones(batch)
    if sampling.unit == "window":
        return _with_shared_negatives(sampling, batch, key)
    return _with_own_negatives(sampling, log, batch, key, draw_rows)


def _ones(batch: Batch) -> Array:
    return jnp.ones((*batch.positive.shape, 1))


def _with_shared_negatives(
    sampling: Sampling, batch: Batch, key: Array
) -> tuple[Groups, Array]:
    """Negatives that all windows share; for an event whose item is among them it weighs 0."""
    positive = batch.positive[..., None]
    negative = draw_uniform(key, (sampling.negatives,), sampling.items)
    beside_positive = negative.reshape((1,) * batch.positive.ndim + (-1,))
    is_other = (beside_positive != positive).astype(jnp.float32)
    return (positive, negative), jnp.concatenate([_ones(batch), is_other], -1)


def _with_own_negatives(
    sampling: Sampling, log: EventLog, batch: Batch, key: Array, draw_rows: RowDraw
) -> tuple[Groups, Array]:
    """Negatives of every event of its own, of weight 0 where its user has them in the log.

    A draw that the user has seen is tried once more: moved around the catalogue by a distance
    that is drawn once for the batch.
    """
    key_of_draw, key_of_distance = jax.random.split(key)

    def draw(rows: int) -> Array:
        return draw_uniform(key_of_draw, (rows, sampling.negatives), sampling.items)

    drawn = draw_rows(draw, len(batch.positive))
    distance = draw_uniform(key_of_distance, (), sampling.items)
    second_draw = (drawn + distance) % sampling.items
    draws = jnp.stack([drawn, second_draw])
    negative, weight = first_unseen(log, batch.row, draws, sampling.max_seen)
    candidates = jnp.concatenate([batch.positive[..., None], negative], -1)
    return (candidates,), jnp.concatenate([_ones(batch), weight], -1)


def dual_positions(
    weight: Array, count: int, key: Array, draw_rows: RowDraw = draw_alone
) -> Array:
    """`count` random positions int32 [B, P] of each window [B, L], those of weight 0 last.

    Args:
        weight: [B, L] of the windows' positions.
        count: P, at most L.
        key: of the random draw.
        draw_rows: see `draw_alone`.
    """
    rows, length = weight.shape

    def draw(rows: int) -> Array:
        return jax.random.uniform(key, (rows, length))

    noise = draw_rows(draw, rows)
    return jax.lax.top_k(noise + weight, min(count, length))[1]
