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
# A column in one piece or in several.
Column = pa.Array | pa.ChunkedArray
# Text as int32 places among the distinct texts, by order of first appearance.
Coded = pa.DictionaryArray

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


def trim(column: Column) -> Column:
    """The texts without blanks at both ends."""
    return pc.utf8_trim_whitespace(column)


def code(column: Column) -> Coded:
    """A column of text, or of whole numbers as text, by order of first appearance."""
    is_coded = pa.types.is_dictionary(column.type)
    coded = column if is_coded else column.dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = _in_one_piece(coded.unify_dictionaries())
    if is_coded:
        return _in_order_of_appearance(coded)
    return _coded(coded.indices, coded.dictionary.cast(pa.large_string()))


def _in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, without a copy where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _in_order_of_appearance(column: pa.DictionaryArray) -> Coded:
    """The same texts; those that no row holds are gone, and each is there once."""
    places = np.asarray(column.indices)
    used = pd.unique(places)
    once = column.dictionary.take(pa.array(used)).dictionary_encode()
    new_place = np.full(len(column.dictionary), -1, np.int32)
    new_place[used] = np.asarray(once.indices)
    if not np.array_equal(new_place, np.arange(len(new_place))):
        places = new_place[places]
    return _coded(pa.array(places), once.dictionary.cast(pa.large_string()))


def _coded(indices: pa.Array, texts: Texts) -> Coded:
    return pa.DictionaryArray.from_arrays(indices.cast(pa.int32()), texts)


def encode(column: Column) -> tuple[np.ndarray, np.ndarray]:
    """Codes texts by order of first appearance.

    Args:
        column: text [rows], coded or not.

    Returns:
        text [V], the distinct texts, and int32 [rows], the place of each row's text among them.

    Raises:
        UserError: for a text that holds NUL, for NumPy cuts text at NUL bytes that end it.
    """
    coded = code(column)
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


def parse_ids(column: Column) -> tuple[Coded, list[Broken]]:
    """A column of ids as it stands, coded; an empty id and a very long one are broken.

    Args:
        column: text, coded or not, or whole numbers.
    """
    coded = code(column)
    texts = coded.dictionary
    is_empty = pc.equal(trim(texts), "")
    is_long = pc.greater(pc.utf8_length(texts), LONGEST_ID)
    unfit = np.asarray(pc.or_(is_empty, is_long))[np.asarray(coded.indices)]
    return coded, [Broken(unfit, f"a text of 1 to {LONGEST_ID} characters")]


def parse_distinct_ids(column: Column) -> tuple[Coded, list[Broken]]:
    """As `parse_ids`; an id that an earlier row holds is broken, too."""
    coded, broken = parse_ids(column)
    is_repeated = pd.Series(np.asarray(coded.indices)).duplicated().to_numpy()
    return coded, [*broken, Broken(is_repeated, "every id once")]


def parse_kinds(column: Column) -> tuple[Coded, list[Broken]]:
    """As `parse_ids`, for kinds of event; those after the first 127 kinds are broken."""
    coded, broken = parse_ids(column)
    is_surplus = np.asarray(coded.indices) >= _MOST_KINDS
    return coded, [
        *broken,
        Broken(is_surplus, f"at most {_MOST_KINDS} kinds of event"),
    ]


def parse_numbers(
    column: Column, decimal_comma: bool
) -> tuple[np.ndarray, list[Broken]]:
    """A column as float32 [rows], NaN where it is empty.

    What is no finite number from 0 up is broken, and so is a very large one.
    """
    values, is_broken = to_floats(column, decimal_comma)
    is_broken |= values < 0
    is_large = values > _LARGEST
    is_unfit = is_broken | is_large
    if is_unfit.any():
        values = np.where(is_unfit, np.nan, values)
    return values.astype(np.float32), [
        Broken(is_broken, "a number from 0 up"),
        Broken(is_large, f"a number of at most {_LARGEST:g}"),
    ]


def parse_flags(column: Column) -> tuple[np.ndarray, list[Broken]]:
    """A column of yes and no as float32 [rows] of 1 and 0, NaN where it is empty.

    Flags are 1 and 0, true and false, or yes and no, in upper or lower case.
    """
    lower = pc.utf8_lower(trim(column))
    known = pa.array(_FLAGS, pa.large_string())
    code = np.asarray(pc.index_in(lower, value_set=known).fill_null(-1))
    meanings = np.array([*_FLAGS.values(), np.nan], np.float32)  # -1 means NaN
    return meanings[code], [Broken(code < 0, "1, 0, true or false")]


def to_floats(column: Column, decimal_comma: bool) -> tuple[np.ndarray, np.ndarray]:
    """A column of floating point or of text as numbers.

    Args:
        column: [rows] the column; of whole numbers, too.
        decimal_comma: whether the text `3,5` is a number.

    Returns:
        float64 [rows], NaN where a row is empty or broken, and bool [rows], where a row holds
        something else than a number.
    """
    if pa.types.is_integer(column.type):
        values = _held_floats(column)
        return values, np.zeros(len(values), bool)
    if pa.types.is_floating(column.type):
        values = _held_floats(column)
        return values, np.isnan(values) & np.asarray(column.is_valid())
    values = plain_floats(column)
    if values is not None:
        return values, np.zeros(len(values), bool)
    texts = trim(column)
    if decimal_comma:
        texts = pc.replace_substring(texts, ",", ".")
    is_number = pc.match_substring_regex(texts, _NUMBER)
    is_empty = pc.equal(texts, "")
    numbers = pc.if_else(is_number, pc.utf8_ltrim(texts, "+"), None)
    values = np.asarray(numbers.cast(pa.float64()))
    return values, np.asarray(pc.invert(pc.or_(is_number, is_empty)))


def _held_floats(column: Column) -> np.ndarray:
    """Whole numbers or floating point as float64, NaN for nulls, without a copy in between."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    values = np.empty(len(column))
    begin = 0
    for chunk in chunks:
        end = begin + len(chunk)
        values[begin:end] = chunk.to_numpy(zero_copy_only=False)
        begin = end
    return values


def plain_floats(column: Column) -> np.ndarray | None:
    """The numbers of a column where Arrow finds nothing else in it; None for any other column."""
    try:
        values = np.asarray(column.cast(pa.float64()))
    except pa.ArrowInvalid:
        return None
    return values if np.isfinite(values).all() else None


def release_memory() -> None:
    """Gives back what Arrow holds for later use, which may be more than all that is in use."""
    pa.default_memory_pool().release_unused()
