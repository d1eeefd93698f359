"""Figures by known events, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ancf_jax.evaluation.groups import (
    group_of,
    item_columns,
    random_hit_rate,
    user_columns,
)
from ancf_jax.objective.metrics import Ranks


def test_groups_begin_where_they_say():
    events = np.array([0, 1, 5, 6, 20, 21, 1000])
    assert_array_equal(group_of(events), [0, 1, 1, 2, 2, 3, 3])


def test_only_items_of_the_group_are_found_among_all():
    """The first user took the item in place 1 and that in place 3; the second that in place 11."""
    ranks = Ranks(
        start=np.array([0, 2, 3]),
        greater=np.array([0, 2, 10]),
        equal=np.zeros(3, int),
        candidates=np.array([23, 23]),
        score=np.zeros(3, np.float32),
    )
    found = item_columns(ranks, group_of(np.array([7, 0, 0])))
    assert_array_equal(found["items, 0 events: recall@10"], [1, 0])
    assert_allclose(found["items, 0 events: ndcg@10"], [1 / np.log2(4), 0])
    assert_array_equal(found["items, 6-20 events: ndcg@10"], [1, np.nan])
    assert np.isnan(found["items, more events: hit_rate@10"]).all()
    assert_allclose(found["items, 0 events: random"], 10 / 23)


def test_users_stand_in_their_own_group_alone():
    figures = {
        name: np.array([0.25, 0.5, 0.75])
        for name in ("recall@10", "ndcg@10", "hit_rate@10", "auc")
    }
    found = user_columns(figures, group_of(np.array([3, 99, 1])))
    assert_array_equal(found["users, 1-5 events: ndcg@10"], [0.25, np.nan, 0.75])
    assert_array_equal(found["users, more events: ndcg@10"], [np.nan, 0.5, np.nan])


@pytest.mark.parametrize(
    ("positives", "candidates", "places", "expected"),
    [
        (2, 5, 2, 1 - 3 / 5 * 2 / 4),
        (1, 7, 3, 3 / 7),
        (3, 5, 3, 1),
        (0, 5, 3, np.nan),
        (2, 5, 0, 0),
    ],
)
def test_the_chance_of_a_hit_by_drawing(positives, candidates, places, expected):
    found = random_hit_rate(np.array([positives]), np.array([candidates]), places)
    assert_allclose(found, [expected])


def test_each_request_has_places_of_its_own():
    found = random_hit_rate(np.ones(3, int), np.full(3, 7), np.array([0, 2, 7]))
    assert_allclose(found, [0, 2 / 7, 1])
