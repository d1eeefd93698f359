"""Tables written whole or not at all: CSV, JSON lines or Parquet by the file's ending."""

import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ancf_jax.data.storage import replacing
from ancf_jax.errors import UserError


def check_ending(path: Path) -> None:
    """Raises UserError where the file's ending names no known layout."""
    if path.suffix not in (".parquet", ".csv", ".jsonl"):
        raise UserError(
            f'the ending of "{path}" is "{path.suffix}", expected .parquet, .csv or .jsonl'
        )


def write_table(path: Path, blocks: Iterable[pd.DataFrame]) -> int:
    """Writes the blocks of one table to `path`, whole or not at all, and returns the number of rows.

    Raises UserError where it cannot be written.
    """
    check_ending(path)
    rows, writer = 0, None
    with replacing(path) as file, ExitStack() as closing:
        for number, block in enumerate(blocks):
            if path.suffix == ".csv":
                file.write(block.to_csv(index=False, header=number == 0).encode())
            elif path.suffix == ".jsonl":
                file.write(
                    block.to_json(
                        orient="records", lines=True, force_ascii=False
                    ).encode()
                )
            else:
                table = pa.Table.from_pandas(block, preserve_index=False)
                writer = writer or closing.enter_context(
                    pq.ParquetWriter(file, table.schema)
                )
                writer.write_table(table.cast(writer.schema))
            rows += len(block)
    return rows


def write_in_parts(
    path: Path,
    digest: str,
    parts: int,
    make: Callable[[int], Iterable[pd.DataFrame]],
    say: Callable[[str], None],
) -> int:
    """Writes the blocks of make(0), make(1) ... make(parts - 1) to `path`, and returns the number of rows.

    Finished parts wait in a folder beside `path`, so a killed call finishes what is missing when it is made again.
    `digest` stands for all that the rows depend on: parts of another are thrown away.
    """
    folder = path.with_name(f"{path.name}.parts")
    made_for = folder / "digest"
    if folder.exists() and not (made_for.exists() and made_for.read_text() == digest):
        say(f'"{folder}" holds parts of another call; starting anew')
        shutil.rmtree(folder)
    with replacing(made_for) as file:
        file.write(digest.encode())
    files = [folder / f"{number}.parquet" for number in range(parts)]
    if done := sum(file.exists() for file in files):
        say(f"{done} of {parts} parts are there already")
    for number, file in enumerate(files):
        if not file.exists():
            write_table(file, make(number))
    rows = write_table(path, (pd.read_parquet(file) for file in files))
    shutil.rmtree(folder)
    return rows
