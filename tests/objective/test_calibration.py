"""Probabilities of scores against known chances, and their error against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, logit

from ancf_jax.objective.calibration import (
    Calibration,
    calibration_error,
    error_by_chance,
    fit_calibration,
    reliability,
    softmax_log_odds,
)


def test_odds_of_the_softmax_by_hand():
    """Of the weights 4, 1, 2 and 1 the shares are 1/2, 1/8, 1/4 and 1/8."""
    score = np.log([4.0, 1.0, 2.0, 1.0])
    found = softmax_log_odds(score, np.full(4, np.log(8)))
    assert_allclose(found, np.log([1, 1 / 7, 1 / 3, 1 / 7]), atol=1e-12)
    assert_allclose(expit(found), np.exp(score) / 8)


def test_what_has_all_of_the_softmax_has_finite_odds():
    """Also where float32 puts its score above the total."""
    found = softmax_log_odds(np.array([5000.0, 5000.0]), np.array([5000.0, 4999.9995]))
    assert np.isfinite(found).all()
    assert (found > 11).all()


def planted(
    slope: float, offset: float, entries: int = 100_003
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log odds, the chances that follow from them, and hits drawn by these chances."""
    rng = np.random.default_rng(7)
    log_odds = rng.normal(-2.5, 1.3, entries)
    chance = expit(slope * log_odds + offset)
    return log_odds, chance, rng.random(entries) < chance


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.6, 0.9), (1.7, -0.4)])
def test_a_distorted_scale_is_found(slope, offset):
    log_odds, chance, is_hit = planted(slope, offset)
    found = fit_calibration(log_odds, is_hit)
    assert found.slope == pytest.approx(slope, rel=0.03)
    assert found.offset == pytest.approx(offset, abs=0.06)
    assert_allclose(found.probability(log_odds), chance, atol=0.02)


def test_scores_on_another_scale_give_the_same_probabilities():
    log_odds, _, is_hit = planted(1.0, 0.0, 1009)
    plain = fit_calibration(log_odds, is_hit)
    shifted = 1e4 + 1e3 * log_odds
    found = fit_calibration(shifted, is_hit)
    expected = plain.probability(log_odds)
    assert_allclose(found.probability(shifted), expected, rtol=1e-3)


def test_known_chances_have_the_error_that_luck_makes():
    log_odds, chance, is_hit = planted(0.6, 0.9)
    table = reliability(chance, is_hit)
    assert calibration_error(table) < 2 * error_by_chance(table) < 0.008
    distorted = reliability(expit(log_odds), is_hit)
    assert calibration_error(distorted) > 20 * error_by_chance(distorted)


def test_the_error_by_chance_is_what_drawing_gives():
    rng = np.random.default_rng(3)
    chance = rng.beta(1, 7, 2003)
    errors = [
        calibration_error(reliability(chance, rng.random(2003) < chance))
        for _ in range(199)
    ]
    table = reliability(chance, rng.random(2003) < chance)
    assert error_by_chance(table) == pytest.approx(np.mean(errors), rel=0.05)


def counted_error(probability, is_hit, bins):
    """The expected calibration error by loops over sorted pairs."""
    pairs = sorted(zip(probability, is_hit, strict=True), key=lambda pair: pair[0])
    total = 0.0
    size, larger = divmod(len(pairs), bins)
    for number in range(bins):
        count = size + (number < larger)
        own, pairs = pairs[:count], pairs[count:]
        predicted = sum(p for p, _ in own) / count
        observed = sum(hit for _, hit in own) / count
        total += count * abs(predicted - observed)
    return total / len(probability)


@pytest.mark.parametrize("entries", [11, 103, 1009])
def test_the_error_is_that_of_counting(entries):
    rng = np.random.default_rng(entries)
    probability = rng.random(entries)
    is_hit = rng.random(entries) < probability**2
    table = reliability(probability, is_hit, bins=7)
    expected = counted_error(probability, is_hit, 7)
    assert calibration_error(table) == pytest.approx(expected)


def test_the_table_by_hand():
    probability = np.array([0.9, 0.1, 0.3, 0.2, 0.5])
    is_hit = np.array([True, False, True, False, False])
    table = reliability(probability, is_hit, bins=2)
    assert_allclose(table.predicted, [0.2, 0.7])
    assert_allclose(table.observed, [1 / 3, 1 / 2])
    assert table.count.tolist() == [3, 2]
    first = np.sqrt(2 / np.pi * (0.09 + 0.16 + 0.21)) / 3
    second = np.sqrt(2 / np.pi * (0.25 + 0.09)) / 2
    assert_allclose(table.by_chance, [first, second])
    expected = (3 * (1 / 3 - 0.2) + 2 * (0.7 - 1 / 2)) / 5
    assert calibration_error(table) == pytest.approx(expected)


def test_there_are_no_empty_bins():
    table = reliability(np.array([0.4, 0.2, 0.9]), np.array([True, False, True]))
    assert table.count.tolist() == [1, 1, 1]


def test_a_higher_score_is_never_less_probable():
    log_odds = np.linspace(-3, 0, 101)
    found = fit_calibration(log_odds, np.arange(101) < 20)
    assert found.slope == 0
    assert found.probability(log_odds[:1]) == pytest.approx(21 / 103, abs=0.02)


@pytest.mark.parametrize("hits", [0, 13])
def test_nothing_but_misses_or_hits_gives_the_chance_that_is_left(hits):
    """With n of one kind and none of the other, n + 1 of n + 2."""
    found = fit_calibration(np.linspace(-3, 0, 13), np.arange(13) < hits)
    chance = 1 / 15 if hits == 0 else 14 / 15
    assert found.probability(np.array([-1.0])) == pytest.approx(chance, rel=1e-3)


def test_what_parts_hits_from_misses_stays_finite():
    log_odds = np.linspace(-3, 0, 103)
    found = fit_calibration(log_odds, np.arange(103) >= 90)
    assert np.isfinite(found).all()
    assert found.probability(log_odds[-1:]) < 1
    assert found.probability(log_odds[0:1]) > 0


def test_a_slope_of_one_and_no_offset_is_the_share_itself():
    share = np.array([0.01, 0.2, 0.7])
    assert_allclose(Calibration(1.0, 0.0).probability(logit(share)), share)
