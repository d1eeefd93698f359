"""Parquet files as tables of text, numbers and lists."""

from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ancf_jax.data.tabular import Table
from ancf_jax.errors import UserError

_NUL = "\x00"


def read_parquet(path: Path, wanted: Collection[str], drop_broken: bool) -> Table:
    """As `read_table`, for a Parquet file."""
    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        data = file.read(columns=[name for name in names if name.strip() in wanted])
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise UserError(
            f"{path} is damaged or no Parquet file ({str(problem)[:120]!r}); "
            "write it again"
        ) from None
    columns = {}
    for name, column in zip(data.column_names, data.columns, strict=True):
        texts = _to_text(path, name, column)
        _check_text(path, name, texts)
        columns[name.strip()] = texts.combine_chunks()
    return Table(
        path,
        [name.strip() for name in names],
        columns,
        rows=len(data),
        locate=lambda row: f"row {row + 1}",
        drop_broken=drop_broken,
    )


def _to_text(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text, where it holds no fractions and no lists.

    Whole numbers keep all digits, times are in UTC, and "" stands for nothing. Fractions stay
    floating point, and lists become lists of text.
    """
    stored = column.type
    try:
        if pa.types.is_list(stored) or pa.types.is_large_list(stored):
            return column.cast(pa.list_(pa.large_string()))
        if pa.types.is_timestamp(stored):
            column = column.cast(pa.timestamp("us"), safe=False)
        if pa.types.is_floating(stored):
            if not _is_whole(column):
                return column
            column = column.cast(pa.int64())
        return column.cast(pa.large_string()).fill_null("")
    except (pa.ArrowException, ValueError):
        raise UserError(
            f'{path}, column "{name}" holds {stored}, '
            "expected text, numbers or times; convert it"
        ) from None


def _is_whole(column: pa.ChunkedArray) -> bool:
    """Whether a column of floating point holds whole numbers only."""
    fraction = pc.subtract(column, pc.floor(column))
    return pc.all(pc.equal(fraction, 0)).as_py()


def _check_text(path: Path, name: str, column: pa.ChunkedArray) -> None:
    """Refuses text that is not UTF-8, and text that holds NUL, as in CSV files.

    NumPy cuts text at NUL bytes that end it, so that two ids would become one.
    """
    if pa.types.is_floating(column.type):
        return
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        _refuse_text(path, name, column)
    texts = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    if pc.any(pc.match_substring(texts, _NUL)).as_py():
        _refuse_text(path, name, column)


def _refuse_text(path: Path, name: str, column: pa.ChunkedArray) -> NoReturn:
    odd = ((row, _oddity(value)) for row, value in enumerate(column, start=1))
    row, found = next((row, found) for row, found in odd if found)
    raise UserError(
        f'{path}, row {row}, column "{name}": found {found}, '
        "expected text; write the column again as UTF-8 text"
    )


def _oddity(value: pa.Scalar) -> str:
    """What makes a value, or one of a list of values, no text; "" where nothing does."""
    try:
        found = value.as_py()
    except UnicodeDecodeError as problem:
        byte = problem.object[problem.start]
        return f"the byte {byte:#04x}, which is not UTF-8"
    texts = found if isinstance(found, list) else [found]
    return "a NUL byte" if any(_NUL in (text or "") for text in texts) else ""
