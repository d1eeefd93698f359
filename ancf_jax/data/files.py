"""CSV and Parquet files as tables of text, whatever their encoding, delimiter or types."""

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
from ancf_jax.data.parquet import read_parquet
from ancf_jax.data.tabular import REMEDY, Table
from ancf_jax.data.text import first_line, read_text
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
        return read_parquet(path, wanted, settings.drop_broken)
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
    text = read_text(path, settings.encoding)
    if delimiter == "::":  # the parser knows delimiters of one character only
        text = text.replace("::", _UNIT_SEPARATOR)
        delimiter = _UNIT_SEPARATOR
    delimiter = delimiter or max(DELIMITERS, key=first_line(text).count)
    rows = _parse_rows(path, text, delimiter, quoted=not names)
    if not names:
        _, header = next(rows)
        names = [name.strip().strip('"') for name in header]
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
) -> tuple[array, dict[str, pa.Array]]:
    """The line of every row, and the wanted columns."""
    lines = array("q")
    places = {name: place for place, name in enumerate(names) if name in wanted}
    parts = {name: [pa.array([], pa.large_string())] for name in places}
    for batch in batches:
        lines.extend(line for line, _ in batch)
        for name, place in places.items():
            values = [fields[place] for _, fields in batch]
            parts[name].append(pa.array(values, pa.large_string()))
    columns = {name: pa.concat_arrays(arrays) for name, arrays in parts.items()}
    return lines, columns
