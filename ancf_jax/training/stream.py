"""Training events in chunks, for logs that do not fit on a device or that several hosts share.

Users are cut into blocks of about equally many events, and every block belongs to one of a fixed number of lanes; a
device trains on some lanes. An epoch shuffles twice: the blocks within a lane, and the examples within the few blocks
of a chunk. The lanes of a batch are those of all devices, so that batches depend neither on the number of devices
nor on that of processes, as long as it divides the lanes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ancf_jax.data.histories import pack_windows
from ancf_jax.types import Array, EventLog

LANES = 8  # unless the devices do not divide them
BLOCKS = 4  # of a lane in a chunk


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

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Users where blocks begin, and the number of users: int [blocks + 1]."""
        total = int(self.log.start[-1])
        chunks = -(-total // (self.events * self.devices)) if self.events else 1
        block = -(-total // (chunks * lanes(self.devices) * BLOCKS))
        cuts = np.searchsorted(self.log.start, np.arange(0, total, block))
        return np.unique([*cuts, 0, len(self.log.start) - 1])

    def epoch(self, epoch: int) -> Iterator[tuple[EventLog, np.ndarray]]:
        """The chunks of an epoch, a function of seed and epoch: a log and examples int32 [steps, batch / devices, ...].

        Both are NumPy arrays with the device as leading axis; examples of -1 are padding.
        """
        count = lanes(self.devices)
        size, chunks = (
            self.batch_size // count,
            math.ceil((len(self._bounds) - 1) / (count * BLOCKS)),
        )
        for number in range(chunks):
            logs, examples = zip(
                *(self._held_by(device, epoch, number) for device in self.local),
                strict=True,
            )
            steps = self.agree(
                max(
                    math.ceil(len(lane) / size)
                    for device in examples
                    for lane in device
                )
            )
            rows = [
                np.concatenate(
                    [padded_steps(lane, steps, size) for lane in device], axis=1
                )
                for device in examples
            ]
            yield EventLog(*map(np.stack, zip(*logs, strict=True))), np.stack(rows)

    def _held_by(
        self, device: int, epoch: int, number: int
    ) -> tuple[EventLog, list[np.ndarray]]:
        """What a device has of chunk `number`: the log of its lanes' users, and the examples of each lane."""
        share, examples = lanes(self.devices) // self.devices, []
        mine = range(device * share, (device + 1) * share)
        users = [self._users(lane, epoch, number) for lane in mine]
        log = self._part(np.concatenate(users))
        for lane, (begin, end) in zip(
            mine, pairwise(np.cumsum([0, *map(len, users)])), strict=True
        ):
            own = examples_of(np.asarray(log.start[begin : end + 1]), self.window)
            examples.append(
                np.random.default_rng((self.seed, epoch, number, lane)).permutation(own)
            )
        return log, examples

    def _users(self, lane: int, epoch: int, number: int) -> np.ndarray:
        blocks = np.arange(lane, len(self._bounds) - 1, lanes(self.devices))
        order = np.random.default_rng((self.seed, epoch, lane)).permutation(blocks)
        return _ranges(self._bounds, order[number * BLOCKS : (number + 1) * BLOCKS])[0]

    @cached_property
    def _room(self) -> list[int]:
        """Most users, events and seen items that a device's part can have."""
        blocks, offsets = (
            BLOCKS * lanes(self.devices) // self.devices,
            (self.log.start, self.log.seen_start),
        )
        sizes = [
            np.sort(np.diff(offset[self._bounds]))[-blocks:]
            for offset in (np.arange(len(offsets[0])), *offsets)
        ]
        return [max(1, int(size.sum())) for size in sizes]

    def _part(self, users: np.ndarray) -> EventLog:
        """The log of `users` alone, padded so that every part has the same shapes."""
        rows, events, seen = self._room
        (event, start), (item, seen_start) = (
            _ranges(o, users) for o in (self.log.start, self.log.seen_start)
        )
        row = np.repeat(np.arange(len(users), dtype=np.int32), np.diff(start))
        columns = (
            row,
            *(
                column[event]
                for column in self.log[1 : EventLog._fields.index("start")]
            ),
        )
        starts = (
            padded(start, rows + 1, start[-1]),
            padded(seen_start, rows + 1, seen_start[-1]),
        )
        seen_items, number = (
            padded(self.log.seen_item[item], seen),
            padded(self.log.number[users], rows),
        )
        return EventLog(
            *(padded(x, events) for x in columns),
            starts[0],
            seen_items,
            starts[1],
            number,
        )  # pyrefly: ignore


def lanes(devices: int) -> int:
    """Number of lanes for so many devices."""
    return LANES if LANES % devices == 0 else devices


def examples_of(start: np.ndarray, window: int) -> np.ndarray:
    """The examples int32 of users with the events start[0] .. start[-1] - 1: each, or rows of `window` of them."""
    return (
        pack_windows(start, window)
        if window
        else np.arange(start[0], start[-1], dtype=np.int32)
    )


def _ranges(start: Array, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers start[r] .. start[r + 1] - 1 of all `rows` r, and the offsets int32 [n + 1] of each among them."""
    size = start[rows + 1] - start[rows]
    offsets = np.append(0, np.cumsum(size)).astype(np.int32)
    return np.repeat(start[rows] - offsets[:-1], size) + np.arange(offsets[-1]), offsets


def padded_steps(examples: np.ndarray, steps: int, batch: int) -> np.ndarray:
    """Examples int32 [n, ...] as [steps, batch, ...], -1 padded."""
    return padded(examples, steps * batch, -1).reshape(
        steps, batch, *examples.shape[1:]
    )


def padded(x: Array, length: int, value: float = 0, axis: int = 0) -> np.ndarray:
    """`x` filled up with `value` to a length along one axis."""
    missing = np.full(
        (*x.shape[:axis], length - x.shape[axis], *x.shape[axis + 1 :]), value, x.dtype
    )
    return np.concatenate([x, missing], axis)
