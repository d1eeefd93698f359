from __future__ import annotations

from math import isnan, nan, sqrt

import numpy as np
import pytest

from ancf_jax.objective.intervals import bootstrap, mean


def test_mean_leaves_nan_users_out():
    found = mean(
        {
            "ndcg@10": np.array([0.0, nan, 1.0, 0.5]),
            "auc": np.array([nan, nan, nan, nan]),
        }
    )
    assert found["ndcg@10"] == 0.5
    assert isnan(found["auc"])


def test_bootstrap_agrees_with_the_normal_formula():
    values = np.random.default_rng(0).exponential(2.0, 5003)
    low, high = bootstrap({"mrr@10": values}, seed=1, draws=4000)["mrr@10"]
    half = 1.96 * values.std() / sqrt(len(values))
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.1 * half)


def test_bootstrap_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(2)
    repeats = 400
    found = bootstrap(
        {str(i): rng.random(101) for i in range(repeats)}, seed=3, draws=500, level=0.8
    )
    covered = sum(low <= 0.5 <= high for low, high in found.values()) / repeats
    assert covered == pytest.approx(0.8, abs=4 * sqrt(0.8 * 0.2 / repeats))


def test_resampling_two_users_gives_a_quarter_a_half_a_quarter():
    values = np.array([0.0, 1.0])
    narrow = bootstrap({"m": values}, seed=5, draws=40_000, level=0.48)
    assert narrow == {"m": (0.5, 0.5)}
    wide = bootstrap({"m": values}, seed=5, draws=40_000, level=0.52)
    assert wide == {"m": (0.0, 1.0)}


def test_nan_users_are_left_out_of_the_metric_concerned_only():
    rng = np.random.default_rng(7)
    a = rng.random(211)
    b = rng.random(211)
    holes = np.where(rng.random(211) < 0.5, nan, b)
    found = bootstrap({"a": a, "b": holes, "c": a + 1}, seed=11, draws=300)
    assert list(found) == ["a", "b", "c"]
    # Users without b are drawn, too, but do not count.
    drawn = np.random.default_rng(11).integers(211, size=(300, 211))
    expected = np.quantile(np.nanmean(holes[drawn], axis=1), [0.025, 0.975])
    np.testing.assert_allclose(found["b"], expected, rtol=1e-12)
    np.testing.assert_allclose(
        found["a"], bootstrap({"a": a}, seed=11, draws=300)["a"], rtol=1e-12
    )
    np.testing.assert_allclose(np.subtract(found["c"], found["a"]), 1, rtol=1e-12)


def test_no_user_gives_nan_and_one_user_a_point():
    found = bootstrap(
        {"none": np.array([nan, nan]), "one": np.array([nan, 0.3])}, seed=0, draws=10
    )
    assert all(map(isnan, found["none"]))
    assert found["one"] == (0.3, 0.3)


def test_the_seed_decides_the_draws():
    per_user = {"m": np.random.default_rng(13).random(97)}
    found = bootstrap(per_user, seed=17, draws=101)["m"]
    assert found == bootstrap(per_user, seed=17, draws=101)["m"]
    assert found != bootstrap(per_user, seed=18, draws=101)["m"]
