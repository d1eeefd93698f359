"""Tables written whole or not at all: CSV, JSON lines or Parquet by the file's ending."""

import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ancf_jax.data.storage import replacing
from ancf_jax.errors import UserError


def check_ending(path: Path) -> None:
    """Raises UserError where the file's ending names no known layout."""
    if path.suffix not in _WRITERS:
        raise UserError(
            f'the ending of "{path}" is "{path.suffix}", expected .parquet, .csv or .jsonl'
        )


def write_table(path: Path, blocks: Iterable[pd.DataFrame]) -> int:
    """Writes the blocks of one table to `path`, whole or not at all.

    Returns:
        The number of rows.

    Raises:
        UserError: where the file cannot be written, or its ending names no known layout.
    """
    check_ending(path)
    with replacing(path) as file:
        return _WRITERS[path.suffix](file, blocks)


def _write_csv(file: IO[bytes], blocks: Iterable[pd.DataFrame]) -> int:
    rows = 0
    for number, block in enumerate(blocks):
        text = block.to_csv(index=False, header=number == 0)
        file.write(text.encode())
        rows += len(block)
    return rows


def _write_json_lines(file: IO[bytes], blocks: Iterable[pd.DataFrame]) -> int:
    rows = 0
    for block in blocks:
        text = block.to_json(orient="records", lines=True, force_ascii=False)
        file.write(text.encode())
        rows += len(block)
    return rows


def _write_parquet(file: IO[bytes], blocks: Iterable[pd.DataFrame]) -> int:
    """Every block takes the types of the first one, for a Parquet file has one schema."""
    rows = 0
    writer = None
    with ExitStack() as closing:
        for block in blocks:
            table = pa.Table.from_pandas(block, preserve_index=False)
            if writer is None:
                writer = closing.enter_context(pq.ParquetWriter(file, table.schema))
            writer.write_table(table.cast(writer.schema))
            rows += len(block)
    return rows


_WRITERS = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
}


def write_in_parts(
    path: Path,
    digest: str,
    parts: int,
    make: Callable[[int], Iterable[pd.DataFrame]],
    say: Callable[[str], None],
) -> int:
    """Writes the blocks of make(0), make(1) ... make(parts - 1) to `path`.

    Finished parts wait in a folder beside `path`, so after an interruption the same call makes
    only the parts that are missing.

    Args:
        path: the file to write.
        digest: stands for all that the rows depend on; parts with another digest are deleted.
        parts: how many parts there are.
        make: part number -> the blocks of the part.
        say: shows a message to the user.

    Returns:
        The number of rows.
    """
    folder = path.with_name(f"{path.name}.parts")
    _prepare(folder, digest, say)
    files = [folder / f"{number}.parquet" for number in range(parts)]
    done = sum(file.exists() for file in files)
    if done:
        say(f"{done} of {parts} parts are there already")
    for number, file in enumerate(files):
        if not file.exists():
            write_table(file, make(number))
    rows = write_table(path, (pd.read_parquet(file) for file in files))
    shutil.rmtree(folder)
    return rows


def _prepare(folder: Path, digest: str, say: Callable[[str], None]) -> None:
    """Marks the folder of parts with the digest, emptied where it was made for another one."""
    mark = folder / "digest"
    fits = mark.exists() and mark.read_text() == digest
    if folder.exists() and not fits:
        say(f'"{folder}" holds parts of another call; starting anew')
        shutil.rmtree(folder)
    with replacing(mark) as file:
        file.write(digest.encode())
