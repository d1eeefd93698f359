"""Parquet files as tables of text, numbers and lists, read one column at a time."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ancf_jax.config import TableConfig
from ancf_jax.data.columns import release_memory
from ancf_jax.data.tabular import Table
from ancf_jax.errors import UserError

_BUFFER = 1 << 20  # bytes of a column that are read at a time
_NUL = "\x00"
_DAMAGE = (pa.ArrowException, OSError, ValueError)


def coded_columns(settings: TableConfig) -> tuple[str, ...]:
    """The columns whose equal texts are best held once: ids and kinds."""
    return (settings.user, settings.item, settings.event)


def read_parquet(path: Path, wanted: Collection[str], settings: TableConfig) -> Table:
    """As `read_table`, for a Parquet file; damage may be found when a column is asked for."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            rows = file.metadata.num_rows
    except _DAMAGE as problem:
        _refuse_file(path, problem)
    stored = {name.strip(): name for name in schema.names if name.strip() in wanted}
    coded = coded_columns(settings)
    texts = [name for name in stored.values() if name in coded]
    texts = [name for name in texts if _is_text(schema, name)]
    return Table(
        path,
        [name.strip() for name in schema.names],
        _Columns(path, rows, stored, texts),
        rows=rows,
        locate=lambda row: f"row {row + 1}",
        drop_broken=settings.drop_broken,
    )


class _Columns(dict[str, pa.ChunkedArray]):
    """Columns that are read anew whenever they are asked for: side by side they fill memory.

    Attributes:
        path: the file.
        rows: number of rows that every column has.
        stored: name -> name in the file.
        coded: names in the file of columns that are read as coded text.
    """

    def __init__(
        self, path: Path, rows: int, stored: dict[str, str], coded: Sequence[str]
    ) -> None:
        self.path = path
        self.rows = rows
        self.stored = stored
        self.coded = coded

    def __missing__(self, name: str) -> pa.ChunkedArray:
        in_file = self.stored[name]
        try:
            column = self._read(in_file)
        except _DAMAGE as problem:
            _refuse_file(self.path, problem)
        return _usable(self.path, in_file, column)

    def _read(self, name: str) -> pa.ChunkedArray:
        coded = [name] if name in self.coded else []
        with pyarrow.parquet.ParquetFile(
            self.path, read_dictionary=coded, buffer_size=_BUFFER
        ) as file:
            parts = [
                _read_group(file, group, name) for group in range(file.num_row_groups)
            ]
            column = pa.concat_tables(parts or [file.read(columns=[name])])[name]
        if len(column) != self.rows:
            raise ValueError(f"{len(column):,} rows of {name}, expected {self.rows:,}")
        return column


def _read_group(file: pyarrow.parquet.ParquetFile, group: int, name: str) -> pa.Table:
    """Some rows; read apart, for Arrow holds several times the memory of what it reads."""
    rows = file.read_row_group(group, columns=[name], use_threads=False)
    release_memory()
    return rows


def _refuse_file(path: Path, problem: Exception) -> NoReturn:
    raise UserError(
        f"{path} is damaged or no Parquet file ({str(problem)[:120]!r}); write it again"
    ) from None


def _is_text(schema: pa.Schema, name: str) -> bool:
    """Whether a column, of a name that is there once, is held as text."""
    if schema.names.count(name) > 1:
        return False
    held = schema.field(name).type
    return pa.types.is_string(held) or pa.types.is_large_string(held)


def _usable(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as `Table` takes it.

    Whole numbers, times (in UTC), fractions and coded texts stay what they are, lists become
    lists of text, and all else becomes text, "" where there is nothing.
    """
    stored = column.type
    try:
        if pa.types.is_list(stored) or pa.types.is_large_list(stored):
            column = column.cast(pa.list_(pa.large_string()))
        elif pa.types.is_timestamp(stored):
            zone = "UTC" if stored.tz else None
            column = column.cast(pa.timestamp("us", zone), safe=False)
        elif pa.types.is_floating(stored):
            column = _as_whole(column)
        elif not (pa.types.is_integer(stored) or _is_coded(column)):
            column = column.cast(pa.large_string()).fill_null("")
    except (pa.ArrowException, ValueError):
        raise UserError(
            f'{path}, column "{name}" holds {stored}, '
            "expected text, numbers or times; convert it"
        ) from None
    _check_text(path, name, column)
    return column


def _is_coded(column: pa.ChunkedArray) -> bool:
    """Whether a column is text as places in its distinct texts, without nulls."""
    held = column.type
    if not pa.types.is_dictionary(held) or column.null_count:
        return False
    return pa.types.is_string(held.value_type) or pa.types.is_large_string(
        held.value_type
    )


def _as_whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of floating point as whole numbers where it holds no others."""
    try:
        return column.cast(pa.int64())
    except pa.ArrowInvalid:
        return column


def _check_text(path: Path, name: str, column: pa.ChunkedArray) -> None:
    """Refuses text that is not UTF-8, and text that holds NUL, as in CSV files.

    NumPy cuts text at NUL bytes that end it, so that two ids would become one.
    """
    held = column.type
    if not (
        _is_coded(column) or pa.types.is_list(held) or pa.types.is_large_string(held)
    ):
        return
    try:
        column.validate(full=True)
    except pa.ArrowException as problem:
        _refuse_text(path, name, column)
        raise UserError(
            f'{path}, column "{name}" is damaged ({problem}); write the file again'
        ) from None
    for chunk in column.chunks:
        texts = chunk
        if pa.types.is_dictionary(held):
            texts = chunk.dictionary
        elif pa.types.is_list(held):
            texts = chunk.flatten()
        if pc.any(pc.match_substring(texts, _NUL)).as_py():
            _refuse_text(path, name, column)


def _refuse_text(path: Path, name: str, column: pa.ChunkedArray) -> None:
    """Refuses the first row that holds no text; a coded text that no row holds may be odd."""
    for row, value in enumerate(column, start=1):
        found = _oddity(value)
        if found:
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
    except pa.ArrowException:
        return "a code that stands for no text"
    texts = found if isinstance(found, list) else [found]
    return "a NUL byte" if any(_NUL in (text or "") for text in texts) else ""
