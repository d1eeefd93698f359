"""CSV and Parquet files as tables of text, whatever their encoding, delimiter or types."""

import codecs
import csv
import io
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from ancf_jax.config import TableConfig
from ancf_jax.data.clean_csv import is_clean, read_rows
from ancf_jax.data.columns import release_memory
from ancf_jax.data.parquet import coded_columns, read_parquet
from ancf_jax.data.tabular import REMEDY, Table
from ancf_jax.data.text import first_line, is_utf_8_name, read_text
from ancf_jax.errors import UserError

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
DELIMITERS = (",", ";", "\t")
_UNIT_SEPARATOR = "\x1f"
_OPEN_QUOTE = 'a quote (") that is not closed; close it or double it'
_LONG_FIELD = (
    f"a field of more than {csv.field_size_limit():,} characters; shorten it, "
    'or close the quote (") that it begins with'
)
_ROWS_AT_A_TIME = 1_000  # few, for memory and for the search for cycles among lists

# The line on which a row of a text file begins, and its fields.
_Row = tuple[int, list[str]]


def read_table(path: Path, wanted: Collection[str], settings: TableConfig) -> Table:
    """The `wanted` columns of a CSV or Parquet file, as far as it has them.

    Args:
        path: the file.
        wanted: names of columns; the others are not kept.
        settings: the encoding, and whether broken rows are left out and counted, or refused.

    Raises:
        UserError: where the file cannot be read.
    """
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1" or path.suffix in (".parquet", ".pq")
    if is_parquet:
        return read_parquet(path, wanted, settings)
    return read_csv(path, wanted, settings)


def read_csv(
    path: Path,
    wanted: Collection[str],
    settings: TableConfig,
    names: Sequence[str] = (),
    delimiter: str = "",
) -> Table:
    """As `read_table`, for a text file.

    Args:
        path: the file.
        wanted: names of columns; the others are not kept.
        settings: the encoding, and whether broken rows are left out and counted, or refused.
        names: the columns of a file without header, which has no quotes, either.
        delimiter: what separates the fields, such as `::`; found out where it is empty.
    """
    table = _read_clean(path, wanted, settings, names, delimiter)
    return table or _read_strictly(path, wanted, settings, names, delimiter)


def _read_strictly(
    path: Path,
    wanted: Collection[str],
    settings: TableConfig,
    names: Sequence[str],
    delimiter: str,
) -> Table:
    """As `read_csv`, row by row, with the line of what is wrong."""
    text = read_text(path, settings.encoding)
    if delimiter == "::":  # the parser knows delimiters of one character only
        text = text.replace("::", _UNIT_SEPARATOR)
        delimiter = _UNIT_SEPARATOR
    delimiter = delimiter or max(DELIMITERS, key=first_line(text).count)
    rows = _parse_rows(path, text, delimiter, quoted=not names)
    if not names:
        _, header = next(rows)
        names = _names(header)
    left_out = Counter[str]()
    batches = _fitting_batches(path, rows, len(names), settings.drop_broken, left_out)
    lines, columns = _collect(batches, names, wanted)
    return Table(
        path,
        names,
        columns,
        rows=len(lines),
        locate=lambda row: f"line {lines[row]}",
        drop_broken=settings.drop_broken,
        decimal_comma=delimiter != ",",
        left_out=left_out,
    )


def _read_clean(
    path: Path,
    wanted: Collection[str],
    settings: TableConfig,
    names: Sequence[str],
    delimiter: str,
) -> Table | None:
    """As `read_csv`, by Arrow; None for a file where anything is odd."""
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if not is_utf_8_name(settings.encoding) or len(delimiter) > 1:
        return None
    end = 0 if names else data.find(b"\n") + 1
    head = data[:end].decode("utf-8", "replace").rstrip("\r\n")
    delimiter = delimiter or max(DELIMITERS, key=head.count)
    quoted = not names
    if not names:
        names = _clean_names(head, delimiter)
    places = {name: place for place, name in enumerate(names) if name in wanted}
    if not places or not is_clean(data, delimiter, quoted):
        return None
    rows = memoryview(data)[end:]
    columns = read_rows(
        rows, delimiter, quoted, len(names), places, coded_columns(settings)
    )
    if columns is None:
        return None
    release_memory()
    first = 1 + (end > 0)
    return Table(
        path,
        names,
        columns,
        rows=len(next(iter(columns.values()))),
        locate=lambda row: f"line {row + first}",
        drop_broken=settings.drop_broken,
        decimal_comma=delimiter != ",",
    )


def _clean_names(head: str, delimiter: str) -> list[str]:
    """The names of the columns; none where the header is odd."""
    try:
        header = next(csv.reader([head], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []
    return _names(header)


def _names(header: list[str]) -> list[str]:
    return [name.strip().strip('"') for name in header]


def _parse_rows(path: Path, text: str, delimiter: str, quoted: bool) -> Iterator[_Row]:
    """All rows that are not blank."""
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    lines = io.StringIO(text)
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    line = 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as problem:
        is_long = "field limit" in str(problem)
        found = _LONG_FIELD if is_long else _OPEN_QUOTE
        raise UserError(f"{path}, line {line}: {found}") from None


def _fitting_batches(
    path: Path,
    rows: Iterator[_Row],
    width: int,
    drop_broken: bool,
    left_out: Counter[str],
) -> Iterator[list[_Row]]:
    """Rows with `width` fields; others are refused, or counted in `left_out`."""
    while True:
        batch = list(islice(rows, _ROWS_AT_A_TIME))
        if not batch:
            return
        fitting = [row for row in batch if len(row[1]) == width]
        if len(fitting) < len(batch):
            if not drop_broken:
                _refuse_width(path, batch, width)
            reason = f"broken rows ({path.name}: number of fields)"
            left_out[reason] += len(batch) - len(fitting)
        yield fitting


def _refuse_width(path: Path, batch: list[_Row], width: int) -> NoReturn:
    line, fields = next(row for row in batch if len(row[1]) != width)
    raise UserError(
        f"{path}, line {line}: {len(fields)} fields, expected {width}; {REMEDY}"
    )


def _collect(
    batches: Iterator[list[_Row]], names: Sequence[str], wanted: Collection[str]
) -> tuple[array, dict[str, pa.ChunkedArray]]:
    """The line of every row, and the wanted columns."""
    lines = array("q")
    places = {name: place for place, name in enumerate(names) if name in wanted}
    parts = {name: [pa.array([], pa.large_string())] for name in places}
    for batch in batches:
        lines.extend(line for line, _ in batch)
        for name, place in places.items():
            values = [fields[place] for _, fields in batch]
            parts[name].append(pa.array(values, pa.large_string()))
    columns = {name: pa.chunked_array(arrays) for name, arrays in parts.items()}
    return lines, columns
