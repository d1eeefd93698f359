"""The calendar against the standard library's, and sinusoids against their formula."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.modules.temporal import calendar, sinusoid, temporal_encoding

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def minutes(*moments: datetime) -> np.ndarray:
    return np.array(
        [(moment - EPOCH) // timedelta(minutes=1) for moment in moments], np.int32
    )


def test_calendar_agrees_with_the_standard_library():
    """Every day at some minute over 130 years: leap years, 2000 and 2100 among them."""
    moments = [
        EPOCH + timedelta(days=day, minutes=(day * 37) % 1440)
        for day in range(0, 130 * 365, 1)
    ]
    found = calendar(jnp.asarray(minutes(*moments)))
    np.testing.assert_array_equal(found["hour"], [m.hour for m in moments])
    np.testing.assert_array_equal(found["weekday"], [m.weekday() for m in moments])
    np.testing.assert_array_equal(
        found["day"], [m.timetuple().tm_yday - 1 for m in moments]
    )
    np.testing.assert_array_equal(found["month"], [m.month - 1 for m in moments])


def test_sinusoid_by_hand():
    found = sinusoid(jnp.array([[0], [3]]), 5)
    assert found.shape == (2, 1, 5)
    np.testing.assert_allclose(found[0, 0], [0, 1, 0, 1, 0], atol=1e-7)
    rates = [10_000 ** (-2 * k / 5) for k in range(3)]
    expected = [f(3 * rate) for rate in rates for f in (math.sin, math.cos)][:5]
    np.testing.assert_allclose(found[1, 0], expected, rtol=1e-5)


def test_granularities_stand_side_by_side_in_the_order_asked():
    # A Friday, day 187 of a leap year.
    moment = datetime(2024, 7, 5, 19, 30, tzinfo=UTC)
    found = temporal_encoding(
        jnp.asarray(minutes(moment)), ("month", "hour", "weekday", "day"), 7
    )
    assert found.shape == (1, 28)
    positions = jnp.array([6, 19, 4, 186])
    np.testing.assert_allclose(
        found[0], np.asarray(sinusoid(positions, 7)).ravel(), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("granularity", "same", "other"),
    [
        ("hour", timedelta(days=3), timedelta(hours=1)),
        ("weekday", timedelta(days=7), timedelta(days=1)),
        ("day", timedelta(hours=2), timedelta(days=1)),
        ("month", timedelta(days=3), timedelta(days=40)),
    ],
)
def test_a_granularity_sees_its_own_period_alone(granularity, same, other):
    moment = datetime(2025, 3, 11, 9, 15, tzinfo=UTC)
    moments = minutes(moment, moment + same, moment + other)
    encoded, encoded_same, encoded_other = temporal_encoding(moments, (granularity,), 6)
    np.testing.assert_allclose(encoded, encoded_same, atol=1e-6)
    assert np.abs(encoded - encoded_other).max() > 0.01


def test_positions_repeat_after_the_longest_period():
    new_year = datetime(2025, 1, 1, tzinfo=UTC)
    later = datetime(2025, 1, 31, tzinfo=UTC)
    moments = minutes(new_year, later)
    encoded, encoded_later = temporal_encoding(moments, ("day",), 6, max_period=30)
    np.testing.assert_allclose(encoded, encoded_later, atol=1e-6)


def test_the_encoding_can_be_transformed(assert_transforms):
    minute = jnp.array([[0, 1_440, 99_991], [28_000_003, 28_000_011, 7]])
    names = ("hour", "month")

    def scaled(scale, minute):
        return scale * temporal_encoding(minute, names, 5)

    def one(scale):
        return scaled(scale, minute)

    assert_transforms(one, np.float32(3.0))
    expected = temporal_encoding(minute, names, 5)
    each = jax.vmap(jax.checkpoint(lambda row: temporal_encoding(row, names, 5)))
    np.testing.assert_allclose(each(minute), expected, atol=1e-6)
    no_change = np.zeros(minute.shape, jax.dtypes.float0)
    _, tangent = jax.jvp(scaled, (1.0, minute), (2.0, no_change))
    np.testing.assert_allclose(tangent, 2 * expected, atol=1e-6)
