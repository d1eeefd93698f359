"""How much is worked on at a time: numbers that depend on the machine and not on the model."""

import math

from ancf_jax.machine.devices import backend


def softmax_rows(items: int) -> int:
    """Rows that `objective.losses.product_softmax` scores at a time against so many items.

    2**21 scores, or 32 rows where the catalogue is so long that those would be fewer.
    """
    # Measured on two CPU cores: value and gradient of 3,200 rows of width 64 against 3,416 items
    # take 55 to 65 ms with 77 to 613 rows at a time (2**18 to 2**21 scores), 80 ms with 32 rows,
    # and 100 ms with all, whose scores no longer stay in the cache.
    return max(32, 2**21 // items)


USERS_PER_BLOCK = 96
"""Users that a device ranks for at a time."""
BLOCKS_AT_ONCE = 4
"""Blocks of users that are computed at a time on one device; by measurement on two CPU cores."""
WAITING_BLOCKS = 2
"""Finished blocks of users that may wait for whoever takes the results, besides those at work."""
VALUES_PER_CHUNK = 3 << 18
"""Scores of a block of users among which seen ones are hidden and the best chosen at a time; by
measurement on two CPU cores."""
VALUES_HELD = 1 << 22
"""Scores of a block of users that are held together; more take long to allocate."""
VALUES_PER_TILE = 3 << 15
"""Values of the largest intermediate result of scoring that stay in the cache of one CPU core; by
measurement."""


def values_per_tile() -> int:
    """Values of the largest intermediate result of scoring at a time.

    128 times as many on accelerators, where beginning a tile takes more than a cache gives.
    """
    return VALUES_PER_TILE if backend() == "cpu" else VALUES_PER_TILE << 7


def blocks_at_once(devices: int) -> int:
    """Blocks of users that are computed at a time, by threads.

    JAX runs the programs of one thread one after the other, and the many small steps of a program
    leave cores idle. Programs in which devices talk to each other take turns.
    """
    return BLOCKS_AT_ONCE if devices == 1 else 1


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
