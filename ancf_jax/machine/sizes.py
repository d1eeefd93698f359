"""How much is worked on at a time: numbers that depend on the machine and not on the model."""

import math

from ancf_jax.machine.devices import backend
from ancf_jax.machine.memory import memory_of_device


def softmax_rows(items: int) -> int:
    """Rows that `objective.losses.product_softmax` scores at a time against so many items.

    2**21 scores on CPUs and 2**24 (64 MiB) on accelerators, or 32 rows where the catalogue is so
    long that those would be fewer.
    """
    # Measured on two CPU cores: value and gradient of 3,200 rows of width 64 against 3,416 items
    # take 55 to 65 ms with 77 to 613 rows at a time (2**18 to 2**21 scores), 80 ms with 32 rows,
    # and 100 ms with all, whose scores no longer stay in the cache.
    # On an H100 the step took three quarters of its time in loops over chunks of that size.
    scores = 2**21 if backend() == "cpu" else 2**24
    return max(32, scores // items)


def query_rows(queries: int) -> int:
    """Queries of a causal attention that meet the keys at a time.

    On CPUs so many that the keys beyond the last need not be looked at: nearly half of the work
    for long histories. On accelerators all of them, in one product.
    """
    return 64 if backend() == "cpu" else queries


USERS_PER_BLOCK = 96
"""Users that a CPU ranks for at a time."""
SMALL_BLOCKS = (1, 8, 32)
"""Smaller numbers of users that a CPU ranks for, so that few do not pay for a whole block."""
BLOCKS_AT_ONCE = 4
"""Blocks of users that are computed at a time on one CPU device; by measurement on two cores."""
WAITING_BLOCKS = 2
"""Finished blocks of users that may wait for whoever takes the results, besides those at work."""
VALUES_PER_CHUNK = 3 << 18
"""Scores of a block of users among which a CPU hides seen ones and chooses the best at a time; by
measurement on two cores."""
VALUES_HELD = 1 << 22
"""Scores of a block of users that a CPU holds together; more take long to allocate."""
VALUES_PER_TILE = 3 << 15
"""Values of the largest intermediate result of scoring that stay in the cache of one CPU core; by
measurement."""

# An H100 was idle four fifths of a ranking in blocks and tiles of a CPU: every kernel has to be
# begun, and every result fetched. So accelerators take as much at a time as their memory allows.
ACCELERATOR_USERS_PER_BLOCK = 4096
"""Users that an accelerator ranks for at a time."""
ACCELERATOR_SMALL_BLOCKS = (1, 32, 512)
"""Smaller numbers of users that an accelerator ranks for."""
ACCELERATOR_VALUES = 1 << 28
"""Values of the largest array of a ranking on an accelerator, 1 GiB; less where that is more than
a 64th of its memory: compiled for a TPU, a ranking of `ancf` held six such arrays together."""


def users_per_block() -> int:
    """Users that a device ranks for at a time."""
    return USERS_PER_BLOCK if backend() == "cpu" else ACCELERATOR_USERS_PER_BLOCK


def small_blocks() -> tuple[int, ...]:
    """Smaller numbers of users that a device ranks for, ascending."""
    return SMALL_BLOCKS if backend() == "cpu" else ACCELERATOR_SMALL_BLOCKS


def values_per_chunk() -> int:
    """Scores of a block of users among which seen ones are hidden and the best chosen at a time."""
    return VALUES_PER_CHUNK if backend() == "cpu" else _accelerator_values()


def values_held() -> int:
    """Scores of a block of users that are held together."""
    return VALUES_HELD if backend() == "cpu" else _accelerator_values()


def values_per_tile() -> int:
    """Values of the largest intermediate result of scoring at a time."""
    return VALUES_PER_TILE if backend() == "cpu" else _accelerator_values()


def _accelerator_values() -> int:
    """Float32 values of one array of a ranking on an accelerator."""
    in_a_64th = memory_of_device() / 64 / 4
    return int(min(ACCELERATOR_VALUES, in_a_64th))


def ranks_by_threads() -> bool:
    """Whether several blocks of users are computed at a time by threads.

    JAX runs the programs of one thread one after the other on a CPU, and the many small steps of a
    program leave cores idle. Accelerators have queues of their own.
    """
    return backend() == "cpu"


def blocks_at_once(devices: int) -> int:
    """Blocks of users that are computed, or stand in a device's queue, at a time.

    Programs in which devices talk to each other take turns.
    """
    if devices > 1:
        return 1
    return BLOCKS_AT_ONCE if backend() == "cpu" else 2


MIN_ROWS_FOR_ROW_UPDATES = 50_000
"""Tables of at most so many rows are updated whole; that costs next to nothing, by measurement."""
MIN_ROWS_PER_TOUCHED_ROW = 4
"""Longer tables are updated by row where they have more than so many rows for each that a step
touches."""
CALLS_PER_EPOCH = 20
"""How often in an epoch the host hears from the devices, unless calls were too short then."""
MIN_STEPS_PER_CALL = 8
"""Training steps of a call that is not too short: a call asks the system for memory of its own,
which on CPUs takes up to half as long as a step."""
MAX_DRAWN = 1 << 22
"""Candidates, about, that are drawn for a call; they are in memory together."""


def steps_per_call(steps: int, drawn: int) -> int:
    """Training steps that one call of the program does.

    Args:
        steps: of an epoch.
        drawn: candidates that are drawn for a step.
    """
    most_calls = math.ceil(steps / MIN_STEPS_PER_CALL)
    even_share = math.ceil(steps / min(CALLS_PER_EPOCH, most_calls))
    return min(even_share, math.ceil(MAX_DRAWN / drawn))


def row_multiple() -> int:
    """Packed rows of tables are padded to a multiple of so many numbers.

    XLA copies rows of 33 to 39 numbers one by one and those of 40 as vectors. A TPU keeps rows of
    whole 128 numbers anyway; a table of narrower ones is handed to it column by column, and would
    be turned round, into a second table, and back in every call.
    """
    return 128 if backend() == "tpu" else 8
