"""CSV and Parquet files as columns of opaque text, whatever their encoding, delimiter or line ends."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ancf_jax.data.files import opened, read_text
from ancf_jax.errors import UserError, nearest

PARQUET_SUFFIXES = (".parquet", ".pq")
DELIMITERS = (",", ";", "\t")
FIELD_BREAK = "\x1f"  # stands in for `::`, since the parser knows delimiters of one byte only
_BLOCK = 1 << 26  # bytes parsed at a time; a row must fit


@dataclass(frozen=True)
class Table:
    """Columns of one file, and where each row came from.

    Attributes:
        path: the file.
        names: all columns of the file, trimmed, in order.
        columns: the wanted ones; text from CSV, typed from Parquet.
        rows: number of rows in `columns`.
        locate: row number -> "line 7" (CSV) or "row 7" (Parquet), counted from 1.
        ragged: rows left out since they had another number of fields than the header.
        decimal_comma: whether `3,5` is a number, as in files separated by `;`.
    """

    path: Path
    names: tuple[str, ...]
    columns: dict[str, pa.ChunkedArray]
    rows: int
    locate: Callable[[int], str]
    ragged: int = 0
    decimal_comma: bool = False


def read_table(path: Path, wanted: Collection[str], drop_broken: bool | None = False) -> Table:
    """The `wanted` columns of a CSV or Parquet file, as far as it has them.

    CSV may be UTF-8, UTF-16 (with BOM) or latin-1, separated by comma, semicolon or tab, its header
    padded with blanks; a row with too many or too few fields is refused, or left out and counted
    when `drop_broken` (None where rows cannot be left out). Raises UserError for a file that cannot be read, with the line.
    """
    with opened(path) as file:
        start = file.read(4)
    if start == b"PAR1":
        return _read_parquet(path, wanted)
    if path.suffix in PARQUET_SUFFIXES:
        raise UserError(f"{path} is not a Parquet file (it begins with {start!r}); write it again or pass a CSV file")
    return read_csv(path, wanted, drop_broken=drop_broken)


def read_csv(
    path: Path,
    wanted: Collection[str],
    *,
    names: tuple[str, ...] = (),
    delimiter: str = "",
    drop_broken: bool | None = False,
) -> Table:
    """As `read_table`, for text; `names` are the columns of a file without header, whose fields hold no quotes.

    `delimiter` may be `::`; it is found from the header by default.
    """
    body = read_text(path)
    if delimiter == "::":
        body, delimiter = body.replace("::", FIELD_BREAK), FIELD_BREAK
    first_line, quoted = 1, not names
    if not names:
        body, names, delimiter, first_line = _split_header(path, body)
    if not body.strip("\r\n"):
        raise UserError(f"{path} holds no rows; pass a file with at least one event")
    records = functools.partial(_records, body, delimiter, quoted, first_line)
    data, ragged = _parse(path, body, names, wanted, delimiter, quoted)
    if ragged and not drop_broken:
        raise UserError(_ragged_message(path, records(), len(names), drop_broken))
    if quoted and '"' in body and len([line for line in body.splitlines() if line]) != data.num_rows + ragged:
        _refuse_open_quote(path, records())
    return Table(
        path=path,
        names=names,
        columns=dict(zip(data.column_names, data.columns, strict=True)),
        rows=data.num_rows,
        locate=lambda row: f"line {_line_of(records(), len(names), row)}",
        ragged=ragged,
        decimal_comma=delimiter != ",",
    )


def remedy(drop_broken: bool | None) -> str:
    """What to do about a broken row; None where rows cannot be left out."""
    return "correct the row" + (", or leave broken rows out with --table.drop-broken" if drop_broken is False else "")


def require(table: Table, name: str, flag: str) -> str:
    """`name` if the file has that column once; else UserError with the columns found and the flag that maps it."""
    found = ", ".join(table.names)
    if name not in table.names:
        hint = nearest(name, table.names)
        raise UserError(f'{table.path} has no column "{name}"{hint}; it has {found}; name the right one with {flag}')
    if table.names.count(name) > 1:
        raise UserError(f'{table.path} has the column "{name}" {table.names.count(name)} times; it has {found}; rename')
    return name


def _split_header(path: Path, text: str) -> tuple[str, tuple[str, ...], str, int]:
    """Body, names, delimiter, and the line on which the body begins."""
    lead = len(text) - len(text.lstrip("\r\n"))
    skipped = len(text[:lead].splitlines())
    line = io.StringIO(text[lead:], newline="").readline()
    header = line.rstrip("\r\n")
    try:
        fields = {mark: next(csv.reader([header], delimiter=mark, skipinitialspace=True)) for mark in DELIMITERS}
    except csv.Error as problem:
        raise UserError(f"{path}, line {skipped + 1}: no header ({problem}), expected names of columns") from None
    delimiter = max(DELIMITERS, key=lambda mark: len(fields[mark]))
    names = tuple(name.strip() for name in fields[delimiter])
    if len(names) < 2:
        raise UserError(
            f"{path}, line {skipped + 1}: one column, {header[:60]!r}, expected a header with columns separated "
            "by comma, semicolon or tab"
        )
    return text[lead + len(line) :], names, delimiter, skipped + 2


def _parse(
    path: Path, body: str, names: tuple[str, ...], wanted: Collection[str], delimiter: str, quoted: bool
) -> tuple[pa.Table, int]:
    """The wanted columns as text, and the number of rows with another number of fields."""
    numbers = {str(at): name for at, name in enumerate(names) if name in wanted and names.count(name) == 1}
    bad: list[int] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        bad.append(row.actual_columns)
        return "skip"

    try:
        data = pyarrow.csv.read_csv(
            pa.py_buffer(body.encode()),
            pyarrow.csv.ReadOptions(column_names=[str(at) for at in range(len(names))], block_size=_BLOCK),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                invalid_row_handler=skip,
            ),
            pyarrow.csv.ConvertOptions(
                include_columns=list(numbers) or ["0"],
                column_types=dict.fromkeys(numbers, pa.large_string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowException as problem:
        raise UserError(f"{path} cannot be read as a table ({_first_line(problem)}); correct the file") from None
    return data.rename_columns([numbers.get(at, at) for at in data.column_names]), len(bad)


def _records(body: str, delimiter: str, quoted: bool, first_line: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every row: the slow way round, for messages only."""
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    rows = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    line = first_line
    while True:
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as problem:
            raise _BrokenRecord(line) from problem
        if fields:
            yield line, fields
        line = first_line + rows.line_num


