"""The selection in two stages against plain sorting in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ancf_jax.ranking.top_k import best_of


@pytest.fixture(autouse=True)
def groups_of_three(monkeypatch):
    monkeypatch.setattr("ancf_jax.ranking.top_k.GROUP", 3)


@pytest.mark.parametrize("width", [3, 4, 29, 40, 41, 97])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_selection_in_two_stages_is_what_sorting_gives(n, width):
    """Few values, so that ties run within groups, across them and into the rest; infinities."""
    compiled = jax.jit(best_of, static_argnums=1)
    rng = np.random.default_rng(width)
    shape = (53, width)
    for values in (2, 5, 1000):
        whole = rng.integers(0, values, shape)
        scores = whole.astype(np.float32)
        draw = rng.random(shape)
        share = rng.random((53, 1))
        scores[draw < share] = -np.inf
        scores[3] = -np.inf
        scores[4, -1] = np.inf
        best, place, is_nan = compiled(scores, n)
        order = np.argsort(-scores, axis=1, kind="stable")
        assert_array_equal(place, order[:, :n])
        in_order = np.take_along_axis(scores, order, axis=1)
        assert_array_equal(best, in_order[:, :n])
        assert not is_nan.any()


@pytest.mark.parametrize("column", [0, 50, 99])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_score_that_is_no_number_is_seen_wherever_it_stands(column, sign):
    scores = np.zeros((5, 100), np.float32)
    scores[2, column] = np.copysign(np.nan, sign)
    _, _, is_nan = best_of(jnp.asarray(scores), 2)
    expected = np.arange(5) == 2
    assert_array_equal(is_nan, expected)
