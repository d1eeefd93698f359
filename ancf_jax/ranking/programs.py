"""What devices compute for a block of users: the best items, places of items, scores of some.

Every function here returns as last result which users have scores that are NaN: [B].
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import logsumexp

from ancf_jax.machine import forms, parallel
from ancf_jax.machine.compile import compiled
from ancf_jax.machine.precision import products_in
from ancf_jax.models.protocol import Model
from ancf_jax.ranking.scan import Tables, encode_users, scan_catalogue
from ancf_jax.ranking.top_k import best_of
from ancf_jax.types import AXIS, Array

Program = Callable[..., tuple[Array, ...]]


def compile_program(
    model: Model, devices: int, function: Program, *fixed: Any
) -> Program:
    """`function(model, *fixed, tables, *columns)`, compiled, of `tables` and `columns` [B, ...].

    With several devices the users are split over them; each holds the tables already.
    """
    program = products_in("float32", partial(function, model, *fixed))
    return compiled(program) if devices == 1 else _over_devices(program, devices)


def _over_devices(program: Program, devices: int) -> Program:
    gather = partial(jax.lax.all_gather, axis_name=AXIS, tiled=True)

    def on_device(_: Any, tables: Tables, columns: tuple[Array, ...]) -> Any:
        return jax.tree.map(gather, program(tables, *columns))

    is_split = (False, False, True)
    spread = parallel.spread(on_device, "shard_map", is_split, False, devices)

    def on_all(tables: Tables, *columns: Array) -> tuple[Array, ...]:
        shares = [x.reshape(devices, -1, *x.shape[1:]) for x in columns]
        return spread((), tables, tuple(shares))

    return on_all


def top_items(
    model: Model,
    seen_slots: int,
    n: int,
    with_total: bool,
    tables: Tables,
    user: Array,
    minute: Array,
) -> tuple[Array, ...]:
    """The n best items of users, of equals the lowest number first.

    Args:
        model: what scores.
        seen_slots: see `scan_catalogue`.
        n: at most the catalogue.
        with_total: whether the log of the sum of exp(score) over all eligible items is asked for.
        tables: what is read.
        user: int32 [B].
        minute: int32 [B].

    Returns:
        Items int32 [B, n], best first; their scores float32 [B, n]; and, where it is asked for,
        the log of the sum float32 [B].
    """

    def select(scores: Array, begin: Array) -> tuple[Array | None, ...]:
        best, place, is_nan = best_of(scores, min(n, scores.shape[1]))
        log_total = logsumexp(scores, axis=1) if with_total else None
        return best, place + begin, is_nan, log_total

    visited, _ = scan_catalogue(model, seen_slots, tables, user, minute, select)
    scores, items, is_nan, log_total = visited
    # The chunks ascend, so the first of equals has the lowest number.
    best, place = jax.lax.top_k(_beside(scores), n)
    best_items = jnp.take_along_axis(_beside(items), place, axis=1)
    if log_total is None:
        return best_items, best, is_nan.any(0)
    return best_items, best, logsumexp(log_total, axis=0), is_nan.any(0)


def _beside(x: Array) -> Array:
    """[B, chunks * k] from [chunks, B, k]."""
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)


def count_ranks(
    model: Model,
    seen_slots: int,
    tables: Tables,
    user: Array,
    minute: Array,
    positive: Array,
) -> tuple[Array, ...]:
    """Where items stand among all eligible items.

    Args:
        model: what scores.
        seen_slots: see `scan_catalogue`.
        tables: what is read.
        user: int32 [B].
        minute: int32 [B].
        positive: int32 [B, P], -1 padded.

    Returns:
        `positive`; its scores float32 [B, P]; items of greater, and other items of equal score:
        int32 [B, P]; and eligible items int32 [B].
    """
    scores, begins = scan_catalogue(
        model, seen_slots, tables, user, minute, _keep_scores
    )
    own = _scores_of(positive, scores, begins)

    def against_all(score: Array) -> tuple[Array, Array]:
        score = score[None, :, None]
        greater = _count(scores > score)
        equal = _count(scores == score)
        return greater, equal - 1

    greater, equal = jax.lax.map(against_all, own.T)
    eligible = _count(scores > -jnp.inf)
    is_nan = _count(~(scores >= -jnp.inf)) > 0
    return positive, own, greater.T, equal.T, eligible, is_nan


def _keep_scores(scores: Array, begin: Array) -> Array:
    return scores


def _scores_of(items: Array, scores: Array, begins: Array) -> Array:
    """Scores [B, P] of items [B, P] among those of all chunks [chunks, B, C]."""
    item = jnp.maximum(items, 0)
    chunk = item // scores.shape[2]
    place = item - begins[chunk]
    row = jnp.arange(len(items))[:, None]
    return scores[chunk, row, place]


def _count(flags: Array) -> Array:
    """How many flags [chunks, B, C] are true: int32 [B]."""
    return forms.count_true(flags).sum(0)


def score_candidates(
    model: Model, tables: Tables, user: Array, minute: Array, items: Array
) -> tuple[Array, Array]:
    """Scores float32 [B, C] of each user's own candidates int32 [B, C]."""
    item_side = model.encode_items(tables.variables, tables.catalogue, items)
    users = encode_users(model, tables, user, minute)
    scores = model.score(tables.variables, users, item_side)
    is_nan = jnp.isnan(scores).any(1)
    return scores, is_nan
