"""Training events in chunks, for logs that do not fit on a device or that several hosts share.

Users are cut into blocks of about equally many events, and every block belongs to one of a fixed
number of lanes; a device trains on some lanes. An epoch shuffles twice: the blocks within a lane,
and the examples within the few blocks of a chunk. The lanes of a batch are those of all devices, so
that batches depend neither on the number of devices nor on that of processes, as long as it divides
the lanes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np

from ancf_jax.training.examples import examples_of, padded, padded_steps
from ancf_jax.types import Array, EventLog

LANES = 8  # unless the devices do not divide them
BLOCKS_PER_CHUNK = 4  # of a lane


def lanes(devices: int) -> int:
    """Number of lanes for so many devices."""
    return LANES if LANES % devices == 0 else devices


@dataclass(frozen=True)
class Stream:
    """A log as chunks for the devices of this process.

    Attributes:
        log: NumPy columns.
        window: length of the windows that are examples; 0 where an example is one event.
        batch_size: examples of a step over all devices; a multiple of the lanes.
        events: about how many events a device holds at a time; 0 for all of its lanes.
        seed: of the run.
        local: the numbers of this process's devices, of `devices` in all.
        devices: that share a step.
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

    def epoch(self, epoch: int) -> Iterator[tuple[EventLog, np.ndarray]]:
        """The chunks of an epoch, which are a function of seed and epoch.

        Yields:
            A log, and examples int32 [devices, steps, batch_size / devices, ...], -1 padded; both
            are NumPy arrays with the devices of this process as leading axis.
        """
        blocks = len(self._bounds) - 1
        chunks = math.ceil(blocks / (lanes(self.devices) * BLOCKS_PER_CHUNK))
        for chunk in range(chunks):
            logs = []
            examples = []
            for device in self.local:
                log, of_lanes = self._held_by(device, epoch, chunk)
                logs.append(log)
                examples.append(of_lanes)
            stacked = jax.tree.map(lambda *columns: np.stack(columns), *logs)
            yield stacked, self._in_steps(examples)

    def _in_steps(self, examples: list[list[np.ndarray]]) -> np.ndarray:
        """The examples of the lanes of each device as [devices, steps, batch / devices, ...].

        Every lane has an equal share of each step.
        """
        size = self.batch_size // lanes(self.devices)
        longest_lane = max(len(lane) for device in examples for lane in device)
        steps = self.agree(math.ceil(longest_lane / size))
        of_devices = []
        for device in examples:
            of_lanes = [padded_steps(lane, steps, size) for lane in device]
            of_devices.append(np.concatenate(of_lanes, axis=1))
        return np.stack(of_devices)

    def _held_by(
        self, device: int, epoch: int, chunk: int
    ) -> tuple[EventLog, list[np.ndarray]]:
        """What a device has of a chunk: the log of its lanes' users, each lane's examples."""
        share = lanes(self.devices) // self.devices
        own_lanes = range(device * share, (device + 1) * share)
        users = [self._users(lane, epoch, chunk) for lane in own_lanes]
        log = self._part(np.concatenate(users))
        examples = []
        begin = 0
        for lane, lane_users in zip(own_lanes, users, strict=True):
            end = begin + len(lane_users)
            start = np.asarray(log.start[begin : end + 1])
            rng = np.random.default_rng((self.seed, epoch, chunk, lane))
            examples.append(rng.permutation(examples_of(start, self.window)))
            begin = end
        return log, examples

    def _users(self, lane: int, epoch: int, chunk: int) -> np.ndarray:
        """The users of a lane's blocks in a chunk."""
        blocks = np.arange(lane, len(self._bounds) - 1, lanes(self.devices))
        rng = np.random.default_rng((self.seed, epoch, lane))
        begin = chunk * BLOCKS_PER_CHUNK
        own_blocks = rng.permutation(blocks)[begin : begin + BLOCKS_PER_CHUNK]
        return _ranges(self._bounds, own_blocks)[0]

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Users where blocks begin, and the number of users: int [blocks + 1]."""
        total = int(self.log.start[-1])
        chunks = 1
        if self.events:
            chunks = math.ceil(total / (self.events * self.devices))
        blocks = chunks * lanes(self.devices) * BLOCKS_PER_CHUNK
        block_events = math.ceil(total / blocks)
        cuts = np.searchsorted(self.log.start, np.arange(0, total, block_events))
        return np.unique([*cuts, 0, len(self.log.start) - 1])

    @cached_property
    def _room(self) -> tuple[int, int, int]:
        """The numbers of users, events and seen items that no device's part exceeds."""
        users = np.arange(len(self.log.start))
        return (
            self._largest_part(users),
            self._largest_part(np.asarray(self.log.start)),
            self._largest_part(np.asarray(self.log.seen_start)),
        )

    def _largest_part(self, offsets: np.ndarray) -> int:
        """The size of a device's part if all of its blocks were the largest; at least 1.

        Args:
            offsets: int [U + 1], of the sizes of users.
        """
        blocks = BLOCKS_PER_CHUNK * lanes(self.devices) // self.devices
        sizes = np.sort(np.diff(offsets[self._bounds]))
        return max(1, int(sizes[-blocks:].sum()))

    def _part(self, users: np.ndarray) -> EventLog:
        """The log of `users` alone, padded so that every part has the same shapes."""
        user_room, event_room, seen_room = self._room
        log = self.log
        event, start = _ranges(log.start, users)
        seen, seen_start = _ranges(log.seen_start, users)
        place = np.arange(len(users), dtype=np.int32)

        def of_events(column: Array) -> np.ndarray:
            return padded(column[event], event_room)

        def of_baskets(column: Array | None) -> np.ndarray | None:
            return None if column is None else of_events(column)

        return EventLog(
            user=padded(np.repeat(place, np.diff(start)), event_room),
            item=of_events(log.item),
            minute=of_events(log.minute),
            value=of_events(log.value),
            kind=of_events(log.kind),
            mean_dwell=of_events(log.mean_dwell),
            prior_kind=of_events(log.prior_kind),
            prior_dwell=of_events(log.prior_dwell),
            start=padded(start, user_room + 1, start[-1]),
            seen_item=padded(log.seen_item[seen], seen_room),
            seen_start=padded(seen_start, user_room + 1, seen_start[-1]),
            number=padded(log.number[users], user_room),
            basket_place=of_baskets(log.basket_place),
            basket_size=of_baskets(log.basket_size),
        )


def _ranges(start: Array, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers start[r] .. start[r + 1] - 1 of all rows r, and where each row's begin.

    Returns:
        The numbers int [n], and offsets int32 [rows + 1] into them.
    """
    size = start[rows + 1] - start[rows]
    offsets = np.append(0, np.cumsum(size)).astype(np.int32)
    shift = np.repeat(start[rows] - offsets[:-1], size)
    return shift + np.arange(offsets[-1]), offsets
