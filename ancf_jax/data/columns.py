"""Columns of text or typed values as numbers, times and lists, with the place of every value that is not one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ancf_jax.data.interactions import Feature
from ancf_jax.data.tabular import Table, remedy
from ancf_jax.errors import UserError

Texts = pa.ChunkedArray  # of large_string, without nulls
LONGEST_ID = 256
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_FLAGS = {"1": 1.0, "1.0": 1.0, "true": 1.0, "t": 1.0, "yes": 1.0, "y": 1.0}
_FLAGS |= {"0": 0.0, "0.0": 0.0, "false": 0.0, "f": 0.0, "no": 0.0, "n": 0.0}


class Rows:
    """The rows of a table that are fit for use: the first broken one is refused, or all are counted and left out.

    `drop_broken` is None where rows cannot be left out.

    Attributes:
        keep: bool [rows].
        left_out: broken rows by column.
    """

    def __init__(self, table: Table, drop_broken: bool | None):
        self.table = table
        self.keep = np.ones(table.rows, bool)
        self.left_out: Counter[str] = Counter()
        self._drop = drop_broken
        if table.ragged:
            self.left_out[f"broken rows ({table.path.name}: number of fields)"] = table.ragged

    def refuse(self, broken: np.ndarray, column: str, expected: str) -> None:
        """Raises UserError at the first of the `broken` rows (bool [rows]), or leaves them out."""
        if not broken.any():
            return
        if self._drop:
            self.left_out[f"broken rows ({self.table.path.name}: {column})"] += int((broken & self.keep).sum())
            self.keep &= ~broken
            return
        row = int(np.argmax(broken))
        raise UserError(
            f'{self.table.path}, {self.table.locate(row)}, column "{column}": found {self.value(row, column)}, expected '
            f"{expected}; {remedy(self._drop)}"
        )

    def value(self, row: int, column: str) -> str:
        """What stands in one field, for a message."""
        value = self.table.columns[column][row].as_py()
        return "nothing" if value in (None, "") else repr(str(value)[:60])


def texts(table: Table, name: str) -> Texts:
    """A column as text [rows], exactly as it stands; "" where there is nothing.

    Whole numbers keep all their digits. Raises UserError for fractions, lists and structures.
    """
    column = plain(table, name)
    if pa.types.is_floating(column.type):
        column = cast(table, name, column, pa.float64(), "text or whole numbers")
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        column = cast(table, name, column, pa.int64(), "text or whole numbers")
    return pc.fill_null(cast(table, name, column, pa.large_string(), "text or whole numbers"), "")


def ids(rows: Rows, name: str, what: str = "an id") -> Texts:
    """A column of ids as text [rows]; an empty one, or one of more than 256 characters, makes the row broken."""
    column = texts(rows.table, name)
    rows.refuse(mask(pc.equal(pc.utf8_trim_whitespace(column), "")), name, what)
    rows.refuse(
        mask(pc.greater(pc.utf8_length(column), LONGEST_ID)), name, f"{what} of at most {LONGEST_ID} characters"
    )
    return column


def numbers(rows: Rows, name: str) -> np.ndarray:
    """A column as float32 [rows], NaN where there is nothing; what is no finite number from 0 up is broken."""
    values, broken = floats(rows.table, name)
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    rows.refuse(broken | np.isinf(small) | (small < 0), name, "a number from 0 up")
    return small


def flags(rows: Rows, name: str) -> np.ndarray:
    """A column of yes and no (1/0, true/false, yes/no) as float32 [rows] of 1 and 0, NaN where there is nothing."""
    column = texts(rows.table, name)
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    place = pc.index_in(lower, value_set=pa.array([*_FLAGS, ""], pa.large_string()))
    code = pc.fill_null(place, -1).to_numpy()
    rows.refuse(code < 0, name, "1, 0, true or false")
    return np.array([*_FLAGS.values(), np.nan, np.nan], np.float32)[code]


def multi_valued(table: Table, name: str) -> Feature:
    """A column of text with values separated by `|`, or of lists, as a feature with one row per row."""
    column = plain(table, name)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lists = column.combine_chunks()
        item_type = lists.type.value_type
        if pa.types.is_nested(item_type):
            raise UserError(f'{table.path}, column "{name}" holds {column.type}, expected text or lists of text')
        flat = pc.fill_null(cast(table, name, pc.list_flatten(lists), pa.large_string(), "lists of text"), "")
    else:
        lists = pc.split_pattern(texts(table, name), "|").combine_chunks()
        flat = pc.list_flatten(lists)
    return feature(pc.list_parent_indices(lists).to_numpy(), pc.utf8_trim_whitespace(flat), table.rows)


def feature(row: np.ndarray, values: pa.Array, rows: int) -> Feature:
    """The feature whose row `row[j]` (ascending) holds the text `values[j]`; empty texts are no values."""
    filled = mask(pc.not_equal(values, ""))
    row, (values, code) = row[filled], encode(pc.filter(values, pa.array(filled)))
    count = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - (np.cumsum(count) - count)[row]
    table = np.full((rows, max(1, count.max(initial=0))), -1, np.int32)
    table[row, place] = code
    return Feature(values, table)


def encode(column: Texts | pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The distinct texts in order of first appearance, and int32 [rows] the place of each row's text."""
    coded = pc.dictionary_encode(column)
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.unify_dictionaries().combine_chunks()
    if isinstance(coded, pa.ChunkedArray):  # no rows at all
        return np.zeros(0, str), np.zeros(0, np.int32)
    return np.array(coded.dictionary.to_pylist(), str), coded.indices.to_numpy(zero_copy_only=False).astype(np.int32)


def plain(table: Table, name: str) -> pa.ChunkedArray:
    """A column without dictionary encoding, text as large_string."""
    column = table.columns[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type):
        column = column.cast(pa.large_string())
    return column


def cast(table: Table, name: str, column: pa.ChunkedArray, kind: pa.DataType, expected: str) -> Texts:
    """`column` of the table as another type; raises UserError where that is impossible or would lose something."""
    try:
        to_float = pa.types.is_floating(kind)  # only where digits may be lost
        return pc.cast(column, options=pc.CastOptions(kind, allow_time_truncate=True, allow_float_truncate=to_float))
    except (pa.ArrowException, ValueError):
        found = table.columns[name].type
        raise UserError(
            f'{table.path}, column "{name}" holds {found}, expected {expected}; convert it before'
        ) from None


def mask(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """bool [rows], false where there is nothing."""
    column = pc.fill_null(column, False)
    return column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)


def floats(table: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """float64 [rows], NaN where there is nothing, and bool [rows], where there is something else than a number."""
    column = plain(table, name)
    if pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(pc.fill_null(column, ""))
        if table.decimal_comma:
            column = pc.replace_substring(column, ",", ".")
        number = pc.match_substring_regex(column, _NUMBER)
        broken = ~mask(number) & mask(pc.not_equal(column, ""))
        column = pc.if_else(number, pc.utf8_ltrim(column, "+"), pa.scalar(None, pa.large_string()))
        return pc.cast(column, pa.float64()).to_numpy(), broken
    column = cast(table, name, column, pa.float64(), "numbers")
    values = column.to_numpy()
    return values, np.isnan(values) & mask(column.is_valid())
