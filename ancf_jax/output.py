"""Tables written whole or not at all: CSV, JSON lines or Parquet by the file's ending."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ancf_jax.errors import UserError

ENDINGS = (".parquet", ".csv", ".jsonl")


def check_ending(path: Path) -> None:
    """Raises UserError where the file's ending names no known layout."""
    if path.suffix not in ENDINGS:
        raise UserError(f'the ending of "{path}" is "{path.suffix}", expected one of {", ".join(ENDINGS)}')


def write_table(path: Path, blocks: Iterator[pd.DataFrame]) -> int:
    """Writes the blocks of one table to `path` and returns the number of rows.

    The rows go to a temporary file beside `path`, which takes its place only when all is written:
    whatever fails, an old file is untouched. Raises UserError where it cannot be written.
    """
    check_ending(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    write = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_jsonl}[path.suffix]
    try:
        rows = write(temporary, blocks)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f'"{path}" cannot be written ({error.strerror or error}); choose another file') from None
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _write_parquet(path: Path, blocks: Iterator[pd.DataFrame]) -> int:
    rows, writer = 0, None
    try:
        for block in blocks:
            table = pa.Table.from_pandas(block, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table.cast(writer.schema))
            rows += len(block)
    finally:
        if writer is not None:
            writer.close()
    return rows


def _write_csv(path: Path, blocks: Iterator[pd.DataFrame]) -> int:
    def write(block: pd.DataFrame, file: IO[Any], first: bool) -> None:
        block.to_csv(file, index=False, header=first)

    return _write_text(path, blocks, write)


def _write_jsonl(path: Path, blocks: Iterator[pd.DataFrame]) -> int:
    def write(block: pd.DataFrame, file: IO[Any], first: bool) -> None:
        block.to_json(file, orient="records", lines=True, force_ascii=False)

    return _write_text(path, blocks, write)


def _write_text(
    path: Path, blocks: Iterator[pd.DataFrame], write: Callable[[pd.DataFrame, IO[Any], bool], None]
) -> int:
    rows = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        for number, block in enumerate(blocks):
            write(block, file, number == 0)
            rows += len(block)
    return rows
