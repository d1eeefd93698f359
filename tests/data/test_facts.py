"""What settings may depend on, by hand."""

from __future__ import annotations

import numpy as np

from ancf_jax import data
from ancf_jax.data import TEST, TRAIN, Dataset
from ancf_jax.types import Facts


def one_user(make_log, items: list[int], basket_place: list[int] | None) -> Dataset:
    """A user's events in order, of which all but the last three train."""
    size = len(items)
    log = make_log(user=[0] * size, item=items)
    part = np.full(size, TRAIN, np.int8)
    part[-3:] = TEST
    place = None if basket_place is None else np.array(basket_place, np.int32)
    return Dataset(log, part, {}, None, np.ones(size, np.float32), basket_place=place)


def test_only_training_events_are_counted(make_log):
    made = one_user(make_log, [0, 1, 0, 2, 3, 3, 3], None)
    assert data.facts(made) == Facts(
        users=1, items=4, events=4, history=4, repeats=0.25
    )


def test_an_item_twice_in_one_basket_is_no_repeat(make_log):
    made = one_user(make_log, [0, 1, 0, 2, 3, 3, 3], [0, 1, 2, 3, 0, 0, 0])
    assert data.facts(made).repeats == 0


def test_history_is_that_of_nine_users_in_ten(make_log):
    """Ten users with 3 events and one with 7, the largest, that does not count."""
    user = np.repeat(np.arange(11), [3] * 10 + [7])
    log = make_log(user=user, item=np.zeros(37, int))
    part = np.full(37, TRAIN, np.int8)
    made = Dataset(log, part, {}, None, np.ones(37, np.float32))
    assert data.facts(made).history == 3
