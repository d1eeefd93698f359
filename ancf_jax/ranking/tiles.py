"""How many items are scored at a time: chunks of the catalogue, in tiles.

Of a chunk the seen items are hidden and the best are chosen. A tile is what the model scores at
once, so that its largest intermediate result stays small.
"""

from collections.abc import Callable
from typing import Any

import jax

from ancf_jax.machine import sizes
from ancf_jax.types import Array

SAMPLE = 1024  # items for which the sizes of results are found out

Score = Callable[[Any, Any], Array]


def chunk_sizes(
    score: Score, users: Any, item_side: Any, items: int
) -> tuple[int, int]:
    """Items per chunk and per tile, as many as `machine.sizes` allows.

    A chunk holds `values_per_chunk()` scores, or values of the item side where these are more.
    The largest result of scoring a tile has `values_per_tile()` values. Where no result is larger
    than what is read and the scores, a chunk is one tile. All tiles are of one size, and so are
    all chunks.

    Args:
        score: of the user side and an item side, see `Model`.
        users: the user side of a block.
        item_side: the item side of the catalogue.
        items: size of the catalogue.

    Returns:
        The size of a chunk, at most the catalogue and a multiple of the size of a tile; and
        the size of a tile, at least 1.
    """
    sample = min(items, SAMPLE)
    part = jax.tree.map(lambda x: x[:sample], item_side)
    needed, largest = _values(score, users, part)

    chunks = ceil_div(items * needed, sample * sizes.values_per_chunk())
    tiles = chunks
    if largest > needed:
        per_tile = sizes.values_per_tile()
        tiles = max(ceil_div(items * largest, sample * per_tile), chunks)
    tiles = min(tiles, items)
    # Several tiles need two chunks: whole tiles in one chunk may exceed the catalogue.
    chunks = max(chunks, min(tiles, 2))

    tile_size = ceil_div(items, tiles)
    tiles_per_chunk = ceil_div(tiles, chunks)
    return tiles_per_chunk * tile_size, tile_size


def _values(score: Score, users: Any, item_side: Any) -> tuple[int, int]:
    """The size of the largest array that scoring needs anyway, and of the largest on the way.

    It needs the leaves of the item side and the scores.
    """
    trace = jax.make_jaxpr(score)(users, item_side)
    needed = [trace.out_avals[0].size]
    needed += [leaf.size for leaf in jax.tree.leaves(item_side)]
    results = [result.aval.size for step in trace.eqns for result in step.outvars]
    return max(needed), max(results)


def ceil_div(number: int, divisor: int) -> int:
    """`number / divisor`, rounded up."""
    return -(-number // divisor)
