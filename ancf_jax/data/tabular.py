"""CSV and Parquet files as columns of opaque text, whatever their encoding, delimiter, line ends or types."""

from __future__ import annotations

import csv
import hashlib
import io
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ancf_jax.errors import UserError, nearest

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
DELIMITERS = (",", ";", "\t")
_REMEDY = "correct the row, or leave broken rows out with --table.drop-broken"
Texts = pa.Array  # of large_string, without nulls


@dataclass
class Table:
    """Columns of one file, where each row came from, and which rows are fit for use."""

    path: Path
    names: Sequence[str]  # all columns of the file, trimmed, in order
    columns: dict[str, Texts]  # the wanted ones, at least one; a nested column of Parquet stays as it is
    locate: Callable[[int], str]  # row number -> "line 7" (CSV) or "row 7" (Parquet), counted from 1
    drop_broken: bool  # whether broken rows are left out and counted, or refused
    decimal_comma: bool = False  # whether `3,5` is a number, as in files separated by `;`
    left_out: Counter[str] = field(default_factory=Counter)  # broken rows by column
    keep: np.ndarray = field(init=False)  # bool [rows]

    def __post_init__(self) -> None:
        self.keep = np.ones(len(next(iter(self.columns.values()))), bool)
        if not len(self.keep):
            raise UserError(f"{self.path} holds no rows that can be read; pass a file with at least one event")

    def refuse(self, broken: np.ndarray, column: str, expected: str) -> None:
        """Raises UserError at the first of the `broken` rows (bool [rows]), or leaves them out."""
        if self.drop_broken:
            self.left_out[f"broken rows ({self.path.name}: {column})"] += int((broken & self.keep).sum())
            self.keep &= ~broken
        elif broken.any():
            row = int(np.argmax(broken))
            value = str(self.columns[column][row].as_py() or "")[:60]
            found = f'{self.path}, {self.locate(row)}, column "{column}": found {repr(value) if value else "nothing"}'
            raise UserError(f"{found}, expected {expected}; {_REMEDY}")

    def require(self, name: str, flag: str) -> str:
        """`name` if the file has that column once; else UserError with the columns found and the flag that maps it."""
        times = self.names.count(name)
        if times == 1:
            return name
        problem = f'the column "{name}" {times} times' if times else f'no column "{name}"{nearest(name, self.names)}'
        found = ", ".join(self.names)[:300]
        raise UserError(f"{self.path} has {problem}; it has {found}; name the right one with {flag}")


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 with a BOM, or latin-1, its lines ended by LF; UserError where it is none."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # shows NUL bytes where it was UTF-16 or no text at all
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise UserError(f"{path} is empty; pass a file with at least one event")
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise UserError(f"{path}, line {line}: a NUL byte, expected text; unpack the file or save it again as UTF-8")
    return text


def sha256(paths: Iterable[Path]) -> str:
    """SHA-256 over the bytes of the files, one after the other, hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read_table(path: Path, wanted: Collection[str], drop_broken: bool) -> Table:
    """The `wanted` columns of a CSV or Parquet file, as far as it has them; UserError where it cannot be read."""
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1" or path.suffix in (".parquet", ".pq")
    return (_read_parquet if is_parquet else read_csv)(path, wanted, drop_broken)


def read_csv(path: Path, wanted: Collection[str], drop: bool, names: Sequence[str] = (), delimiter: str = "") -> Table:
    """As `read_table`, for text; one without header has `names`, a `delimiter` such as `::`, and no quotes."""
    text, quoted = read_text(path), not names
    if delimiter == "::":
        text, delimiter = text.replace("::", "\x1f"), "\x1f"  # csv knows delimiters of one character only
    delimiter = delimiter or max(DELIMITERS, key=text.lstrip("\n").partition("\n")[0].count)
    rows = _rows(path, text, delimiter, quoted)
    if not names:
        names = [name.strip().strip('"') for name in next(rows)[1]]
    places = {name: at for at, name in enumerate(names) if name in wanted} or {names[0]: 0}
    lines, parts, ragged = array("q"), {name: [pa.array([], pa.large_string())] for name in places}, Counter[str]()
    while batch := list(islice(rows, 1_000)):  # the fewer lists at a time, the less memory and searching for cycles
        wrong = [(line, len(fields)) for line, fields in batch if len(fields) != len(names)]
        if wrong and not drop:
            raise UserError(f"{path}, line {wrong[0][0]}: {wrong[0][1]} fields, expected {len(names)}; {_REMEDY}")
        ragged[f"broken rows ({path.name}: number of fields)"] += len(wrong)
        fitting = [row for row in batch if len(row[1]) == len(names)] if wrong else batch
        lines.extend(line for line, _ in fitting)
        for name, at in places.items():
            parts[name].append(pa.array([fields[at] for _, fields in fitting], pa.large_string()))
    columns = {name: pa.concat_arrays(part) for name, part in parts.items()}
    return Table(path, names, columns, lambda row: f"line {lines[row]}", drop, delimiter != ",", ragged)


def _rows(path: Path, text: str, delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """The line on which each row that is not blank begins, and its fields."""
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader, line = csv.reader(io.StringIO(text), delimiter=delimiter, quoting=quoting, strict=True), 1
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error:
        raise UserError(f'{path}, line {line}: a quote (") that is not closed; close it or double it') from None


def _read_parquet(path: Path, wanted: Collection[str], drop_broken: bool) -> Table:
    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        data = file.read(columns=[name for name in names if name.strip() in wanted])
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise UserError(f"{path} is damaged or no Parquet file ({str(problem)[:120]!r}); write it again") from None
    found = zip(data.column_names, data.columns, strict=True)
    columns = {name.strip(): _as_text(path, name, column).combine_chunks() for name, column in found}
    columns = columns or {"": pa.nulls(len(data))}
    return Table(path, [name.strip() for name in names], columns, lambda row: f"row {row + 1}", drop_broken)


def _as_text(path: Path, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text, whole numbers with all digits, times in UTC, "" for nothing; else fractions or lists of text."""
    kind = column.type
    try:
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return column.cast(pa.list_(pa.large_string()))
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.timestamp("us"), safe=False)
        if pa.types.is_floating(kind):
            if not pc.all(pc.equal(pc.subtract(column, pc.floor(column)), 0)).as_py():
                return column
            column = column.cast(pa.int64())
        return column.cast(pa.large_string()).fill_null("")
    except (pa.ArrowException, ValueError):
        raise UserError(f'{path}, column "{name}" holds {kind}, expected text, numbers or times; convert it') from None
