"""Exact scores, ranks and top N over the whole catalogue, block by block: the one path under
evaluation and recommendation. Nothing of size U x I is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.data.histories import query_after_log
from ancf_jax.errors import NumericalError
from ancf_jax.models.protocol import Model
from ancf_jax.objective.metrics import Ranks
from ancf_jax.types import Array, Catalogue, EventLog, Heldout, Query, Variables

USERS_PER_BLOCK = 16  # by measurement: the pairs of a block should stay in the cache
ITEMS_PER_CHUNK = 4096
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Ranker:
    """A model with its variables, over one log: what it knows, and whom it ranks for.

    Attributes:
        history_length: number of latest events in a query.
        max_seen: most distinct items that one user has in the log.
        block: users scored at a time; the memory of scoring is block x I.
    """

    model: Model
    variables: Variables
    log: EventLog
    catalogue: Catalogue
    history_length: int
    max_seen: int
    block: int = USERS_PER_BLOCK

    def with_variables(self, variables: Variables) -> Ranker:
        """The same ranker with other variables; compiled programs are shared."""
        other = replace(self, variables=variables)
        for name in ("_top", "_rank", "_pairs", "_encode"):
            other.__dict__[name] = getattr(self, name)
        return other

    @property
    def items(self) -> int:
        """Number of items in the catalogue."""
        return self.catalogue.popularity.shape[0]

    @cached_property
    def _encode(self) -> Callable[..., Any]:
        return jax.jit(self.model.encode_items)

    @cached_property
    def item_side(self) -> Any:
        """The item side of the whole catalogue, computed once."""
        return self._encode(self.variables, self.catalogue, jnp.arange(self.items, dtype=jnp.int32))

    @cached_property
    def _tables(self) -> tuple[Any, ...]:
        return self.variables, self.log, self.catalogue, self.item_side

    def query(self, log: EventLog, user: Array, minute: Array) -> Query:
        """What `log` holds of users [B] at `minute` [B]."""
        return query_after_log(log, user, minute, self.history_length)

    def scores(self, tables: tuple[Any, ...], user: Array, minute: Array, keep_seen: bool) -> Array:
        """Scores [B, I] of all items; -inf for items that the user already has, unless `keep_seen`."""
        variables, log, catalogue, item_side = tables
        side = self.model.encode_users(variables, log, catalogue, self.query(log, user, minute))
        scores = _by_chunk(lambda items: self.model.score(variables, side, items), item_side, self.items)
        return scores if keep_seen else _without_seen(scores, log, user, self.max_seen)

    @cached_property
    def _top(self) -> Callable[..., Any]:
        def top(tables: Any, user: Array, minute: Array, n: int, keep_seen: bool) -> tuple[Array, Array, Array]:
            scores = self.scores(tables, user, minute, keep_seen)
            best, ids = jax.lax.top_k(scores, n)
            return ids, best, jnp.isnan(scores).any()

        return jax.jit(top, static_argnums=(3, 4))

    def top_n(
        self, user: np.ndarray, minute: np.ndarray, n: int, keep_seen: bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each block of users: items [b, n] by falling score (ties by row number), and scores [b, n].

        Where a user has fewer than n eligible items the rest is -1 with score -inf. Raises NumericalError
        for scores that are not numbers.
        """
        n = min(n, self.items)
        for rows, block_user, block_minute in self._blocks(user, minute):
            ids, scores, broken = jax.device_get(self._top(self._tables, block_user, block_minute, n, keep_seen))
            _refuse_nan(broken)
            yield np.where(scores > -np.inf, ids, -1)[:rows], scores[:rows]

    @cached_property
    def _rank(self) -> Callable[..., Any]:
        def rank(tables: Any, user: Array, minute: Array, positive: Array, keep_seen: bool) -> tuple[Array, ...]:
            scores = self.scores(tables, user, minute, keep_seen)
            own = jnp.take_along_axis(scores, jnp.maximum(positive, 0), axis=1)

            def count(score: Array) -> tuple[Array, Array]:
                return (scores > score[:, None]).sum(1), (scores == score[:, None]).sum(1) - 1

            greater, equal = jax.lax.map(count, own.T)
            candidates = (scores > -jnp.inf).sum(1)
            return own, greater.T, equal.T, candidates, jnp.isnan(scores).any()

        return jax.jit(rank, static_argnums=4)

    def ranks(self, heldout: Heldout, keep_seen: bool, progress: Progress | None = None) -> tuple[Ranks, np.ndarray]:
        """Where each held-out item stands among all eligible items, and which held-out items [E] are eligible.

        A held-out item that the user already has is not eligible unless `keep_seen`; it is left out.
        """
        found: list[tuple[np.ndarray, ...]] = []
        candidates: list[np.ndarray] = []
        for begin in range(0, len(heldout.user), self.block):
            queries = slice(begin, begin + self.block)
            positive = padded_positives(heldout, begin, min(begin + self.block, len(heldout.user)), self.block)
            [(rows, user, minute)] = self._blocks(heldout.user[queries], heldout.minute[queries])
            *ranked, size, broken = jax.device_get(self._rank(self._tables, user, minute, positive, keep_seen))
            _refuse_nan(broken)
            found.append(tuple(column[positive >= 0] for column in ranked))
            candidates.append(size[:rows])
            if progress is not None:
                progress(begin + rows, len(heldout.user))
        own, greater, equal = (np.concatenate(column) for column in zip(*found, strict=True))
        eligible = own > -np.inf
        query = np.repeat(np.arange(len(heldout.user)), np.diff(heldout.start))[eligible]
        start = np.concatenate([[0], np.cumsum(np.bincount(query, minlength=len(heldout.user)))])
        greater, equal, size = (
            x.astype(np.int64) for x in (greater[eligible], equal[eligible], np.concatenate(candidates))
        )
        return Ranks(start, greater, equal, size, own[eligible]), eligible

    @cached_property
    def _pairs(self) -> Callable[..., Any]:
        def pairs(tables: Any, user: Array, minute: Array, items: Array) -> Array:
            variables, log, catalogue, _ = tables
            side = self.model.encode_users(variables, log, catalogue, self.query(log, user, minute))
            return self.model.score(variables, side, self.model.encode_items(variables, catalogue, items))

        return jax.jit(pairs)

    def candidate_scores(self, user: np.ndarray, minute: np.ndarray, items: np.ndarray, block: int = 256) -> np.ndarray:
        """Scores float32 [Q, C] of each user's own candidates int32 [Q, C]."""
        scores = np.empty(items.shape, np.float32)
        for begin in range(0, len(user), block):
            part = slice(begin, begin + block)
            rows = len(user[part])
            padded = [_padded(column[part], block) for column in (user, minute, items)]
            scores[part] = self._pairs(self._tables, *padded)[:rows]
        _refuse_nan(np.isnan(scores).any())
        return scores

    def _blocks(self, user: np.ndarray, minute: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for begin in range(0, len(user), self.block):
            part = slice(begin, begin + self.block)
            yield len(user[part]), _padded(user[part], self.block), _padded(minute[part], self.block)


def padded_positives(heldout: Heldout, begin: int, end: int, rows: int) -> np.ndarray:
    """Held-out items [rows, P] of the queries begin .. end - 1, -1 padded; P is a power of two.

    Powers of two keep the number of compiled programs small.
    """
    counts = np.diff(heldout.start[begin : end + 1])
    width = 1 << int(max(counts.max(), 1) - 1).bit_length()
    items = np.full((rows, width), -1, np.int32)
    items[: len(counts)][np.arange(width) < counts[:, None]] = heldout.item[heldout.start[begin] : heldout.start[end]]
    return items


def _padded(column: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([column, np.repeat(column[:1], rows - len(column), axis=0)])


def _refuse_nan(broken: Any) -> None:
    if broken:
        raise NumericalError(
            "the model's scores are not numbers (NaN); train it again with a lower --optim.learning-rate"
        )


def _by_chunk(score: Callable[[Any], Array], item_side: Any, items: int) -> Array:
    """score(item_side) [B, I], in chunks of items whose intermediate results stay small."""
    if items <= ITEMS_PER_CHUNK:
        return score(item_side)
    chunks = -(-items // ITEMS_PER_CHUNK)
    begins = jnp.minimum(jnp.arange(chunks) * ITEMS_PER_CHUNK, items - ITEMS_PER_CHUNK)

    def one(begin: Array) -> Array:
        return score(
            jax.tree.map(
                partial(jax.lax.dynamic_slice_in_dim, start_index=begin, slice_size=ITEMS_PER_CHUNK), item_side
            )
        )

    parts = jax.lax.map(one, begins)
    last = items - (chunks - 1) * ITEMS_PER_CHUNK  # the last chunk overlaps the one before
    return jnp.concatenate([*parts[:-1], parts[-1][:, -last:]], axis=1)


def _without_seen(scores: Array, log: EventLog, user: Array, max_seen: int) -> Array:
    """`scores` [B, I] with -inf at the items of each user; user -1 has none."""
    row = jnp.maximum(user, 0)
    slot = log.seen_start[row][:, None] + jnp.arange(max_seen, dtype=jnp.int32)[None, :]
    inside = (slot < log.seen_start[row + 1][:, None]) & (user >= 0)[:, None]
    item = jnp.where(inside, log.seen_item[jnp.minimum(slot, log.seen_item.shape[0] - 1)], scores.shape[1])
    return jnp.asarray(scores).at[jnp.arange(scores.shape[0])[:, None], item].set(-jnp.inf, mode="drop")
