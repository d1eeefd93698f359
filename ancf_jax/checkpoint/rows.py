"""Tables whose rows are divided among devices: every process writes and reads its own rows.

A block of rows of a leaf is one array on disk, checkpoints/N/rows/P/LEAF.BEGIN, where P is the
process that wrote it. No process ever holds more than a block of it on the host, and none waits
for another: where one cannot write, the others are told, instead of hanging in a barrier.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tensorstore

from ancf_jax.checkpoint.damage import damage_of
from ancf_jax.checkpoint.leaves import describe, read_array, read_leaf
from ancf_jax.types import Array

FOLDER = "rows"
BLOCK_BYTES = 1 << 26
COMPRESSOR = {"id": "zstd", "level": 1}  # as Orbax does
Piece = dict[
    str, Any
]  # of a leaf: "begin", "end", "digest" and the "process" that wrote it


class Column(NamedTuple):
    """A leaf that lies in the columns of a divided table.

    Attributes:
        name: dotted path of the leaf.
        begin: its first column.
        shape: of the leaf, which has as many rows as the table without padding.
        dtype: of the leaf.
    """

    name: str
    begin: int
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def width(self) -> int:
        """Number of columns."""
        return math.prod(self.shape[1:])


@dataclass(frozen=True)
class Divided:
    """Leaves side by side in a table [D, S, W] of which each of D devices has S rows.

    In a template the table is a `jax.ShapeDtypeStruct` with a sharding.

    Attributes:
        table: the rows.
        columns: what lies where in them.
    """

    table: Any
    columns: tuple[Column, ...]

    @property
    def share(self) -> int:
        """Rows of a device."""
        return self.table.shape[1]


def divided_in(leaves: dict[str, Any]) -> list[Divided]:
    """The divided tables among leaves."""
    return [leaf for leaf in leaves.values() if isinstance(leaf, Divided)]


def columns_in(leaves: dict[str, Any]) -> dict[str, Column]:
    """The leaves by name that lie in divided tables."""
    return {
        column.name: column
        for divided in divided_in(leaves)
        for column in divided.columns
    }


def write_rows(
    checkpoint: Path, process: int, leaves: dict[str, Any]
) -> dict[str, list[Piece]]:
    """Writes the rows that this process has of divided tables.

    Args:
        checkpoint: its folder.
        process: the number of this one.
        leaves: the leaves of a state by name.

    Returns:
        What was written, by name of the leaf.

    Raises:
        OSError, ValueError: it could not be written.
    """
    written: dict[str, list[Piece]] = {}
    for divided in divided_in(leaves):
        for column, begin, block in _blocks(divided):
            _write(_place(checkpoint, process, column.name, begin), block)
            piece = {
                "begin": begin,
                "end": begin + len(block),
                "digest": describe(block)["digest"],
                "process": process,
            }
            written.setdefault(column.name, []).append(piece)
    return written


def _blocks(divided: Divided) -> Iterator[tuple[Column, int, np.ndarray]]:
    """The rows on this process's devices, some at a time: the leaf, the first row, the rows."""
    for shard in divided.table.addressable_shards:
        first = (shard.index[0].start or 0) * divided.share
        for column in divided.columns:
            end = min(first + divided.share, column.shape[0])
            for begin in range(first, end, _rows_of_block(column)):
                count = min(_rows_of_block(column), end - begin)
                start = np.array([0, begin - first, column.begin], np.int32)
                size = (1, count, column.width)
                block = np.asarray(jax.lax.dynamic_slice(shard.data, start, size))
                yield column, begin, block.reshape(count, *column.shape[1:])


