"""CSV and Parquet files as tables of opaque text, whatever their encoding, delimiter, line ends or types.

A table gives its columns as ids, numbers, times and features; what is none of them makes its row broken.
"""

import csv
import io
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from ancf_jax.data.interactions import Feature
from ancf_jax.errors import UserError, nearest

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
DELIMITERS = (",", ";", "\t")
_REMEDY = "correct the row, or leave broken rows out with --table.drop-broken"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"
_ZONE = r":.*(Z|[+-]\d\d(:?\d\d)?)$"
_FIRST_CLOCK = 1e8  # 1973-03-03; whole numbers below are an order, not a time
_LAST_SECOND = 1e10  # 2286-11-20; so every unit has its own range of magnitudes
_FLAGS = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0}
Texts = pa.Array  # of large_string, without nulls


@dataclass
class Table:
    """Columns of one file, where each row came from, and which rows are fit for use."""

    path: Path
    names: Sequence[str]  # all columns of the file, trimmed, in order
    columns: dict[
        str, Texts
    ]  # the wanted ones; a nested column of Parquet stays as it is
    rows: int  # how many there are
    locate: Callable[
        [int], str
    ]  # row number -> "line 7" (CSV) or "row 7" (Parquet), counted from 1
    drop_broken: bool  # whether broken rows are left out and counted, or refused
    decimal_comma: bool = (
        False  # whether `3,5` is a number, as in files separated by `;`
    )
    left_out: Counter[str] = field(default_factory=Counter)  # broken rows by column
    keep: np.ndarray = field(init=False)  # bool [rows]

    def __post_init__(self) -> None:
        self.keep = np.ones(self.rows, bool)
        if not self.rows:
            raise UserError(
                f"{self.path} holds no rows that can be read; pass a file with at least one event"
            )

    def refuse(self, broken: np.ndarray, column: str, expected: str) -> None:
        """Raises UserError at the first of the `broken` rows (bool [rows]), or leaves them out."""
        if self.drop_broken:
            self.left_out[f"broken rows ({self.path.name}: {column})"] += int(
                (broken & self.keep).sum()
            )
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
        problem = (
            f'the column "{name}" {times} times'
            if times
            else f'no column "{name}"{nearest(name, self.names)}'
        )
        found = ", ".join(self.names)[:300]
        raise UserError(
            f"{self.path} has {problem}; it has {found}; name the right one with {flag}"
        )

    def texts(self, name: str) -> Texts:
        """A column as text [rows], as it stands; "" where there is nothing. Raises UserError for lists and the like."""
        column = self.columns[name]
        if not pa.types.is_large_string(column.type):
            raise UserError(
                f'{self.path}, column "{name}" holds {column.type}, expected text or whole numbers'
            )
        return column

    def ids(self, name: str, only_once: bool = False) -> Texts:
        """A column of ids as text [rows]; an empty or long one is broken, and if `only_once` one that stood before."""
        column = self.texts(name)
        blank = pc.equal(pc.utf8_trim_whitespace(column), "")
        unfit = pc.or_(
            blank, pc.greater(pc.utf8_length(column), 256)
        )  # an array of ids is as wide as the longest
        self.refuse(np.asarray(unfit), name, "a text of 1 to 256 characters")
        if only_once:
            self.refuse(
                pd.Series(encode(column)[1]).duplicated().to_numpy(),
                name,
                "every id once",
            )
        return column

    def kinds(self, name: str) -> Texts:
        """A column of kinds of event as text [rows]; those after the first 127 are broken: they would not fit int8."""
        column = self.ids(name)
        self.refuse(encode(column)[1] >= 127, name, "at most 127 kinds of event")
        return column

    def numbers(self, name: str) -> np.ndarray:
        """A column as float32 [rows], NaN where there is nothing; what is no finite number from 0 up is broken."""
        values, broken = self._floats(name)
        broken |= (values < 0) | (values > np.finfo(np.float32).max)
        self.refuse(broken, name, "a number from 0 up")
        return np.where(broken, np.nan, values).astype(np.float32)

    def flags(self, name: str) -> np.ndarray:
        """A column of yes and no (1/0, true/false, yes/no) as float32 [rows] of 1 and 0, NaN where there is nothing."""
        lower = pc.utf8_lower(pc.utf8_trim_whitespace(self.texts(name)))
        code = np.asarray(
            pc.index_in(
                lower, value_set=pa.array([*_FLAGS, ""], pa.large_string())
            ).fill_null(-1)
        )
        self.refuse(code < 0, name, "1, 0, true or false")
        return np.array([*_FLAGS.values(), np.nan, np.nan], np.float32)[code]

    def times(self, name: str) -> np.ndarray:
        """A column of times [rows] as datetime64[us] in UTC, or as int64 where it holds an order without a clock.

        ISO 8601, UTC if without offset; or unix seconds, milli-, micro- or nanoseconds from 1973 to 2286, told by
        magnitude; or, below 10^8, an order. Another unit than the first row's, or an offset in some only, is broken.
        """
        if pa.types.is_floating(self.columns[name].type):
            return self._unix_times(name)
        column = pc.utf8_trim_whitespace(self.texts(name))
        is_iso = np.asarray(pc.match_substring_regex(column, _ISO))
        if 2 * is_iso.sum() <= np.asarray(pc.not_equal(column, "")).sum():
            return self._unix_times(name)
        zoned = np.asarray(pc.match_substring_regex(column, _ZONE))
        other = is_iso & (zoned != zoned[is_iso.argmax()])
        self.refuse(other, name, "an offset such as +02:00 in every time or in none")
        dates = pc.if_else(is_iso, column, None).to_pandas()
        moments = pd.to_datetime(
            dates, format="ISO8601", utc=True, errors="coerce"
        ).to_numpy("datetime64[us]")
        inside = (moments >= np.datetime64(0, "s")) & (
            moments < np.datetime64(int(_LAST_SECOND), "s")
        )  # never NaT
        self.refuse(
            ~inside, name, "a time from 1970 to 2286 as ISO 8601 (2017-01-28 19:06:53)"
        )
        return moments

    def _unix_times(self, name: str) -> np.ndarray:
        values, broken = self._floats(name)
        usable = ~broken & (values >= 0)
        if usable.any() and (values[usable] < _FIRST_CLOCK).all():
            self.refuse(~usable, name, "a place in the order, from 0 up")
            return (np.where(usable, values, 0) * 1e6).astype(np.int64)
        unit = (
            np.digitize(values, _FIRST_CLOCK * 1000.0 ** np.arange(4)) - 1
        )  # seconds, milli-, micro-, nanoseconds
        inside = usable & (unit >= 0) & (values < _LAST_SECOND * 1000.0**unit)
        self.refuse(
            ~inside,
            name,
            "a time from 1973 to 2286 in unix seconds or milliseconds, or ISO 8601",
        )
        first = unit[inside.argmax()] if inside.any() else 0
        self.refuse(
            inside & (unit != first),
            name,
            "times in one unit, seconds or milliseconds, as above",
        )
        return (
            np.where(inside & (unit == first), values, 0) * 10.0 ** (6 - 3 * first)
        ).astype("datetime64[us]")

    def multi_valued(self, name: str) -> Feature:
        """A column of text with values separated by `|`, or of lists of text, as a feature with a row per row kept."""
        column = self.columns[name]
        lists = (
            column
            if pa.types.is_list(column.type)
            else pc.split_pattern(self.texts(name), "|")
        )
        return feature(lists.filter(pa.array(self.keep)))

    def _floats(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """float64 [rows], NaN where there is nothing, and bool [rows], where there is something else than a number."""
        column = self.columns[name]
        if pa.types.is_floating(column.type):
            values = np.asarray(column, float)
            return values, np.isnan(values) & np.asarray(column.is_valid())
        column = pc.utf8_trim_whitespace(self.texts(name))
        if self.decimal_comma:
            column = pc.replace_substring(column, ",", ".")
        is_number = pc.match_substring_regex(column, _NUMBER)
        values = pc.if_else(is_number, pc.utf8_ltrim(column, "+"), None).cast(
            pa.float64()
        )
        return np.asarray(values), np.asarray(
            pc.invert(pc.or_(is_number, pc.equal(column, "")))
        )


def feature(lists: pa.ListArray) -> Feature:
    """The feature whose rows hold the texts of `lists`, trimmed; empty texts are no values."""
    flat = pc.utf8_trim_whitespace(pc.list_flatten(lists).fill_null(""))
    filled = pc.not_equal(flat, "")
    row, (values, code) = (
        np.asarray(pc.list_parent_indices(lists).filter(filled)),
        encode(flat.filter(filled)),
    )
    place = np.arange(len(row)) - np.searchsorted(row, row)  # in its list
    table = np.full((len(lists), place.max(initial=0) + 1), -1, np.int32)
    table[row, place] = code
    return Feature(values, table)


def encode(column: Texts | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct texts in order of first appearance, and int32 [rows] the place of each row's text."""
    coded = (
        column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    ).dictionary_encode()
    return np.array(coded.dictionary.to_pylist(), str), np.asarray(coded.indices)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 with a BOM, or latin-1, its lines ended by LF; UserError where it is none."""
    data = path.read_bytes()
    try:
        text = data.decode(
            "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        )
    except UnicodeDecodeError:
        text = data.decode(
            "latin-1"
        )  # shows NUL bytes where it was UTF-16 or no text at all
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise UserError(f"{path} is empty; pass a file with at least one event")
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise UserError(
            f"{path}, line {line}: a NUL byte, expected text; unpack the file or save it again as UTF-8"
        )
    return text


def read_table(path: Path, wanted: Collection[str], drop_broken: bool) -> Table:
    """The `wanted` columns of a CSV or Parquet file, as far as it has them; UserError where it cannot be read."""
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1" or path.suffix in (".parquet", ".pq")
    return (_read_parquet if is_parquet else read_csv)(path, wanted, drop_broken)


def read_csv(
    path: Path,
    wanted: Collection[str],
    drop: bool,
    names: Sequence[str] = (),
    delimiter: str = "",
) -> Table:
    """As `read_table`, for text; one without header has `names`, a `delimiter` such as `::`, and no quotes."""
    text, quoted = read_text(path), not names
    if delimiter == "::":
        text, delimiter = (
            text.replace("::", "\x1f"),
            "\x1f",
        )  # csv knows delimiters of one character only
    delimiter = delimiter or max(
        DELIMITERS, key=text.lstrip("\n").partition("\n")[0].count
    )
    rows = _rows(path, text, delimiter, quoted)
    if not names:
        names = [name.strip().strip('"') for name in next(rows)[1]]
    places = {name: at for at, name in enumerate(names) if name in wanted}
    lines, parts, ragged = (
        array("q"),
        {name: [pa.array([], pa.large_string())] for name in places},
        Counter[str](),
    )
    while batch := list(
        islice(rows, 1_000)
    ):  # the fewer lists at a time, the less memory and searching for cycles
        wrong = [
            (line, len(fields)) for line, fields in batch if len(fields) != len(names)
        ]
        if wrong and not drop:
            raise UserError(
                f"{path}, line {wrong[0][0]}: {wrong[0][1]} fields, expected {len(names)}; {_REMEDY}"
            )
        ragged[f"broken rows ({path.name}: number of fields)"] += len(wrong)
        fitting = (
            [row for row in batch if len(row[1]) == len(names)] if wrong else batch
        )
        lines.extend(line for line, _ in fitting)
        for name, at in places.items():
            parts[name].append(
                pa.array([fields[at] for _, fields in fitting], pa.large_string())
            )
    columns = {name: pa.concat_arrays(part) for name, part in parts.items()}
    return Table(
        path,
        names,
        columns,
        len(lines),
        lambda row: f"line {lines[row]}",
        drop,
        delimiter != ",",
        ragged,
    )


def _rows(
    path: Path, text: str, delimiter: str, quoted: bool
) -> Iterator[tuple[int, list[str]]]:
    """The line on which each row that is not blank begins, and its fields."""
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader, line = (
        csv.reader(
            io.StringIO(text), delimiter=delimiter, quoting=quoting, strict=True
        ),
        1,
    )
    try:
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1
    except csv.Error:
        raise UserError(
            f'{path}, line {line}: a quote (") that is not closed; close it or double it'
        ) from None


def _read_parquet(path: Path, wanted: Collection[str], drop_broken: bool) -> Table:
    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        data = file.read(columns=[name for name in names if name.strip() in wanted])
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise UserError(
            f"{path} is damaged or no Parquet file ({str(problem)[:120]!r}); write it again"
        ) from None
    found = zip(data.column_names, data.columns, strict=True)
    columns = {
        name.strip(): _as_text(path, name, column).combine_chunks()
        for name, column in found
    }
    return Table(
        path,
        [*map(str.strip, names)],
        columns,
        len(data),
        lambda row: f"row {row + 1}",
        drop_broken,
    )


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
        raise UserError(
            f'{path}, column "{name}" holds {kind}, expected text, numbers or times; convert it'
        ) from None