class _BrokenRecord(Exception):
    """Carries the line on which a record begins that cannot be read."""


def _refuse_open_quote(path: Path, records: Iterator[tuple[int, list[str]]]) -> None:
    try:
        for _ in records:
            pass
    except _BrokenRecord as problem:
        raise UserError(f'{path}, line {problem}: a quote (") that is not closed; close it or double it') from None


def _ragged_message(path: Path, records: Iterator[tuple[int, list[str]]], width: int, drop_broken: bool | None) -> str:
    try:
        line, fields = next((line, fields) for line, fields in records if len(fields) != width)
    except (_BrokenRecord, StopIteration) as problem:
        where = f", line {problem}" if isinstance(problem, _BrokenRecord) else ""
        return f'{path}{where}: a row that cannot be read; look for a quote (") that is not closed'
    return f"{path}, line {line}: {len(fields)} fields, expected {width} as in the header; {remedy(drop_broken)}"


def _line_of(records: Iterator[tuple[int, list[str]]], width: int, row: int) -> int | str:
    seen = -1
    try:
        for line, fields in records:
            seen += len(fields) == width
            if seen == row:
                return line
    except _BrokenRecord:
        pass
    return f"of row {row + 1}"


def _read_parquet(path: Path, wanted: Collection[str]) -> Table:
    try:
        file = pyarrow.parquet.ParquetFile(path)
        raw = file.schema_arrow.names
        data = file.read(columns=[name for name in raw if name.strip() in wanted] or raw[:1])
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise UserError(
            f"{path} is damaged or no Parquet file ({_first_line(problem)}); write or copy it again"
        ) from None
    names = tuple(name.strip() for name in raw)
    columns = {name.strip(): column for name, column in zip(data.column_names, data.columns, strict=True)}
    if not data.num_rows:
        raise UserError(f"{path} holds no rows; pass a file with at least one event")
    return Table(path, names, columns, data.num_rows, locate=lambda row: f"row {row + 1}")


def _first_line(problem: BaseException) -> str:
    return str(problem).splitlines()[0][:120]
