"""Columns of text as ids, numbers, flags and features, and which of their rows are broken.

Every `parse_` function returns the values of all rows, and the rows that hold something else.
It raises nothing: `Table` knows the file and the line, and refuses the rows or leaves them out.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ancf_jax.data.interactions import Feature
from ancf_jax.errors import UserError

# An array of `large_string` without nulls.
Texts = pa.Array

LONGEST_ID = 256  # characters; a NumPy array of ids is as wide as the longest one
_MOST_KINDS = 127  # the place of a kind must fit int8
_LARGEST = 1e12  # of numbers; the sum of the squares of many must fit float32
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_FLAGS = {
    "1": 1,
    "1.0": 1,
    "true": 1,
    "yes": 1,
    "0": 0,
    "0.0": 0,
    "false": 0,
    "no": 0,
    "": np.nan,
}


class Broken(NamedTuple):
    """Rows of a column that hold something else than they should.

    Attributes:
        rows: bool [rows].
        expected: what they should hold, in the words of an error message.
    """

    rows: np.ndarray
    expected: str


def trim(column: Texts) -> Texts:
    """The texts without blanks at both ends."""
    return pc.utf8_trim_whitespace(column)


def encode(column: Texts | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Codes texts by order of first appearance.

    Returns:
        text [V], the distinct texts, and int32 [rows], the place of each row's text among them.

    Raises:
        UserError: for a text that holds NUL, for NumPy cuts text at NUL bytes that end it.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    coded = column.dictionary_encode()
    _refuse_nul(coded.dictionary)
    distinct = np.array(coded.dictionary.to_pylist(), str)
    return distinct, np.asarray(coded.indices)


def _refuse_nul(texts: Texts) -> None:
    with_nul = texts.filter(pc.match_substring(texts, "\x00"))
    if len(with_nul):
        found = with_nul[0].as_py()[:60]
        raise UserError(f"found {found!r}, expected text without NUL; correct the data")


def feature(lists: pa.ListArray) -> Feature:
    """The feature whose rows hold the texts of `lists`, trimmed; empty texts are no values."""
    texts = trim(pc.list_flatten(lists).fill_null(""))
    is_value = pc.not_equal(texts, "")
    row = np.asarray(pc.list_parent_indices(lists).filter(is_value))
    values, code = encode(texts.filter(is_value))
    place_in_list = np.arange(len(row)) - np.searchsorted(row, row)
    width = place_in_list.max(initial=0) + 1
    ids = np.full((len(lists), width), -1, np.int32)
    ids[row, place_in_list] = code
    return Feature(values, ids)


def long_values(lists: pa.ListArray) -> Broken:
    """The rows of lists of text that hold a very long one."""
    length = pc.utf8_length(pc.list_flatten(lists)).fill_null(0)
    is_long = np.asarray(pc.greater(length, LONGEST_ID))
    rows = np.zeros(len(lists), bool)
    rows[np.asarray(pc.list_parent_indices(lists))[is_long]] = True
    return Broken(rows, f"values of at most {LONGEST_ID} characters")


def parse_ids(column: Texts) -> tuple[Texts, list[Broken]]:
    """A column of ids as it stands; an empty id and a very long one are broken."""
    is_empty = pc.equal(trim(column), "")
    is_long = pc.greater(pc.utf8_length(column), LONGEST_ID)
    unfit = np.asarray(pc.or_(is_empty, is_long))
    return column, [Broken(unfit, f"a text of 1 to {LONGEST_ID} characters")]


def parse_distinct_ids(column: Texts) -> tuple[Texts, list[Broken]]:
    """As `parse_ids`; an id that an earlier row holds is broken, too."""
    _, broken = parse_ids(column)
    _, code = encode(column)
    is_repeated = pd.Series(code).duplicated().to_numpy()
    return column, [*broken, Broken(is_repeated, "every id once")]


def parse_kinds(column: Texts) -> tuple[Texts, list[Broken]]:
    """As `parse_ids`, for kinds of event; those after the first 127 kinds are broken."""
    _, broken = parse_ids(column)
    _, code = encode(column)
    is_surplus = code >= _MOST_KINDS
    return column, [
        *broken,
        Broken(is_surplus, f"at most {_MOST_KINDS} kinds of event"),
    ]


def parse_numbers(
    column: pa.Array, decimal_comma: bool
) -> tuple[np.ndarray, list[Broken]]:
    """A column as float32 [rows], NaN where it is empty.

    What is no finite number from 0 up is broken, and so is a very large one.
    """
    values, is_broken = to_floats(column, decimal_comma)
    is_broken |= values < 0
    is_large = values > _LARGEST
    is_fit = ~(is_broken | is_large)
    numbers = np.where(is_fit, values, np.nan).astype(np.float32)
    return numbers, [
        Broken(is_broken, "a number from 0 up"),
        Broken(is_large, f"a number of at most {_LARGEST:g}"),
    ]


def parse_flags(column: Texts) -> tuple[np.ndarray, list[Broken]]:
    """A column of yes and no as float32 [rows] of 1 and 0, NaN where it is empty.

    Flags are 1 and 0, true and false, or yes and no, in upper or lower case.
    """
    lower = pc.utf8_lower(trim(column))
    known = pa.array(_FLAGS, pa.large_string())
    code = np.asarray(pc.index_in(lower, value_set=known).fill_null(-1))
    meanings = np.array([*_FLAGS.values(), np.nan], np.float32)  # -1 means NaN
    return meanings[code], [Broken(code < 0, "1, 0, true or false")]


def to_floats(column: pa.Array, decimal_comma: bool) -> tuple[np.ndarray, np.ndarray]:
    """A column of floating point or of text as numbers.

    Args:
        column: [rows] the column.
        decimal_comma: whether the text `3,5` is a number.

    Returns:
        float64 [rows], NaN where a row is empty or broken, and bool [rows], where a row holds
        something else than a number.
    """
    if pa.types.is_floating(column.type):
        values = np.asarray(column, float)
        return values, np.isnan(values) & np.asarray(column.is_valid())
    texts = trim(column)
    if decimal_comma:
        texts = pc.replace_substring(texts, ",", ".")
    is_number = pc.match_substring_regex(texts, _NUMBER)
    is_empty = pc.equal(texts, "")
    numbers = pc.if_else(is_number, pc.utf8_ltrim(texts, "+"), None)
    values = np.asarray(numbers.cast(pa.float64()))
    return values, np.asarray(pc.invert(pc.or_(is_number, is_empty)))
