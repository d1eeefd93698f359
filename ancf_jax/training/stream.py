"""Training events in chunks, for logs that do not fit on a device or that several hosts share.

Users are cut into blocks of about equally many events, and every block belongs to one of a fixed number of lanes; a
device trains on some lanes. An epoch shuffles twice: the blocks within a lane, and the examples within the few blocks
of a chunk. The lanes of a batch are those of all devices, so that batches depend neither on the number of devices
nor on that of processes, as long as it divides the lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ancf_jax.data.histories import pack_windows
from ancf_jax.types import Array, EventLog

LANES = 8  # unless the devices do not divide them
BLOCKS = 4  # of a lane in a chunk


class Chunk(NamedTuple):
    """What some devices train on before they get the next: NumPy arrays with the device as leading axis."""

    log: EventLog
    examples: np.ndarray  # int32 [devices, steps, batch / devices, ...], -1 padded


@dataclass(frozen=True)
class Stream:
    """A log as chunks for the devices of this process.

    Attributes:
        log: NumPy columns.
        window: length of the packed rows of examples; 0 where an example is one event.
        batch_size: examples per step over all devices; a multiple of the lanes.
        events: about how many events a device holds at a time; 0 for all of its lanes.
        local: the numbers of this process's devices, of `devices` in all.
        agree: the largest of the numbers that all processes call it with.
    """

    log: EventLog
    window: int
    batch_size: int
    events: int
    seed: int
    local: range
    devices: int
    agree: Callable[[int], int]

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return lanes(self.devices)

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Users where blocks begin, and the number of users: int [blocks + 1]."""
        total = int(self.log.start[-1])
        chunks = -(-total // (self.events * self.devices)) if self.events else 1
        block = -(-total // (chunks * self.lanes * BLOCKS))
        cuts = np.searchsorted(self.log.start, np.arange(0, total, block))
        return np.unique([*cuts, 0, len(self.log.start) - 1])

    @property
    def chunks(self) -> int:
        """Chunks of an epoch."""
        return -(-(len(self._bounds) - 1) // (self.lanes * BLOCKS))

    def epoch(self, epoch: int) -> Iterator[Chunk]:
        """The chunks of an epoch, a function of the seed and the epoch."""
        order = {lane: self._lane_order(lane, epoch) for device in self.local for lane in self._lanes_of(device)}
        for number in range(self.chunks):
            part = slice(number * BLOCKS, (number + 1) * BLOCKS)
            yield self._chunk({lane: blocks[part] for lane, blocks in order.items()}, (self.seed, epoch, number))

    def _lanes_of(self, device: int) -> range:
        share = self.lanes // self.devices
        return range(device * share, (device + 1) * share)

    def _lane_order(self, lane: int, epoch: int) -> np.ndarray:
        blocks = np.arange(lane, len(self._bounds) - 1, self.lanes)
        return np.random.default_rng((self.seed, epoch, lane)).permutation(blocks)

    def _chunk(self, blocks: dict[int, np.ndarray], key: tuple[int, ...]) -> Chunk:
        users = {lane: self._users(own) for lane, own in blocks.items()}
        examples = {lane: self._examples(own, (*key, lane)) for lane, own in users.items()}
        steps = self.agree(max(-(-len(own) // self._per_lane) for own in examples.values()))
        logs, rows = [], []
        for device in self.local:
            mine = self._lanes_of(device)
            logs.append(self._part(np.concatenate([users[lane] for lane in mine])))
            before = np.cumsum([0, *(self._count(users[lane]) for lane in mine)])
            shifted = [
                np.where(examples[lane] >= 0, examples[lane] + b, -1) for lane, b in zip(mine, before[:-1], strict=True)
            ]
            rows.append(np.concatenate([_steps(own, steps, self._per_lane) for own in shifted], axis=1))
        return Chunk(EventLog(*(np.stack(column) for column in zip(*logs, strict=True))), np.stack(rows))

    @property
    def _per_lane(self) -> int:
        return self.batch_size // self.lanes

    def _users(self, blocks: np.ndarray) -> np.ndarray:
        ranges = [np.arange(self._bounds[b], self._bounds[b + 1]) for b in blocks]
        return np.concatenate([*ranges, np.zeros(0, np.int64)]).astype(np.int64)

    def _count(self, users: np.ndarray) -> int:
        return int((self.log.start[users + 1] - self.log.start[users]).sum())

    def _examples(self, users: np.ndarray, key: tuple[int, ...]) -> np.ndarray:
        """The examples of a lane in the order of `key`; event numbers count from the first of `users`."""
        start = _offsets(self.log.start, users)
        examples = pack_windows(start, self.window) if self.window else np.arange(start[-1], dtype=np.int32)
        return np.random.default_rng(key).permutation(examples)

    @cached_property
    def _room(self) -> tuple[int, int, int]:
        """Most users, events and seen items that a device's part can have."""
        blocks = BLOCKS * self.lanes // self.devices
        offsets = (np.arange(len(self.log.start)), self.log.start, self.log.seen_start)
        sizes = (np.sort(np.diff(offset[self._bounds]))[::-1] for offset in offsets)
        users, events, seen = (max(1, int(size[:blocks].sum())) for size in sizes)
        return users, events, seen

    def _part(self, users: np.ndarray) -> EventLog:
        """The log of `users` alone, padded so that every part has the same shapes."""
        rows, events, seen = self._room
        start, seen_start = _offsets(self.log.start, users), _offsets(self.log.seen_start, users)
        event = np.repeat(self.log.start[users] - start[:-1], np.diff(start)) + np.arange(start[-1])
        item = np.repeat(self.log.seen_start[users] - seen_start[:-1], np.diff(seen_start)) + np.arange(seen_start[-1])
        columns = {
            name: _padded(column[event], events) for name, column in self.log._asdict().items() if name in COLUMNS
        }
        columns["user"] = _padded(np.repeat(np.arange(len(users), dtype=np.int32), np.diff(start)), events)
        return EventLog(
            **columns,
            start=_padded(start, rows + 1, start[-1]),
            seen_item=_padded(self.log.seen_item[item], seen),
            seen_start=_padded(seen_start, rows + 1, seen_start[-1]),
            number=_padded(self.log.number[users], rows),
        )


COLUMNS = ("user", "item", "minute", "value", "kind", "mean_dwell", "prior_kind", "prior_dwell")  # a value per event


def lanes(devices: int) -> int:
    """Number of lanes for so many devices."""
    return LANES if LANES % devices == 0 else devices


def _offsets(offsets: Array, users: np.ndarray) -> np.ndarray:
    """Offsets [n + 1] of `users` alone, one after the other."""
    return np.concatenate([[0], np.cumsum(offsets[users + 1] - offsets[users])]).astype(np.int32)


def _steps(examples: np.ndarray, steps: int, batch: int) -> np.ndarray:
    """Examples [n, ...] as [steps, batch, ...], -1 padded."""
    rows = np.full((steps * batch, *examples.shape[1:]), -1, np.int32)
    rows[: len(examples)] = examples
    return rows.reshape(steps, batch, *examples.shape[1:])


def _padded(column: Array, length: int, value: float = 0) -> np.ndarray:
    return np.concatenate([column, np.full(length - len(column), value, column.dtype)])
