"""Exact scores, ranks and top N over the whole catalogue, block by block.

The one path under evaluation and recommendation. Nothing of size U x I is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.machine import parallel, sizes
from ancf_jax.machine.precision import products_in
from ancf_jax.models.protocol import Model
from ancf_jax.objective.metrics import Ranks
from ancf_jax.prepared import Prepared
from ancf_jax.ranking import blocks
from ancf_jax.ranking.programs import (
    Program,
    compile_program,
    count_ranks,
    score_candidates,
    top_items,
)
from ancf_jax.ranking.scan import Tables
from ancf_jax.types import Array, Catalogue, EventLog, Heldout, Variables
from ancf_jax.view import SILENT, Watcher, view_of

SEEN_SLOTS = 64  # seen items of a user that are hidden at a time


@dataclass(frozen=True)
class Ranker:
    """A model with its variables, over one log: what it knows, and whom it ranks for.

    Attributes:
        model: what scores.
        variables: of the model.
        log: the events that the model may see.
        catalogue: what is known of items and users besides.
        block: users scored at a time on each device.
        devices: how many devices share the users.
        candidates: bool [I] the items that may stand in lists, and that others are ranked
            against; None for all.
    """

    model: Model
    variables: Variables
    log: EventLog
    catalogue: Catalogue
    block: int = field(default_factory=sizes.users_per_block)
    devices: int = 1
    candidates: Array | None = None

    def with_variables(self, variables: Variables) -> Ranker:
        """The same ranker with other variables; compiled programs are shared."""
        other = replace(self, variables=variables)
        # Where cached properties lie: these two do not depend on the variables.
        other.__dict__.update(_encode=self._encode, _program=self._program)
        return other

    def among(self, candidates: np.ndarray) -> Ranker:
        """The same ranker with the items of `candidates` (bool [I]) alone."""
        other = replace(self, candidates=jnp.asarray(candidates))
        # Where cached properties lie: these do not depend on the candidates.
        other.__dict__.update(
            _encode=self._encode, _program=self._program, item_side=self.item_side
        )
        return other

    @property
    def items(self) -> int:
        """Number of items in the catalogue."""
        return self.catalogue.popularity.shape[0]

    @cached_property
    def max_seen(self) -> int:
        """Most distinct items that one user has in the log."""
        return int(np.diff(self.log.seen_start).max(initial=1))

    @cached_property
    def item_side(self) -> Any:
        """The item side of the whole catalogue, computed once."""
        every_item = jnp.arange(self.items, dtype=jnp.int32)
        return self._encode(self.variables, self.catalogue, every_item)

    def block_sizes(self, block: int) -> list[int]:
        """The few numbers of users that programs are compiled for.

        The largest is `block` on each device.
        """
        return blocks.block_sizes(block, self.devices)

    def top_n(
        self, user: np.ndarray, minute: np.ndarray, n: int, keep_seen: bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The best items of users at a moment, a block of users at a time.

        Args:
            user: int32 [R], -1 for a user whom the model does not know.
            minute: int32 [R].
            n: length of the lists; the size of the catalogue where that is smaller.
            keep_seen: whether items that the user already has are eligible.

        Yields:
            Items int32 [b, n] by falling score, ties by row number, and their scores
            float32 [b, n]. Where a user has fewer than n eligible items the rest is -1 with
            score -inf.

        Raises:
            NumericalError: scores are not numbers.
        """
        for items, scores, *_ in self._lists(user, minute, n, keep_seen, False):
            yield items, scores

    def top_n_with_totals(
        self, user: np.ndarray, minute: np.ndarray, n: int, keep_seen: bool
    ) -> Iterator[blocks.Columns]:
        """The same as `top_n`, and what a softmax over the eligible items divides by.

        Yields:
            Items int32 [b, n], their scores float32 [b, n], and the log of the sum of exp(score)
            over all eligible items of a user, float32 [b].

        Raises:
            NumericalError: scores are not numbers.
        """
        return self._lists(user, minute, n, keep_seen, True)

    def _lists(
        self,
        user: np.ndarray,
        minute: np.ndarray,
        n: int,
        keep_seen: bool,
        with_total: bool,
    ) -> Iterator[blocks.Columns]:
        """What `top_items` finds for a block of users at a time, n of each."""
        n = min(n, self.items)
        length = min(blocks.power_of_two(n), self.items)  # for few compiled programs
        blocks.require_memory(min(self.block, len(user)), length, self.devices)
        slots = self._seen_slots(keep_seen)
        program = self._program(top_items, slots, length, with_total)

        def columns_of(part: slice) -> blocks.Columns:
            return user[part], minute[part]

        found = self._in_blocks(program, columns_of, len(user), self.block)
        for _, (items, scores, *log_total) in found:
            items = np.where(scores > -np.inf, items, -1)
            yield items[:, :n], scores[:, :n], *log_total

    def ranks(
        self, heldout: Heldout, keep_seen: bool, view: Watcher = SILENT
    ) -> tuple[Ranks, np.ndarray]:
        """Where each held-out item stands among all eligible items.

        Args:
            heldout: requests and their held-out items.
            keep_seen: whether items that the user already has are eligible; else a held-out
                item among them is left out.
            view: where progress is shown.

        Returns:
            The places of the eligible held-out items, and which of the held-out items [E] are
            eligible.

        Raises:
            NumericalError: scores are not numbers.
        """
        program = self._program(count_ranks, self._seen_slots(keep_seen))
        block = max(min(self.block, sizes.values_held() // self.items), 1)
        requests = len(heldout.user)

        def columns_of(part: slice) -> blocks.Columns:
            positive = blocks.padded_positives(heldout, part)
            return heldout.user[part], heldout.minute[part], positive

        columns: list[blocks.Columns] = []
        found = self._in_blocks(program, columns_of, requests, block)
        for part, (positive, own, greater, equal, candidates) in found:
            is_item = positive >= 0
            columns.append((own[is_item], greater[is_item], equal[is_item], candidates))
            view_of(view).progress("ranking", part.stop, requests)
        whole = [np.concatenate(column) for column in zip(*columns, strict=True)]
        return _ranks_of(heldout, *whole)

    def candidate_scores(
        self, user: np.ndarray, minute: np.ndarray, items: np.ndarray, block: int = 256
    ) -> np.ndarray:
        """Scores float32 [R, C] of each user's own candidates int32 [R, C].

        Raises:
            NumericalError: scores are not numbers.
        """

        def columns_of(part: slice) -> blocks.Columns:
            return user[part], minute[part], items[part]

        program = self._program(score_candidates)
        found = self._in_blocks(program, columns_of, len(user), block)
        nothing = np.empty((0, items.shape[1]), np.float32)
        return np.concatenate([nothing, *(scores for _, (scores,) in found)])

    def _in_blocks(
        self,
        program: Program,
        columns_of: Callable[[slice], blocks.Columns],
        users: int,
        block: int,
    ) -> Iterator[tuple[slice, blocks.Columns]]:
        return blocks.results_in_blocks(
            partial(program, self._tables),
            columns_of,
            users,
            padded_sizes=self.block_sizes(block),
            blocks_at_once=sizes.blocks_at_once(self.devices),
        )

    def _seen_slots(self, keep_seen: bool) -> int:
        return 0 if keep_seen else min(SEEN_SLOTS, self.max_seen)

    @cached_property
    def _encode(self) -> Callable[..., Any]:
        return jax.jit(products_in("float32", self.model.encode_items))

    @cached_property
    def _tables(self) -> Tables:
        tables = Tables(
            self.variables, self.log, self.catalogue, self.item_side, self.candidates
        )
        if self.devices == 1:
            return tables
        return parallel.lay(tables, devices=self.devices)

    @cached_property
    def _program(self) -> Callable[..., Program]:
        """`compile_program` for this model, once for the same function and fixed arguments."""
        return cache(partial(compile_program, self.model, self.devices))


def ranker_of(prepared: Prepared, variables: Variables, devices: int = 1) -> Ranker:
    """The ranker of a prepared model; log and catalogue are laid on the device once.

    Args:
        prepared: the model and its data.
        variables: of the model.
        devices: how many devices share the users.
    """
    log, catalogue = jax.device_put((prepared.log, prepared.catalogue))
    return Ranker(prepared.model, variables, log, catalogue, devices=devices)


def _ranks_of(
    heldout: Heldout,
    own: np.ndarray,
    greater: np.ndarray,
    equal: np.ndarray,
    candidates: np.ndarray,
) -> tuple[Ranks, np.ndarray]:
    """`Ranker.ranks` from what was counted for all held-out items [E] and all requests [R]."""
    eligible = own > -np.inf
    ranks = Ranks(
        start=np.append(0, np.cumsum(eligible))[heldout.start],
        greater=greater[eligible].astype(np.int64),
        equal=equal[eligible].astype(np.int64),
        candidates=candidates.astype(np.int64),
        score=own[eligible],
    )
    return ranks, eligible
