"""Figures of lists with places for products without events, by hand."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from ancf_jax.evaluation.exploring import explored_figures
from ancf_jax.objective.metrics import Ranks, ranking_metrics


def ranks_of(start, greater, candidates, equal=None) -> Ranks:
    greater = np.array(greater, int)
    return Ranks(
        start=np.array(start),
        greater=greater,
        equal=np.zeros_like(greater) if equal is None else np.array(equal),
        candidates=np.array(candidates),
        score=np.zeros(len(greater), np.float32),
    )


def test_the_last_places_hold_products_without_events():
    """The first user took the best sold item, the ninth (whose place is given away) and the best
    unsold one, which stands in place 9. The second took nothing unsold; the third nothing.
    """
    sold = ranks_of([0, 2, 3, 3], [0, 8, 3], [17, 17, 17])
    unsold = ranks_of([0, 1, 1, 1], [0], [5, 5, 5])
    found = explored_figures(sold, unsold, np.array([2, 1, 1]))
    gain = 1 + 1 / np.log2(10)
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert_allclose(found["recall@10"], [2 / 3, 1, np.nan])
    assert_allclose(found["ndcg@10"], [gain / ideal, 1 / np.log2(5), np.nan])
    assert_allclose(found["hit_rate@10"], [1, 1, np.nan])
    assert_allclose(found["new: hit_rate"], [1, np.nan, np.nan])
    assert_allclose(found["new: random"], [2 / 5, np.nan, np.nan])


def test_ties_are_expectations():
    """One of five tied unsold items, with one place: a chance of a fifth, in place 10."""
    sold = ranks_of([0, 0], [], [17])
    unsold = ranks_of([0, 1], [0], [5], [4])
    found = explored_figures(sold, unsold, np.array([1]))
    assert_allclose(found["hit_rate@10"], [1 / 5])
    assert_allclose(found["ndcg@10"], [1 / 5 / np.log2(11)])
    assert_allclose(found["new: hit_rate"], found["new: random"])


def test_without_places_the_figures_are_the_plain_ones():
    sold = ranks_of([0, 2, 3], [1, 8, 3], [17, 17], [0, 4, 1])
    unsold = ranks_of([0, 0, 0], [], [5, 5])
    found = explored_figures(sold, unsold, np.zeros(2, int))
    plain = ranking_metrics(sold)
    for name in ("recall@10", "ndcg@10", "hit_rate@10"):
        assert_allclose(found[name], plain[name])


def test_a_product_that_is_first_of_its_kind_misses_where_it_has_no_place():
    sold = ranks_of([0, 0], [], [17])
    unsold = ranks_of([0, 1], [0], [5])
    found = explored_figures(sold, unsold, np.array([0]))
    assert_array_equal(found["recall@10"], [0])
