"""How often something new is bought, counted by hand."""

from __future__ import annotations

import numpy as np

from ancf_jax.data import TEST, TRAIN, Dataset, share_of_new


def test_the_latest_tenth_of_all_events_counts(make_log):
    """Two of twenty events are latest: one of item 8, which is new, and one of item 1.

    They are not the last of the log, which is sorted by user. What is held out does not count.
    """
    user = [0] * 11 + [1] * 11
    item = [1, 2, 1, 2, 1, 2, 1, 2, 1, 8, 1]
    item += [1, 3, 4, 1, 1, 1, 1, 1, 1, 9, 7]
    time = [*range(9), 50, 51, *range(9), 60, 61]
    part = np.full(22, TRAIN, np.int8)
    part[-2:] = TEST
    source = make_log(user, item, time)
    dataset = Dataset(source, part, {}, None, np.ones(22, np.float32))
    assert share_of_new(dataset, (TRAIN,)) == 0.5
    assert share_of_new(dataset, (TRAIN, TEST)) == 1


def test_what_is_bought_again_within_that_tenth_is_still_new(make_log):
    """Of the latest three of thirty events, two are of item 5."""
    item = [1, 2, 3] * 9 + [5, 2, 5]
    source = make_log([0] * 30, item)
    part = np.full(30, TRAIN, np.int8)
    dataset = Dataset(source, part, {}, None, np.ones(30, np.float32))
    assert share_of_new(dataset, (TRAIN,)) == 2 / 3


def test_without_a_clock_items_with_one_event_tell(make_log):
    item = [1, 1, 1, 2, 2, 3, 4]
    source = make_log([0] * 7, item, clock=False)
    part = np.full(7, TRAIN, np.int8)
    dataset = Dataset(source, part, {}, None, np.ones(7, np.float32))
    assert share_of_new(dataset, (TRAIN,)) == 2 / 7
