"""Repeats and followers, counted by hand."""

from __future__ import annotations

import numpy as np

from ancf_jax.data.counts import (
    LEVEL_ITEMS,
    LOOKAHEAD,
    LOOKAHEAD_DECAY,
    count_followers,
    count_repeats,
    count_values,
    log_events_of_unsold,
)

ITEMS = 7  # items are called by their numbers
NONE = ITEMS


def test_followers_by_hand():
    """Two users have 0 1 2 and 0 2.

    After 0, 1 came at once, and 2 once at once and once a step later.
    """
    user = np.array([0, 0, 0, 1, 1])
    item = np.array([0, 1, 2, 0, 2])
    follower, weight = count_followers(user, item, ITEMS, 3)
    assert follower[0].tolist() == [2, 1, NONE]
    expected = [1 + LOOKAHEAD_DECAY, 1, 0]
    np.testing.assert_allclose(weight[0], expected, rtol=1e-6)
    assert follower[1].tolist() == [2, NONE, NONE]
    assert (follower[2:] == NONE).all()
    assert weight[2:].sum() == 0


def test_an_item_does_not_follow_itself():
    user = np.zeros(3, int)
    item = np.array([3, 3, 4])
    follower, _ = count_followers(user, item, ITEMS, 3)
    assert follower[3].tolist() == [4, NONE, NONE]


def test_the_most_frequent_are_kept():
    user = np.zeros(4, int)
    item = np.array([3, 3, 4, 5])
    follower, weight = count_followers(user, item, ITEMS, 1)
    expected = np.full(ITEMS, NONE)
    expected[3] = 4
    expected[4] = 5
    np.testing.assert_array_equal(follower[:, 0], expected)
    of_4_after_3 = 1 + LOOKAHEAD_DECAY
    np.testing.assert_allclose(weight[3, 0], of_4_after_3, rtol=1e-6)


def test_events_beyond_the_lookahead_do_not_count():
    items = LOOKAHEAD + 2
    item = np.arange(items)
    user = np.zeros(items, int)
    follower, _ = count_followers(user, item, items, items)
    of_the_earliest = set(follower[0].tolist()) - {items}
    assert of_the_earliest == set(range(1, LOOKAHEAD + 1))


def test_repeats_are_counted_by_every_level_of_the_hierarchy():
    """Items 0 and 1 share a shelf, 2 stands alone, 3 on none.

    One user takes 0, 0, 1 and 3; another takes 2 and 3.
    """
    shelf = np.array([0, 0, 1, -1])
    itself = np.arange(4)
    item = np.array([0, 0, 1, 3, 2, 3])
    repeated = np.array([False, True, False, False, False, False])
    counts = count_repeats([shelf, itself], item, repeated)
    of_shelf = [
        [3, 1],
        [3, 1],
        [1, 0],
        [0, 0],
    ]
    of_item = [
        [2, 1],
        [1, 0],
        [1, 0],
        [2, 0],
    ]
    np.testing.assert_array_equal(counts[:, 0], of_shelf)
    np.testing.assert_array_equal(counts[:, 1], of_item)


def test_events_of_every_value():
    """Item 0 has values 1 and 2, item 1 none, item 2 value 1; nothing has value 0."""
    ids = np.array([[1, 2], [-1, -1], [1, -1]])
    item = np.array([0, 1, 2, 0, 2])
    assert count_values(ids, 4, item).tolist() == [0, 4, 2, 0]


def test_products_without_events_by_hand():
    """Of all, two were sold once and four never; of either department one was sold once."""
    department = np.array([0, 0, 0, 0, 1, 1, -1])
    events = np.array([0, 1, 0, 5, 0, 1, 0])
    found = log_events_of_unsold([department], events)
    of_all = 3 / 5
    of_first = (1 + LEVEL_ITEMS * of_all) / (2 + LEVEL_ITEMS)
    of_second = (1 + LEVEL_ITEMS * of_all) / (1 + LEVEL_ITEMS)
    expected = np.log([of_first, 1, of_first, 1, of_second, 1, of_all])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_category_is_drawn_towards_its_department():
    department = np.array([0, 0, 0, 0, 0, 0, 1])
    category = np.array([0, 0, 1, 1, 1, -1, 2])
    events = np.array([0, 1, 0, 0, 0, 0, 0])
    found = np.exp(log_events_of_unsold([department, category], events))
    of_department = (1 + LEVEL_ITEMS * 2 / 7) / (5 + LEVEL_ITEMS)
    of_category = (1 + LEVEL_ITEMS * of_department) / (1 + LEVEL_ITEMS)
    np.testing.assert_allclose(found[0], of_category, rtol=1e-5)
    np.testing.assert_allclose(found[5], of_department, rtol=1e-5)
    assert found[2] < found[5] < found[0]


def test_a_product_without_events_is_never_worth_more_than_one_event():
    """Where few of them are known, the estimate would say more: the others are not listed."""
    events = np.array([1, 1, 1, 1, 0, 9, 1])
    found = log_events_of_unsold([], events)
    np.testing.assert_array_equal(found, np.zeros(7, np.float32))


def test_where_new_products_are_often_bought_they_are_worth_as_much():
    department = np.array([0, 0, 0, 0, 1, 1, -1])
    events = np.array([0, 1, 0, 5, 0, 1, 0])
    plain = np.exp(log_events_of_unsold([department], events))
    found = np.exp(log_events_of_unsold([department], events, new_events=23))
    is_unsold = events == 0
    np.testing.assert_allclose(found[is_unsold].sum(), 23, rtol=1e-5)
    ratio = found[is_unsold] / plain[is_unsold]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    fewer = np.exp(log_events_of_unsold([department], events, new_events=1))
    np.testing.assert_array_equal(fewer, plain)
