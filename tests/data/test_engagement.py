from __future__ import annotations

import numpy as np
import pytest

from ancf_jax.data.engagement import (
    Scales,
    compress_dwell,
    engagement_score,
    fit_scales,
    mean_dwell,
    previous,
)

NAN = float("nan")


def _column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_score_by_hand():
    # log(1 + 7) / log(1 + 63) = 3/6 and log(1 + 3) / log(1 + 15) = 2/4.
    score = engagement_score(
        hover=_column(3, 0, 15),
        dwell=_column(7, 0, 63),
        clicked=_column(1, 0, 1),
        scales=Scales(hover=15, dwell=63),
    )
    np.testing.assert_allclose(score, [0.4 + 0.4 * 0.5 + 0.2 * 0.5, 0, 1], atol=1e-6)
    assert score.dtype == np.float32


def test_unknown_traces_take_no_part():
    scales = Scales(hover=15, dwell=63)
    score = engagement_score(
        hover=_column(NAN, 3, NAN, NAN),
        dwell=_column(7, NAN, 7, NAN),
        clicked=_column(1, 1, NAN, NAN),
        scales=scales,
    )
    expected = [
        (0.4 + 0.4 * 0.5) / 0.8,
        (0.4 + 0.2 * 0.5) / 0.6,
        0.5,
        NAN,
    ]
    np.testing.assert_allclose(score, np.round(expected, 3), atol=1e-6)
    of_dwell = engagement_score(None, _column(7), None, scales)
    np.testing.assert_allclose(of_dwell, [0.5], atol=1e-6)


def test_score_has_three_decimals_and_stays_in_range():
    rng = np.random.default_rng(0)
    hover = rng.lognormal(1, 3, 997)
    dwell = rng.lognormal(3, 3, 997)
    clicked = rng.integers(0, 2, 997)
    scales = fit_scales(hover, dwell)
    score = engagement_score(hover, dwell, clicked, scales)
    assert score.min() >= 0
    assert score.max() <= 1
    assert len(np.unique(score)) > 300
    thousandths = score.astype(np.float64) * 1000
    np.testing.assert_allclose(thousandths, np.round(thousandths), atol=1e-3)


def test_more_of_any_trace_never_lowers_the_score():
    scales = Scales(hover=5, dwell=60)
    seconds = _column(0, 0.5, 2, 10, 50, 200, 10_000)
    fixed = np.full(7, 3.0)
    zero = np.zeros(7)
    for score in (
        engagement_score(seconds, fixed, zero, scales),
        engagement_score(fixed, seconds, zero, scales),
        engagement_score(fixed, fixed, seconds > 9, scales),
    ):
        rise = np.diff(score)
        assert (rise >= 0).all()
        assert score[-1] > score[0]


def test_an_outlier_does_not_move_the_scale():
    dwell = np.arange(1.0, 1001.0)
    spoiled = dwell.copy()
    spoiled[-1] = 1e9
    scale = fit_scales(None, dwell).dwell
    spoiled_scale = fit_scales(None, spoiled).dwell
    assert spoiled_scale == scale
    assert scale == pytest.approx(950.05)


def test_scale_ignores_zeros_and_unknown_and_defaults_to_one():
    scales = fit_scales(_column(0, 0, NAN, 8), None)
    assert scales == Scales(hover=8.0, dwell=1.0)
    nothing_known = fit_scales(_column(0, NAN), _column())
    assert nothing_known == Scales(1.0, 1.0)


def test_compress_dwell_by_hand():
    seconds = _column(0, 7, 63, 1e9, NAN)
    compressed = compress_dwell(seconds, 63.0)
    expected = [0, 0.5, 1, 1, NAN]
    np.testing.assert_allclose(compressed, expected, atol=1e-6)


def _priors(
    user: np.ndarray, dwell: np.ndarray, kind: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    means = mean_dwell(user, dwell)
    prior_dwell = previous(user, means, 0)
    prior_kind = previous(user, kind, -1)
    return prior_dwell, prior_kind


def test_means_and_priors_by_hand():
    user = np.array([0, 0, 0, 0, 2, 2, 5])
    dwell = _column(0.5, NAN, 0.25, 0.75, NAN, 1.0, 0.5)
    kind = np.array([1, 0, 2, 1, 1, 0, 2], np.int8)
    means = _column(0.5, 0.5, 0.375, 0.5, 0, 1, 0.5)
    np.testing.assert_array_equal(mean_dwell(user, dwell), means)
    prior_dwell, prior_kind = _priors(user, dwell, kind)
    np.testing.assert_array_equal(prior_dwell, _column(0, 0.5, 0.5, 0.375, 0, 0, 0))
    np.testing.assert_array_equal(prior_kind, [-1, 1, 0, 2, -1, 1, -1])
    assert prior_dwell.dtype == np.float32
    assert prior_kind.dtype == np.int8


def _reference(user: np.ndarray, dwell: np.ndarray) -> np.ndarray:
    """Mean known dwell of the user's earlier events, by a loop."""
    means = []
    known = ~np.isnan(dwell)
    for event in range(len(user)):
        earlier = np.arange(len(user)) < event
        same_user = user == user[event]
        values = dwell[earlier & same_user & known]
        means.append(np.mean(values) if len(values) else 0.0)
    return np.array(means)


def test_priors_equal_a_slow_reference():
    rng = np.random.default_rng(1)
    user = np.sort(rng.integers(0, 13, 211))
    unknown = rng.random(211) < 0.3
    dwell = rng.random(211).astype(np.float32)
    dwell[unknown] = np.nan
    prior_dwell, _ = _priors(user, dwell, user)
    expected = _reference(user, dwell)
    np.testing.assert_allclose(prior_dwell, expected, atol=1e-6)


def test_an_events_own_traces_leave_its_priors_and_all_earlier_ones_unchanged():
    rng = np.random.default_rng(2)
    user = np.sort(rng.integers(0, 7, 101))
    dwell = rng.random(101).astype(np.float32)
    kind = rng.integers(0, 3, 101).astype(np.int8)
    before = _priors(user, dwell, kind)
    for event in range(101):
        changed_dwell = dwell.copy()
        changed_dwell[event] = 1 - dwell[event]
        changed_kind = kind.copy()
        changed_kind[event] = (kind[event] + 1) % 3
        after = _priors(user, changed_dwell, changed_kind)
        same_user = user == user[event]
        may_change = same_user & (np.arange(101) > event)
        for old, new in zip(before, after, strict=True):
            np.testing.assert_array_equal(old[~may_change], new[~may_change])
        if may_change.any():  # the events that follow do know of it
            old_dwell, old_kind = before
            new_dwell, new_kind = after
            assert (old_dwell[may_change] != new_dwell[may_change]).all()
            assert old_kind[event + 1] != new_kind[event + 1]


def test_priors_of_an_empty_log():
    empty = np.zeros(0)
    prior_dwell, prior_kind = _priors(empty, empty, empty)
    assert len(prior_dwell) == 0
    assert len(prior_kind) == 0
