"""Exact scores, ranks and top N over the whole catalogue, block by block: the one path under
evaluation and recommendation. Nothing of size U x I is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.data.histories import query_after_log
from ancf_jax.errors import NumericalError
from ancf_jax.models.protocol import Model, NeuralModel
from ancf_jax.modules.heads import AXIS
from ancf_jax.objective.metrics import Ranks
from ancf_jax.types import Array, Catalogue, EventLog, Heldout, Variables

USERS_PER_BLOCK = 96
BLOCKS_AT_ONCE = 4  # by measurement, on two cores
SMALL_BLOCKS = (1, 8, 32)  # so few users do not pay for more
VALUES_PER_TILE = (
    3 << 15
)  # by measurement: the widest intermediate result should stay in the cache of one core
VALUES_PER_CHUNK = (
    3 << 18
)  # by measurement: scores of which seen ones are hidden and the best chosen at a time
VALUES_HELD = 1 << 22  # scores that are held together; more take long to allocate
GROUP = 64  # items of which the best stands for all in the first stage of a selection
SEEN_SLOTS = 64
Function = Callable[..., Any]
Progress = Callable[[int, int], None]


def unwatched(done: int, total: int) -> None:
    """The progress of work that nobody watches."""


def compiled(function: Function, **how: Any) -> Function:
    """`function` as `jax.jit` compiles it, and for CPUs in a way that suits them better, by measurement.

    In the widest vectors Adam's roots and divisions take half the time; at level 3 LLVM makes scalar code of loops
    over narrow layers: a sixth of a ranking.
    """
    options = {"xla_cpu_prefer_vector_width": 512, "xla_backend_optimization_level": 2}
    return jax.jit(
        function,
        compiler_options=options if jax.default_backend() == "cpu" else None,
        **how,
    )


class Placement(NamedTuple):
    """How blocks of users are spread over devices, by the functions of `training.parallel`."""

    devices: int
    spread: Function
    lay: Function


@dataclass(frozen=True)
class Ranker:
    """A model with its variables, over one log: what it knows, and whom it ranks for.

    Attributes:
        block: users scored at a time on each device.
        placement: the devices; one without it.
    """

    model: Model
    variables: Variables
    log: EventLog
    catalogue: Catalogue
    block: int = USERS_PER_BLOCK
    placement: Placement | None = None

    def with_variables(self, variables: Variables) -> Ranker:
        """The same ranker with other variables; compiled programs are shared."""
        other = replace(self, variables=variables)
        other.__dict__.update(_encode=self._encode, _program=self._program)
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
    def _encode(self) -> Function:
        return jax.jit(self.model.encode_items)

    @cached_property
    def item_side(self) -> Any:
        """The item side of the whole catalogue, computed once."""
        return self._encode(
            self.variables, self.catalogue, jnp.arange(self.items, dtype=jnp.int32)
        )

    @cached_property
    def _tables(self) -> tuple[Any, ...]:
        tables = self.variables, self.log, self.catalogue, self.item_side
        return self.placement.lay(tables) if self.placement else tables

    @cached_property
    def _program(self) -> Callable[..., Function]:
        """_program(method, *fixed) is method(self, *fixed, tables, *rows) compiled, as a function of tables and rows."""

        def program(method: Function, *fixed: Any) -> Function:
            function = partial(method, self, *fixed)
            return (
                _over_devices(function, self.placement)
                if self.placement
                else compiled(function)
            )

        return cache(program)

    def block_sizes(self, block: int) -> list[int]:
        """The few numbers of users that programs are compiled for, the largest being `block` on each device."""
        devices = self.placement.devices if self.placement else 1
        return [devices * size for size in (*SMALL_BLOCKS, block) if size <= block]

    def _results(
        self,
        program: Function,
        block: int,
        user: np.ndarray,
        minute: np.ndarray,
        *more: Callable[[slice], np.ndarray],
    ) -> Iterator[tuple[slice, list[np.ndarray]]]:
        """What `program` finds for a block of users, moments and `more` at a time, padded to one of the `block_sizes`.

        The last it returns is whether scores are NaN, which raises NumericalError. Several blocks are computed at a
        time, by threads: JAX runs the programs of one thread one after the other, and the many small steps of a
        program leave cores idle. Programs in which devices talk to each other take turns.
        """
        sizes, tables = self.block_sizes(block), self._tables
        parts = [
            slice(begin, min(begin + sizes[-1], len(user)))
            for begin in range(0, len(user), sizes[-1])
        ]

        def found(part: slice) -> Any:
            rows = part.stop - part.start
            fill = np.minimum(
                np.arange(next(size for size in sizes if size >= rows)), rows - 1
            )
            columns = user[part], minute[part], *(column(part) for column in more)
            return [
                np.asarray(x)
                for x in program(tables, *(column[fill] for column in columns))
            ]

        with ThreadPoolExecutor(1 if self.placement else BLOCKS_AT_ONCE) as pool:
            each = (
                pool.map if len(parts) > 1 else map
            )  # one alone is done before a thread has taken it over
            for part, values in zip(parts, each(found, parts), strict=True):
                *results, broken = (x[: part.stop - part.start] for x in values)
                if broken.any():
                    raise NumericalError(
                        "the model's scores are NaN; train again with a lower --optim.learning-rate"
                    )
                yield part, results

    def _user_side(self, tables: Any, user: Array, minute: Array) -> Any:
        """The model's user side of what the log holds of users [B] at `minute` [B]."""
        variables, log, catalogue, _ = tables
        length = self.model.history_length if isinstance(self.model, NeuralModel) else 1
        return self.model.encode_users(
            variables, log, catalogue, query_after_log(log, user, minute, length)
        )

    def _scan(
        self, tables: Any, user: Array, minute: Array, keep_seen: bool, visit: Function
    ) -> tuple[Any, Array]:
        """visit(scores [B, C], first item) of chunks of items, stacked, and the first item of each.

        Scores are -inf for items that the user already has, unless `keep_seen`, and where the last chunk overlaps
        the one before.
        """
        variables, log, _, item_side = tables
        side = self._user_side(tables, user, minute)
        width, size = self._sizes(variables, side, item_side)
        fresh = jnp.arange(-(-self.items // width), dtype=jnp.int32) * width
        begins, row = jnp.minimum(fresh, self.items - width), jnp.maximum(user, 0)
        end = jnp.where(user >= 0, log.seen_start[row + 1], 0)

        def one(place: Array, chunk: tuple[Array, Array]) -> tuple[Array, Any]:
            begin, first = chunk

            def tile(number: Array, scores: Array) -> Array:
                part = jax.tree.map(
                    lambda x: jax.lax.dynamic_slice_in_dim(
                        x, begin + number * size, size
                    ),
                    item_side,
                )
                return jax.lax.dynamic_update_slice(
                    scores, self.model.score(variables, side, part), (0, number * size)
                )

            scores = jax.lax.fori_loop(
                0, width // size, tile, jnp.zeros((len(user), width))
            )
            scores = jnp.where(
                (jnp.arange(width) >= first - begin)[None, :], scores, -jnp.inf
            )
            if not keep_seen:
                scores, place = _hide_seen(
                    scores,
                    begin,
                    log.seen_item,
                    place,
                    end,
                    min(SEEN_SLOTS, self.max_seen),
                )
            return place, visit(scores, begin)

        return jax.lax.scan(one, log.seen_start[row], (begins, fresh))[1], begins

    def _sizes(
        self, variables: Variables, side: Any, item_side: Any
    ) -> tuple[int, int]:
        """Items per chunk, and per tile.

        A chunk holds VALUES_PER_CHUNK scores at most, or values of the item side if these are more, and the widest
        result of scoring a tile VALUES_PER_TILE; 128 times as many on accelerators, where it takes more to begin a
        tile than a cache gives. Where nothing is wider than what is read and the scores, a chunk is one tile.
        """
        few, most = (
            min(self.items, 1024),
            VALUES_PER_TILE << (0 if jax.default_backend() == "cpu" else 7),
        )
        part = jax.tree.map(lambda x: x[:few], item_side)
        trace = jax.make_jaxpr(partial(self.model.score, variables))(side, part)
        least = max(x.size for x in (trace.out_avals[0], *jax.tree.leaves(part)))
        widest = max(out.aval.size for step in trace.eqns for out in step.outvars)
        chunks = -(-self.items * least // (few * VALUES_PER_CHUNK))
        tiles = (
            max(-(-self.items * widest // (few * most)), chunks)
            if widest > least
            else chunks
        )
        # Tiles are of one size, as are chunks; two chunks at least, as one might be longer than the catalogue.
        tiles, chunks = min(tiles, self.items), max(chunks, min(tiles, 2))
        return -(-tiles // chunks) * -(-self.items // tiles), -(-self.items // tiles)

    def _top(
        self, n: int, keep_seen: bool, tables: Any, user: Array, minute: Array
    ) -> tuple[Array, Array, Array]:
        def select(scores: Array, begin: Array) -> tuple[Array, Array, Array]:
            best, at, broken = best_of(scores, min(n, scores.shape[1]))
            return best, at + begin, broken

        (scores, ids, broken), _ = self._scan(tables, user, minute, keep_seen, select)
        scores, ids = (
            jnp.moveaxis(x, 0, 1).reshape(len(user), -1) for x in (scores, ids)
        )
        best, at = jax.lax.top_k(
            scores, n
        )  # the chunks ascend, so the first of equals has the lowest row number
        return jnp.take_along_axis(ids, at, axis=1), best, broken.any(0)

    def top_n(
        self, user: np.ndarray, minute: np.ndarray, n: int, keep_seen: bool
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each block of users: items [b, n] by falling score (ties by row number), and scores [b, n].

        Where a user has fewer than n eligible items the rest is -1 with score -inf. Raises NumericalError
        for scores that are not numbers.
        """
        n = min(n, self.items)
        program = self._program(
            Ranker._top, min(1 << (n - 1).bit_length(), self.items), keep_seen
        )
        for _, (ids, scores) in self._results(program, self.block, user, minute):
            yield np.where(scores > -np.inf, ids, -1)[:, :n], scores[:, :n]

    def _rank(
        self, keep_seen: bool, tables: Any, user: Array, minute: Array, positive: Array
    ) -> tuple[Array, ...]:
        scores, begins = self._scan(
            tables, user, minute, keep_seen, lambda scores, begin: scores
        )  # [chunks, B, C]
        item = jnp.maximum(positive, 0)
        own = scores[
            item // scores.shape[2],
            jnp.arange(len(user))[:, None],
            item - begins[item // scores.shape[2]],
        ]

        def count(
            true: Array,
        ) -> Array:  # of [chunks, B, C]; on CPUs a product is faster than XLA's sum
            return (
                (true.astype(jnp.float32) @ jnp.ones(true.shape[2]))
                .astype(jnp.int32)
                .sum(0)
            )

        def among(score: Array) -> tuple[Array, Array]:
            return count(scores > score[None, :, None]), count(
                scores == score[None, :, None]
            ) - 1

        greater, equal = jax.lax.map(among, own.T)
        return (
            positive,
            own,
            greater.T,
            equal.T,
            count(scores > -jnp.inf),
            count(~(scores >= -jnp.inf)) > 0,
        )

    def ranks(
        self, heldout: Heldout, keep_seen: bool, progress: Progress = unwatched
    ) -> tuple[Ranks, np.ndarray]:
        """Where each held-out item stands among all eligible items, and which held-out items [E] are eligible.

        A held-out item that the user already has is not eligible unless `keep_seen`; it is left out.
        """
        program, block = (
            self._program(Ranker._rank, keep_seen),
            max(min(self.block, VALUES_HELD // self.items), 1),
        )
        columns: list[list[np.ndarray]] = []
        found = self._results(
            program,
            block,
            heldout.user,
            heldout.minute,
            partial(padded_positives, heldout),
        )
        for part, (positive, *ranked, size) in found:
            columns.append([*(x[positive >= 0] for x in ranked), size])
            progress(part.stop, len(heldout.user))
        own, greater, equal, size = (
            np.concatenate(column) for column in zip(*columns, strict=True)
        )
        eligible = own > -np.inf
        start = np.append(0, np.cumsum(eligible))[heldout.start]
        greater, equal, size = (
            x.astype(np.int64) for x in (greater[eligible], equal[eligible], size)
        )
        return Ranks(start, greater, equal, size, own[eligible]), eligible

    def _pairs(
        self, tables: Any, user: Array, minute: Array, items: Array
    ) -> tuple[Array, Array]:
        variables, _, catalogue, _ = tables
        item_side = self.model.encode_items(variables, catalogue, items)
        scores = self.model.score(
            variables, self._user_side(tables, user, minute), item_side
        )
        return scores, jnp.isnan(scores).any(1)

    def candidate_scores(
        self, user: np.ndarray, minute: np.ndarray, items: np.ndarray, block: int = 256
    ) -> np.ndarray:
        """Scores float32 [Q, C] of each user's own candidates int32 [Q, C]."""
        blocks = self._results(
            self._program(Ranker._pairs), block, user, minute, lambda part: items[part]
        )
        return np.concatenate(
            [
                np.empty((0, items.shape[1]), np.float32),
                *(scores for _, (scores,) in blocks),
            ]
        )


def padded_positives(heldout: Heldout, part: slice) -> np.ndarray:
    """Held-out items [b, P] of a part of the queries, -1 padded; P is a power of two, for few compiled programs."""
    start = heldout.start[part.start : part.stop + 1]
    counts = np.diff(start)
    items = np.full(
        (len(counts), 1 << int(max(counts.max(), 1) - 1).bit_length()), -1, np.int32
    )
    items[np.arange(items.shape[1]) < counts[:, None]] = heldout.item[
        start[0] : start[-1]
    ]
    return items


def best_of(scores: Array, n: int) -> tuple[Array, Array, Array]:
    """The n best scores [B, n] of [B, C], their places (of equals the lowest first), and [B] whether any is NaN.

    In two stages where that is faster: the n groups of neighbours with the best maxima (of equals the first),
    then the best of their members. It is exact: were one of the n best in another group, each of the n chosen
    groups would hold a member that comes before it.
    """
    groups = scores.shape[1] // GROUP
    if groups < 4 * n:
        return *jax.lax.top_k(scores, n), jnp.isnan(scores).any(1)
    whole = groups * GROUP
    members, rest = scores[:, :whole].reshape(-1, groups, GROUP), scores[:, whole:]
    maxima = members.max(2)
    chosen = jnp.sort(
        jax.lax.top_k(maxima, n)[1], axis=1
    )  # ascending, so that equals stay in their order
    few = jnp.take_along_axis(members, chosen[:, :, None], axis=1).reshape(
        -1, n * GROUP
    )
    best, at = jax.lax.top_k(jnp.concatenate([few, rest], 1), n)
    group = jnp.take_along_axis(chosen, jnp.minimum(at // GROUP, n - 1), axis=1)
    place = jnp.where(
        at < n * GROUP, group * GROUP + at % GROUP, at - n * GROUP + whole
    )
    return best, place, jnp.isnan(maxima).any(1) | jnp.isnan(rest).any(1)


def _hide_seen(
    scores: Any, begin: Array, seen: Array, place: Array, end: Array, slots: int
) -> tuple[Array, Array]:
    """Scores [B, C] of the items from `begin` on, with -inf at those in seen[place : end], and the places behind them.

    `place` and `end` are [B]; a user's seen items ascend, so that each is visited once, in whatever chunk it is.
    """
    rows, width = scores.shape

    def hide(state: tuple[jax.Array, Array, Array]) -> tuple[jax.Array, Array, Array]:
        scores, place, _ = state
        slot = place[:, None] + jnp.arange(slots, dtype=jnp.int32)[None, :]
        item = jnp.where(
            slot < end[:, None], jnp.take(seen, slot, mode="clip") - begin, width
        )
        scores = scores.at[jnp.arange(rows)[:, None], item].set(-jnp.inf, mode="drop")
        return (
            scores,
            place + (item < width).sum(1, dtype=jnp.int32),
            jnp.any(item[:, -1] < width),
        )

    return jax.lax.while_loop(
        lambda state: state[2], hide, (scores, place, jnp.array(True))
    )[:2]


def _over_devices(function: Function, placement: Placement) -> Function:
    """function(tables, *rows) with the rows split over the devices, which already hold the tables."""

    def on_device(_: Any, tables: Any, rows: tuple[Array, ...]) -> Any:
        return jax.tree.map(
            partial(jax.lax.all_gather, axis_name=AXIS, tiled=True),
            function(tables, *rows),
        )

    run = placement.spread(on_device, "shard_map", (False, False, True), False)
    return lambda tables, *rows: run(
        (), tables, tuple(x.reshape(placement.devices, -1, *x.shape[1:]) for x in rows)
    )
