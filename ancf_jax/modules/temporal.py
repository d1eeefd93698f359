"""When: the calendar as arithmetic on arrays, and its sinusoidal encoding."""

from collections.abc import Sequence

import jax.numpy as jnp

from ancf_jax.types import Array

DAY = 24 * 60  # minutes


def day_of_year_and_month(day: Array) -> tuple[Array, Array]:
    """Day of the year 0..365 and month 0..11 in the proleptic Gregorian calendar.

    Integer arithmetic over eras of 400 years that begin on 1 March, so that the leap day is the
    last of its year.

    Args:
        day: int32 [...] days since 1970-01-01.
    """
    era_day = (day + 719_468) % 146_097
    leap_days = era_day // 1_460 - era_day // 36_524 + era_day // 146_096
    year = (era_day - leap_days) // 365
    days_before_year = 365 * year + year // 4 - year // 100
    march_day = era_day - days_before_year
    march_month = (5 * march_day + 2) // 153
    month = (march_month + 2) % 12
    is_century = year % 100 == 0
    is_leap = ((year % 4 == 0) & ~is_century) | (year % 400 == 0)
    # Day 306 of a year that begins on 1 March is 1 January.
    before_march = march_day - 306
    from_march = march_day + 59 + is_leap.astype(day.dtype)
    return jnp.where(march_day >= 306, before_march, from_march), month


def calendar(minute: Array) -> dict[str, Array]:
    """Position of each minute since 1970 within its day, week and year.

    Returns:
        int32 arrays: hour 0..23, weekday 0..6 (Monday is 0), day (of the year) 0..365, month
        0..11.
    """
    day = minute // DAY
    day_of_year, month = day_of_year_and_month(day)
    return {
        "hour": minute // 60 % 24,
        "weekday": (day + 3) % 7,
        "day": day_of_year,
        "month": month,
    }


def sinusoid(position: Array, size: int) -> Array:
    """pe[p, 2k] = sin(p * 10000^(-2k/size)), pe[p, 2k+1] = cos(same): float32 [..., size].

    Source: Vaswani et al. 2017, section 3.5.
    """
    k = jnp.arange((size + 1) // 2, dtype=jnp.float32)
    rate = 10_000.0 ** (-2.0 * k / size)
    rate = rate.reshape((1,) * position.ndim + rate.shape)
    angle = position[..., None].astype(jnp.float32) * rate
    pairs = jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)
    return pairs.reshape((*position.shape, -1))[..., :size]


def temporal_encoding(
    minute: Array, granularities: Sequence[str], size: int, max_period: int = 365
) -> Array:
    """Sinusoids of the chosen granularities side by side: float32 [..., G * size].

    A position is taken modulo `max_period`, so that the width never depends on the time span.

    Args:
        minute: int32 [...] minutes since 1970-01-01.
        granularities: names of positions that `calendar` returns.
        size: width of each sinusoid.
        max_period: the longest period.
    """
    positions = calendar(minute)
    parts = [sinusoid(positions[name] % max_period, size) for name in granularities]
    return jnp.concatenate(parts, axis=-1)
