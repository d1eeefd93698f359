"""Columns of times as microseconds since 1970, whatever their unit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ancf_jax.data.columns import Rows, Texts, cast, floats, mask, plain
from ancf_jax.errors import UserError

_ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"
_ZONE = r":.*(Z|[+-]\d\d(:?\d\d)?)$"
_FIRST_CLOCK = 1e8  # 1973-03-03; whole numbers below are an order, not a time
_LAST_SECOND = 1e10  # 2286-11-20; so every unit has its own range of magnitudes


def times(rows: Rows, name: str) -> tuple[np.ndarray, bool]:
    """A column of times as int64 [rows] microseconds since 1970 (UTC), and whether they are of a clock.

    Unix seconds, milliseconds, microseconds or nanoseconds (told by magnitude, for times from 1973
    to 2286), ISO 8601 with or without an offset (then taken as UTC), or Parquet timestamps. Whole
    numbers that are all below 10^8 are an order without a clock. A column that mixes units, or
    times with and without an offset, raises UserError.
    """
    column = plain(rows.table, name)
    if pa.types.is_temporal(column.type):
        column = cast(rows.table, name, column, pa.timestamp("us"), "times")
        return _checked(rows, name, column.to_numpy().astype("datetime64[us]"))
    if pa.types.is_large_string(column.type):
        trimmed = pc.utf8_trim_whitespace(column)
        is_iso = mask(pc.match_substring_regex(trimmed, _ISO))
        if 2 * is_iso.sum() > rows.table.rows:
            return _iso_times(rows, name, trimmed, is_iso)
    return _unix_times(rows, name)


def _unix_times(rows: Rows, name: str) -> tuple[np.ndarray, bool]:
    values, broken = floats(rows.table, name)
    broken |= np.isnan(values)
    usable = ~broken & (values >= 0)
    if usable.any() and (values[usable] < _FIRST_CLOCK).all():
        rows.refuse(~usable, name, "a place in the order, from 0 up")
        return np.where(usable, values * 1e6, 0).astype(np.int64), False
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.floor((np.log10(values) - 8) / 3)
        inside = usable & (values < _LAST_SECOND * 1000.0**unit) & (unit >= 0) & (unit <= 3)
    rows.refuse(~inside, name, "a time from 1973 to 2286 in unix seconds or milliseconds, or ISO 8601")
    units = np.unique(unit[inside])
    if len(units) > 1:
        _refuse_mix(rows, name, unit == units[0], unit == units[1], "times in one unit (seconds or milliseconds)")
    scale = 10.0 ** (6 - 3 * units[0]) if len(units) else 1.0
    return np.where(inside, values * scale, 0).astype(np.int64), True


def _iso_times(rows: Rows, name: str, column: Texts, is_iso: np.ndarray) -> tuple[np.ndarray, bool]:
    zoned = is_iso & mask(pc.match_substring_regex(column, _ZONE))
    if zoned.any() and (is_iso & ~zoned).any():
        _refuse_mix(rows, name, zoned, is_iso & ~zoned, "times that all have an offset, or none")
    usable = pc.if_else(pa.array(is_iso), column, pa.scalar(None, pa.large_string()))
    parsed = pd.to_datetime(usable.to_pandas(), format="ISO8601", utc=True, errors="coerce")
    return _checked(rows, name, parsed.to_numpy("datetime64[us]"))


def _checked(rows: Rows, name: str, moment: np.ndarray) -> tuple[np.ndarray, bool]:
    micros = moment.astype(np.int64)
    out = np.isnat(moment) | (micros < 0) | (micros >= _LAST_SECOND * 1e6)
    rows.refuse(out, name, "a time from 1970 to 2286 as ISO 8601 (2017-01-28 19:06:53)")
    return np.where(out, 0, micros), True


def _refuse_mix(rows: Rows, name: str, one: np.ndarray, other: np.ndarray, expected: str) -> None:
    first, second = int(np.argmax(one)), int(np.argmax(other))
    raise UserError(
        f'{rows.table.path}, column "{name}": {rows.value(first, name)} on {rows.table.locate(first)} and '
        f"{rows.value(second, name)} on {rows.table.locate(second)}, expected {expected}; convert one kind to the other"
    )
