"""Work on users a block at a time: padding to few sizes, several blocks at once, in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import jax
import numpy as np

from ancf_jax.errors import NumericalError, UserError
from ancf_jax.machine import sizes
from ancf_jax.machine.memory import in_gigabytes, memory_of_device
from ancf_jax.types import Array, Heldout

BYTES_PER_PLACE = 8  # of a list: the number of an item, and its score

Part = TypeVar("Part")
Result = TypeVar("Result")
Columns = tuple[np.ndarray, ...]
Begun = tuple[int, Sequence[Array]]  # how many users, and what the device has to find


def block_sizes(block: int, devices: int) -> list[int]:
    """The few numbers of users that programs are compiled for, at most `block` on each device."""
    per_device = [size for size in (*sizes.small_blocks(), block) if size <= block]
    return [devices * size for size in per_device]


def results_in_blocks(
    program: Callable[..., Sequence[Array]],
    columns_of: Callable[[slice], Columns],
    users: int,
    padded_sizes: list[int],
    blocks_at_once: int,
) -> Iterator[tuple[slice, Columns]]:
    """What `program` finds for a block of users at a time, in order.

    Args:
        program: takes columns [B, ...] and returns others, the last of which says whether the
            scores of a user are NaN.
        columns_of: the columns of a part of the users.
        users: how many users there are.
        padded_sizes: ascending numbers of users that `program` is given.
        blocks_at_once: how many blocks are computed at a time.

    Yields:
        A part of the users, and the results without the last.

    Raises:
        NumericalError: scores are NaN.
    """

    def begin(part: slice) -> Begun:
        count = part.stop - part.start
        padded = next(size for size in padded_sizes if size >= count)
        return count, program(*_padded(columns_of(part), padded))

    parts = parts_of(users, padded_sizes[-1])
    computed = _computed(begin, parts, blocks_at_once)
    for part, (*results, is_nan) in zip(parts, computed, strict=True):
        if is_nan.any():
            raise NumericalError(
                "the model's scores are NaN; "
                "train again with a lower --optim.learning-rate"
            )
        yield part, tuple(results)


def _computed(
    begin: Callable[[slice], Begun], parts: Sequence[slice], at_once: int
) -> Iterator[Columns]:
    """What is found for each part, in the way that suits the devices."""
    if sizes.ranks_by_threads():
        return map_ahead(lambda part: _fetch(begin(part)), parts, at_once)
    return queue_ahead(lambda part: _copying(begin(part)), _fetch, parts, at_once)


def _padded(columns: Columns, size: int) -> Columns:
    """Columns of `size` rows; the last row fills up."""
    count = len(columns[0])
    rows = np.minimum(np.arange(size), count - 1)
    return tuple(column[rows] for column in columns)


def _copying(begun: Begun) -> Begun:
    """The same, with the copy to the host asked for as soon as there is something to copy."""
    for found in begun[1]:
        if isinstance(found, jax.Array):
            found.copy_to_host_async()
    return begun


def _fetch(begun: Begun) -> Columns:
    """What was found for the users that count, on the host."""
    count, found = begun
    return tuple(np.asarray(x)[:count] for x in found)


def require_memory(users: int, length: int, devices: int) -> None:
    """Refuses lists of so many places for so many users at a time that no device could hold.

    Raises:
        UserError: with the estimate.
    """
    blocks_at_once = sizes.blocks_at_once(devices)
    needed = blocks_at_once * users * length * BYTES_PER_PLACE
    at_hand = memory_of_device()
    if needed > at_hand:
        raise UserError(
            f"lists of {length:,} items for {users} users at a time take at least "
            f"{in_gigabytes(needed)}, expected at most the {in_gigabytes(at_hand)} that a device "
            "can hold; lower --top-n"
        )


def parts_of(total: int, size: int) -> list[slice]:
    """0 .. total in parts of `size`, the last of which may be smaller."""
    begins = range(0, total, size)
    return [slice(begin, min(begin + size, total)) for begin in begins]


def map_ahead(
    function: Callable[[Part], Result], parts: Sequence[Part], at_once: int
) -> Iterator[Result]:
    """function(part) of every part, in order, computed by `at_once` threads.

    While the results wait to be taken, at most `at_once + WAITING_BLOCKS` parts are computed
    ahead, so that memory does not grow with the parts where the consumer is slow.
    """
    if len(parts) <= 1:  # done before a thread has taken it over
        yield from map(function, parts)
        return
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for part in parts:
                if len(ahead) == at_once + sizes.WAITING_BLOCKS:
                    yield ahead.popleft().result()
                ahead.append(pool.submit(function, part))
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def queue_ahead(
    begin: Callable[[Part], Begun],
    fetch: Callable[[Begun], Result],
    parts: Sequence[Part],
    at_once: int,
) -> Iterator[Result]:
    """fetch(begin(part)) of every part, in order, for a device that works while the host waits.

    `at_once` parts have begun before the first of them is fetched, so that the device has work
    while results are copied and taken.
    """
    queue: deque[Begun] = deque()
    for part in parts:
        if len(queue) == at_once:
            yield fetch(queue.popleft())
        queue.append(begin(part))
    while queue:
        yield fetch(queue.popleft())


def padded_positives(heldout: Heldout, part: slice) -> np.ndarray:
    """Held-out items int32 [b, P] of a part of the requests, -1 where there are fewer than P.

    P is a power of two, for few compiled programs.
    """
    start = heldout.start[part.start : part.stop + 1]
    counts = np.diff(start)
    width = power_of_two(int(max(counts.max(), 1)))
    items = np.full((len(counts), width), -1, np.int32)
    is_item = np.arange(width) < counts[:, None]
    items[is_item] = heldout.item[start[0] : start[-1]]
    return items


def power_of_two(number: int) -> int:
    """The smallest power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()
