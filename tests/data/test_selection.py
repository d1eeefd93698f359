from __future__ import annotations

import numpy as np
import pytest

from ancf_jax.config import SplitConfig
from ancf_jax.data import selection
from ancf_jax.data.interactions import Feature, Interactions
from ancf_jax.errors import UserError


@pytest.fixture
def shop(make_log) -> Interactions:
    """Three users with everything; user 1 views but never purchases."""
    age = Feature(
        values=np.array(["x", "y", "z"]),
        ids=np.arange(3, dtype=np.int32)[:, None],
    )
    given_negatives = [
        [1, 2],
        [3, 4],
        [0, -1],
    ]
    return make_log(
        user=[0, 0, 1, 2, 2],
        item=list(range(5)),
        kind=np.array([0, 1, 0, 1, 1], np.int8),
        kinds=("view", "purchase"),
        given_part=np.array([0, 1, 2, 0, 2], np.int8),
        given_negatives=np.array(given_negatives, np.int32),
        dwell=np.arange(5, dtype=np.float32),
        user_features={"age": age},
    )


PURCHASES = SplitConfig(events=("purchase",))


def test_select_by_kind_keeps_the_rows_of_the_kind(shop):
    kept = selection.select(shop, PURCHASES)
    np.testing.assert_array_equal(kept.item, [1, 3, 4])
    np.testing.assert_array_equal(kept.given_part, [1, 0, 2])
    np.testing.assert_array_equal(kept.dwell, [1, 3, 4])
    assert kept.left_out == {"other_kind": 2}
    assert shop.left_out == {}


def test_select_by_kind_drops_users_but_no_items(shop):
    kept = selection.select(shop, PURCHASES)
    assert kept.users.tolist() == ["u0", "u2"]
    assert len(kept.items) == 5
    np.testing.assert_array_equal(kept.user, [0, 1, 1])
    np.testing.assert_array_equal(kept.given_negatives, [[1, 2], [0, -1]])
    age = kept.user_features["age"]
    np.testing.assert_array_equal(age.ids, [[0], [2]])


def test_select_names_the_kinds_there_are(make_log):
    log = make_log([0], [0], kinds=("interaction", "purchase"))
    split = SplitConfig(events=("purchse",))
    message = r'"purchse".*interaction, purchase.*did you mean "purchase"'
    with pytest.raises(UserError, match=message):
        selection.select(log, split)


@pytest.mark.parametrize(
    ("policy", "times", "left_out"),
    [
        ("keep", [0, 1, 2, 3, 4], {}),
        ("first", [0, 1, 4], {"duplicate": 2}),
        ("last", [1, 3, 4], {"duplicate": 2}),
    ],
)
def test_duplicates_policy(make_log, policy, times, left_out):
    log = make_log(
        user=[0, 0, 0, 0, 1],
        item=[7, 2, 7, 7, 7],
        time=list(range(5)),
    )
    split = SplitConfig(duplicates=policy)
    kept = selection.select(log, split)
    np.testing.assert_array_equal(kept.time, times)
    assert kept.left_out == left_out


@pytest.fixture
def small(make_log) -> Interactions:
    """Item 2 has one event; without it user 1 has one; without that, item 1 has two."""
    return make_log(
        user=[0, 0, 1, 1, 2, 2],
        item=[0, 1, 1, 2, 0, 1],
    )


def test_least_numbers_hold_together(small):
    split = SplitConfig(min_user_events=2, min_item_events=2)
    kept = selection.select(small, split)
    np.testing.assert_array_equal(kept.item, [0, 1, 0, 1])
    assert kept.users.tolist() == ["u0", "u2"]
    assert kept.left_out == {"few_item_events": 1, "few_user_events": 1}


def test_where_no_event_remains_the_message_says_what_to_change(small):
    split = SplitConfig(min_user_events=3)
    message = r"none of the 6 events remains.*--split.min-user-events"
    with pytest.raises(UserError, match=message):
        selection.select(small, split)
