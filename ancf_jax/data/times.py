"""Columns of times: ISO 8601, unix times in four units, or numbers that only order events."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ancf_jax.data.columns import Broken, Column, plain_floats, to_floats, trim
from ancf_jax.errors import UserError

_ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"
_OFFSET = r":.*(Z|[+-]\d\d(:?\d\d)?)$"
_UNITS = 4  # seconds, milli-, micro- and nanoseconds
_EARLIEST_CLOCK = 1e8  # seconds, 1973-03-03; numbers below are an order, not a time
_MILLIONTHS = 1e6  # of a number that only orders, so that fractions count
_END = 1e10  # seconds, 2286-11-20; so every unit has its own range of magnitudes


def parse_times(column: Column, decimal_comma: bool) -> tuple[np.ndarray, list[Broken]]:
    """A column of times [rows], as dates or as numbers, whichever most of its rows hold.

    A date is ISO 8601, in UTC if it has no offset. An offset in some rows only is broken.
    Numbers are unix seconds, milli-, micro- or nanoseconds from 1973 to 2286. Their magnitude
    tells the unit, and another unit than the first row's is broken. Where all numbers are below
    10^8, they are an order without a clock.

    Args:
        column: numbers, timestamps, or text.
        decimal_comma: whether the text `3,5` is a number.

    Returns:
        datetime64[us] in UTC, or int64 where the column holds an order; and the broken rows.
    """
    if pa.types.is_timestamp(column.type):
        return _inside(np.asarray(column.cast(pa.timestamp("us"))))
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return _parse_unix_times(column, decimal_comma)
    plain = plain_floats(column)
    if plain is not None:
        return _parse_unix_times(pa.array(plain), decimal_comma)
    texts = trim(column)
    is_iso = np.asarray(pc.match_substring_regex(texts, _ISO))
    is_filled = np.asarray(pc.not_equal(texts, ""))
    if 2 * is_iso.sum() <= is_filled.sum():
        return _parse_unix_times(texts, decimal_comma)
    return _parse_dates(texts, is_iso)


def _parse_dates(texts: Column, is_iso: np.ndarray) -> tuple[np.ndarray, list[Broken]]:
    has_offset = np.asarray(pc.match_substring_regex(texts, _OFFSET))
    is_mixed = is_iso & (has_offset != has_offset[is_iso.argmax()])
    dates = pc.if_else(is_iso, texts, None).to_pandas()
    parsed = pd.to_datetime(dates, format="ISO8601", utc=True, errors="coerce")
    times = parsed.to_numpy("datetime64[us]")
    times, broken = _inside(times)
    return times, [
        Broken(is_mixed, "an offset such as +02:00 in every time or in none"),
        *broken,
    ]


def _inside(times: np.ndarray) -> tuple[np.ndarray, list[Broken]]:
    """datetime64[us] as they are; those that are none, or out of range, are broken."""
    # A comparison with NaT, which stands for what is no date, is false.
    is_inside = (times >= np.datetime64(0, "s")) & (
        times < np.datetime64(int(_END), "s")
    )
    return times, [
        Broken(
            ~is_inside, "a time from 1970 to 2286 as ISO 8601 (2017-01-28 19:06:53)"
        ),
    ]


def _parse_unix_times(
    column: Column, decimal_comma: bool
) -> tuple[np.ndarray, list[Broken]]:
    values, is_broken = to_floats(column, decimal_comma)
    is_usable = ~is_broken & (values >= 0)
    if is_usable.any() and not (is_usable & (values >= _EARLIEST_CLOCK)).any():
        return _parse_order(values, is_usable)
    unit = _units(values)
    is_inside = is_usable & _is_before_end(values, unit)
    column_unit = int(unit[is_inside.argmax()]) if is_inside.any() else 0
    is_fit = is_inside & (unit == column_unit)
    micros = values if values.flags.writeable else values.copy()
    micros[~is_fit] = 0
    micros *= 10.0 ** (6 - 3 * column_unit)
    whole = micros.view(np.int64)
    whole[:] = micros  # in place, for memory is short with many events
    return whole.view("datetime64[us]"), [
        Broken(
            ~is_inside,
            "a time from 1973 to 2286 in unix seconds or milliseconds, or ISO 8601",
        ),
        Broken(
            is_inside & ~is_fit, "times in one unit, seconds or milliseconds, as above"
        ),
    ]


def _units(values: np.ndarray) -> np.ndarray:
    """int8: 0 for seconds, 1 for milli-, 2 for micro-, 3 for nanoseconds, -1 for less than all."""
    begins = _EARLIEST_CLOCK * 1000.0 ** np.arange(_UNITS)
    extremes = [np.fmin.reduce(values), np.fmax.reduce(values)]
    lowest, highest = np.digitize(extremes, begins) - 1
    if lowest == highest:
        return np.full(len(values), lowest, np.int8)
    return (np.digitize(values, begins) - 1).astype(np.int8)


def _is_before_end(values: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """bool: whether values are below the end of their unit; false where they have none."""
    is_before = np.zeros(len(values), bool)
    for number in range(_UNITS):
        is_before |= (unit == number) & (values < _END * 1000.0**number)
    return is_before


def _parse_order(
    values: np.ndarray, is_usable: np.ndarray
) -> tuple[np.ndarray, list[Broken]]:
    """Numbers that only order events, in millionths, so that fractions count."""
    order = (np.where(is_usable, values, 0) * _MILLIONTHS).astype(np.int64)
    return order, [Broken(~is_usable, "a place in the order, from 0 up")]


def order_remark(place: str, order: np.ndarray) -> str:
    """What to say of numbers that only order events; loud where they look like dates.

    Args:
        place: the file and the column.
        order: int64 [rows] in millionths, as `parse_times` gives them.
    """
    numbers = order / _MILLIONTHS
    remark = (
        f"{place} holds numbers below 10^8 such as {numbers[0]:.12g}, which are no times: they "
        "only order the events, so there are no hours and no seasons"
    )
    for looks, kind in _LOOK_ALIKES:
        if looks(numbers).all():
            return f"WARNING: {remark}; they look like {kind}: write them as 2020-01-31"
    return f"note: {remark}"


def _is_compact_date(numbers: np.ndarray) -> np.ndarray:
    year, day_of_year = np.divmod(numbers, 10_000)
    month, day = np.divmod(day_of_year, 100)
    is_day = (day >= 1) & (day <= 31) & (day % 1 == 0)
    return (year >= 1900) & (year <= 2286) & (month >= 1) & (month <= 12) & is_day


def _is_serial_day(numbers: np.ndarray) -> np.ndarray:
    """Days since 1899-12-30, from 1950 to 2100."""
    return (numbers >= 18_264) & (numbers < 73_416)


_LOOK_ALIKES = (
    (_is_compact_date, "dates such as 20200131"),
    (_is_serial_day, "days as a spreadsheet counts them, such as 43861"),
)


def minute_of(text: str) -> int:
    """Minutes since 1970 of a moment such as 2025-07-18T19:00; a zone is converted to UTC.

    Raises:
        UserError: the text is no ISO 8601 moment, or one before 1970 or after 2286.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f'--at "{text}" is no moment; write it as 2025-07-18T19:00'
        ) from None
    in_zone = moment.replace(tzinfo=moment.tzinfo or UTC)
    seconds = in_zone.timestamp()
    if not 0 <= seconds < _END:
        raise UserError(
            f'--at "{text}" is not between 1970 and 2286, as the times of events are; '
            "write a moment of these years, such as 2025-07-18T19:00"
        )
    return int(seconds // 60)