def _rows_of_block(column: Column) -> int:
    return max(1, BLOCK_BYTES // max(1, column.width * column.dtype.itemsize))


def _place(checkpoint: Path, process: int, name: str, begin: int) -> dict[str, Any]:
    """Where a block lies, in the words of TensorStore."""
    path = f"{checkpoint}/{FOLDER}/{int(process)}/{name}.{int(begin)}/"
    return {"driver": "zarr", "kvstore": {"driver": "file", "path": path}}


def _write(place: dict[str, Any], block: np.ndarray) -> None:
    metadata = {"chunks": block.shape, "compressor": COMPRESSOR}
    spec = place | {"metadata": metadata}
    store = tensorstore.open(spec, create=True, dtype=block.dtype, shape=block.shape)
    store.result().write(block).result()


def describe_rows(
    columns: dict[str, Column], written: list[dict[str, list[Piece]]]
) -> dict[str, Any]:
    """What is recorded of divided leaves.

    Args:
        columns: the leaves by name.
        written: what `write_rows` returned in each process.
    """
    described = {}
    for name, column in columns.items():
        pieces = [piece for of_process in written for piece in of_process.get(name, [])]
        described[name] = {
            "shape": list(column.shape),
            "dtype": column.dtype.name,
            "rows": sorted(pieces, key=lambda piece: piece["begin"]),
        }
    return described


def read_rows(
    checkpoint: Path, name: str, record: dict[str, Any], begin: int, end: int
) -> np.ndarray:
    """Rows `begin` to `end` of a leaf, whoever wrote them, on however many devices.

    Args:
        checkpoint: its folder.
        name: dotted path of the leaf.
        record: what is recorded of the leaf.
        begin: the first row.
        end: the row after the last.

    Raises:
        Damaged: a block cannot be read, is not what was saved, or is missing.
    """
    if "rows" not in record:
        return read_whole(checkpoint, name, record)[begin:end]
    with damage_of(f"leaf {name}"):
        size = (end - begin, *record["shape"][1:])
        rows = np.empty(size, np.dtype(record["dtype"]))
        reached = begin
        for piece in record["rows"]:
            if piece["begin"] <= reached < min(piece["end"], end):
                last = min(piece["end"], end)
                block = _read_piece(checkpoint, name, record, piece)
                part = slice(reached - piece["begin"], last - piece["begin"])
                rows[reached - begin : last - begin] = block[part]
                reached = last
        if reached < end:
            raise ValueError(f"row {reached} is in none of its blocks")
    return rows


def read_whole(checkpoint: Path, name: str, record: dict[str, Any]) -> np.ndarray:
    """A leaf with all of its rows, however it was written.

    Raises:
        Damaged: see `read_rows`.
    """
    if "rows" in record:
        return read_rows(checkpoint, name, record, 0, record["shape"][0])
    return read_leaf(checkpoint / "state", name, record)


def _read_piece(
    checkpoint: Path, name: str, record: dict[str, Any], piece: Piece
) -> np.ndarray:
    begin = piece["begin"]
    end = piece["end"]
    of_piece = {
        "shape": [end - begin, *record["shape"][1:]],
        "dtype": record["dtype"],
        "digest": piece["digest"],
    }
    place = _place(checkpoint, piece["process"], name, begin)
    return read_array(place, f"leaf {name}, rows {begin} to {end}", of_piece)


def read_divided(checkpoint: Path, divided: Divided, records: dict[str, Any]) -> Array:
    """A divided table with the rows of this process's devices, read a device at a time.

    Args:
        checkpoint: its folder.
        divided: the template.
        records: what is recorded of every leaf.

    Raises:
        Damaged: see `read_rows`.
    """
    table = divided.table
    indices = table.sharding.addressable_devices_indices_map(table.shape)
    on_devices = []
    for device, index in indices.items():
        first = (index[0].start or 0) * divided.share
        rows = np.zeros((1, *table.shape[1:]), table.dtype)
        for column in divided.columns:
            end = min(first + divided.share, column.shape[0])
            if first < end:
                part = read_rows(
                    checkpoint, column.name, records[column.name], first, end
                )
                columns = slice(column.begin, column.begin + column.width)
                rows[0, : end - first, columns] = part.reshape(end - first, -1)
        on_devices.append(jax.device_put(rows, device))
    return jax.make_array_from_single_device_arrays(
        table.shape, table.sharding, on_devices
    )
