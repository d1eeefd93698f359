"""Columns of text as ids, numbers, times and features; what is none of them makes its row broken."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ancf_jax.data.interactions import Feature
from ancf_jax.data.tabular import Table, Texts
from ancf_jax.errors import UserError

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"
_ZONE = r":.*(Z|[+-]\d\d(:?\d\d)?)$"
_FIRST_CLOCK = 1e8  # 1973-03-03; whole numbers below are an order, not a time
_LAST_SECOND = 1e10  # 2286-11-20; so every unit has its own range of magnitudes
_FLAGS = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0}


def texts(table: Table, name: str) -> Texts:
    """A column as text [rows], as it stands; "" where there is nothing. Raises UserError for lists and the like."""
    column = table.columns[name]
    if not pa.types.is_large_string(column.type):
        raise UserError(f'{table.path}, column "{name}" holds {column.type}, expected text or whole numbers')
    return column


def ids(table: Table, name: str, only_once: bool = False) -> Texts:
    """A column of ids as text [rows]; an empty or long one is broken, and if `only_once` one that stood before."""
    column = texts(table, name)
    blank = pc.equal(pc.utf8_trim_whitespace(column), "")
    unfit = pc.or_(blank, pc.greater(pc.utf8_length(column), 256))  # an array of ids is as wide as the longest
    table.refuse(np.asarray(unfit), name, "a text of 1 to 256 characters")
    if only_once:
        table.refuse(pd.Series(encode(column)[1]).duplicated().to_numpy(), name, "every id once")
    return column


def kinds(table: Table, name: str) -> Texts:
    """A column of kinds of event as text [rows]; those after the first 127 are broken, for they would not fit int8."""
    column = ids(table, name)
    table.refuse(encode(column)[1] >= 127, name, "at most 127 kinds of event")
    return column


def numbers(table: Table, name: str) -> np.ndarray:
    """A column as float32 [rows], NaN where there is nothing; what is no finite number from 0 up is broken."""
    values, broken = _floats(table, name)
    broken |= (values < 0) | (values > np.finfo(np.float32).max)
    table.refuse(broken, name, "a number from 0 up")
    return np.where(broken, np.nan, values).astype(np.float32)


def flags(table: Table, name: str) -> np.ndarray:
    """A column of yes and no (1/0, true/false, yes/no) as float32 [rows] of 1 and 0, NaN where there is nothing."""
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(texts(table, name)))
    code = np.asarray(pc.index_in(lower, value_set=pa.array([*_FLAGS, ""], pa.large_string())).fill_null(-1))
    table.refuse(code < 0, name, "1, 0, true or false")
    return np.array([*_FLAGS.values(), np.nan, np.nan], np.float32)[code]


def times(table: Table, name: str) -> np.ndarray:
    """A column of times [rows] as datetime64[us] in UTC, or as int64 where it holds an order without a clock.

    ISO 8601, UTC if without offset; or unix seconds, milli-, micro- or nanoseconds from 1973 to 2286, told by
    magnitude; or, below 10^8, an order. Another unit than the first row's, or an offset in some only, is broken.
    """
    if pa.types.is_floating(table.columns[name].type):
        return _unix_times(table, name)
    column = pc.utf8_trim_whitespace(texts(table, name))
    is_iso = np.asarray(pc.match_substring_regex(column, _ISO))
    if 2 * is_iso.sum() <= np.asarray(pc.not_equal(column, "")).sum():
        return _unix_times(table, name)
    zoned = np.asarray(pc.match_substring_regex(column, _ZONE))
    table.refuse(is_iso & (zoned != zoned[is_iso.argmax()]), name, "an offset such as +02:00 in every time or in none")
    dates = pc.if_else(is_iso, column, None).to_pandas()
    moments = pd.to_datetime(dates, format="ISO8601", utc=True, errors="coerce").to_numpy("datetime64[us]")
    inside = (moments >= np.datetime64(0, "s")) & (moments < np.datetime64(int(_LAST_SECOND), "s"))  # never NaT
    table.refuse(~inside, name, "a time from 1970 to 2286 as ISO 8601 (2017-01-28 19:06:53)")
    return moments


def _unix_times(table: Table, name: str) -> np.ndarray:
    values, broken = _floats(table, name)
    usable = ~broken & (values >= 0)
    if usable.any() and (values[usable] < _FIRST_CLOCK).all():
        table.refuse(~usable, name, "a place in the order, from 0 up")
        return (np.where(usable, values, 0) * 1e6).astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.floor((np.log10(values) - 8) / 3)
        inside = usable & (values < _LAST_SECOND * 1000.0**unit) & (unit >= 0) & (unit <= 3)
    table.refuse(~inside, name, "a time from 1973 to 2286 in unix seconds or milliseconds, or ISO 8601")
    first = unit[inside.argmax()] if inside.any() else 0
    table.refuse(inside & (unit != first), name, "times in one unit, seconds or milliseconds, as above")
    return (np.where(inside & (unit == first), values, 0) * 10.0 ** (6 - 3 * first)).astype("datetime64[us]")


def multi_valued(table: Table, name: str) -> Feature:
    """A column of text with values separated by `|`, or of lists of text, as a feature with one row per row."""
    column = table.columns[name]
    return feature(column if pa.types.is_list(column.type) else pc.split_pattern(texts(table, name), "|"))


def feature(lists: pa.ListArray) -> Feature:
    """The feature whose rows hold the texts of `lists`, trimmed; empty texts are no values."""
    flat = pc.utf8_trim_whitespace(pc.list_flatten(lists).fill_null(""))
    filled = pc.not_equal(flat, "")
    row, (values, code) = np.asarray(pc.list_parent_indices(lists).filter(filled)), encode(flat.filter(filled))
    count = np.bincount(row, minlength=len(lists))
    place = np.arange(len(row)) - (np.cumsum(count) - count)[row]
    table = np.full((len(lists), max(1, count.max(initial=0))), -1, np.int32)
    table[row, place] = code
    return Feature(values, table)


def encode(column: Texts | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct texts in order of first appearance, and int32 [rows] the place of each row's text."""
    coded = (column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column).dictionary_encode()
    return np.array(coded.dictionary.to_pylist(), str), np.asarray(coded.indices)


def _floats(table: Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """float64 [rows], NaN where there is nothing, and bool [rows], where there is something else than a number."""
    column = table.columns[name]
    if pa.types.is_floating(column.type):
        values = np.asarray(column, float)
        return values, np.isnan(values) & np.asarray(column.is_valid())
    column = pc.utf8_trim_whitespace(texts(table, name))
    if table.decimal_comma:
        column = pc.replace_substring(column, ",", ".")
    is_number = pc.match_substring_regex(column, _NUMBER)
    values = pc.if_else(is_number, pc.utf8_ltrim(column, "+"), None).cast(pa.float64())
    return np.asarray(values), np.asarray(pc.invert(pc.or_(is_number, pc.equal(column, ""))))
