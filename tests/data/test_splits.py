from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ancf_jax.config import SplitConfig
from ancf_jax.data import splits
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION, Interactions
from ancf_jax.errors import UserError


@pytest.fixture
def random_log(make_log):
    """Makes logs of random items and times, with events of every user."""

    def make(events: int, users: int, items: int) -> Interactions:
        rng = np.random.default_rng(0)
        others = rng.integers(0, users, events - users)
        user = np.append(np.arange(users), others)
        user.sort()
        item = rng.integers(0, items, events - 1)
        item = np.append(item, items - 1)
        time = rng.integers(0, 10_000, events)
        order = np.lexsort([time, user])
        return make_log(user.tolist(), item.tolist(), time[order].tolist())

    return make


def test_leave_one_out_by_hand(make_log):
    log = make_log(
        user=[0, 0, 0, 1, 1, 2, 2, 2, 2],
        item=[0, 1, 2, 0, 1, 0, 0, 3, 1],
    )
    split = SplitConfig(kind="leave_one_out")
    part = splits.assign(log, split, seed=0)
    of_user_0 = [TRAIN, VALIDATION, TEST]
    of_user_1 = [TRAIN, TRAIN]
    of_user_2 = [TRAIN, TRAIN, VALIDATION, TEST]
    np.testing.assert_array_equal(part, of_user_0 + of_user_1 + of_user_2)
    assert part.dtype == np.int8


# Baskets of user 0: 3 events, 1, 2; of user 1: 2, 1; of user 2: 1, 1, 1, 1.
BASKETS = {
    "user": [0] * 6 + [1] * 3 + [2] * 4,
    "item": list(range(13)),
    "time": [60, 60, 60, 120, 180, 180, 60, 60, 120, 30, 60, 90, 120],
}


@pytest.mark.parametrize("clock", [True, False])
def test_next_basket_holds_out_whole_baskets_of_users_with_three(make_log, clock):
    log = make_log(**BASKETS, clock=clock)
    split = SplitConfig(kind="next_basket")
    part = splits.assign(log, split, seed=0)
    of_user_0 = [TRAIN] * 3 + [VALIDATION] + [TEST] * 2
    of_user_1 = [TRAIN] * 3
    of_user_2 = [TRAIN, TRAIN, VALIDATION, TEST]
    np.testing.assert_array_equal(part, of_user_0 + of_user_1 + of_user_2)
    assert part.dtype == np.int8


def test_next_basket_sees_baskets_as_wide_as_it_is_told(make_log):
    """A minute apart is one basket: user 0 has one, and user 2 has one."""
    late = [1000, 2000, 3000]
    log = make_log(
        user=[*BASKETS["user"], 3, 3, 3],
        item=[*BASKETS["item"], 0, 1, 2],
        time=[*BASKETS["time"], *late],
    )
    split = SplitConfig(kind="next_basket", basket_minutes=1)
    part = splits.assign(log, split, seed=0)
    np.testing.assert_array_equal(part[:13], TRAIN)
    np.testing.assert_array_equal(part[13:], [TRAIN, VALIDATION, TEST])


def test_ratio_has_the_shares_and_keeps_pairs_together(random_log):
    log = random_log(3001, users=31, items=37)
    split = SplitConfig(kind="ratio", validation=0.2, test=0.1)
    part = splits.assign(log, split, seed=3)
    pairs = log.user.astype(int) * 37 + log.item
    distinct_pairs = np.unique(pairs)
    part_of_pair = []
    for pair in distinct_pairs:
        parts = set(part[pairs == pair])
        assert len(parts) == 1
        part_of_pair += parts
    count = len(distinct_pairs)
    assert part_of_pair.count(TEST) == round(0.1 * count)
    assert part_of_pair.count(VALIDATION) == round(0.2 * count)


def test_ratio_is_a_function_of_the_seed(random_log):
    log = random_log(501, users=7, items=101)
    split = SplitConfig(kind="ratio")
    part = splits.assign(log, split, 1)
    same_seed = splits.assign(log, split, 1)
    other_seed = splits.assign(log, split, 2)
    np.testing.assert_array_equal(part, same_seed)
    assert (part != other_seed).any()


def test_time_never_parts_events_of_one_moment(make_log):
    # Moments begin at events 0, 4, 5, 6 and 9. Test should begin at 8.5: 9 is nearest,
    # though event 8 belongs to the moment before it. Validation should begin at 5.8: 6 is
    # nearest.
    time = [1, 1, 1, 1, 2, 3, 4, 4, 4, 5]
    log = make_log(user=[0] * 10, item=list(range(10)), time=time)
    split = SplitConfig(kind="time", validation=0.27, test=0.15)
    part = splits.assign(log, split, seed=0)
    np.testing.assert_array_equal(part[:6], TRAIN)
    np.testing.assert_array_equal(part[6:9], VALIDATION)
    np.testing.assert_array_equal(part[9:], TEST)


def test_time_never_parts_a_basket(make_log):
    # Validation should begin at event 5 and test at 8. The visit of events 4 to 8, two minutes
    # from one to the next, belongs where it begins.
    minutes = [0, 10, 20, 30, 40, 42, 44, 46, 48, 60]
    time = [60 * minute for minute in minutes]
    log = make_log(user=[0] * 10, item=list(range(10)), time=time)
    plain = SplitConfig(kind="time", validation=0.3, test=0.2)
    parted = splits.assign(log, plain, seed=0)
    np.testing.assert_array_equal(parted, [TRAIN] * 5 + [VALIDATION] * 3 + [TEST] * 2)
    visits = dataclasses.replace(plain, basket_minutes=2)
    whole = splits.assign(log, visits, seed=0)
    np.testing.assert_array_equal(whole, [TRAIN] * 4 + [VALIDATION] * 5 + [TEST])


def test_time_parts_no_basket_of_anybody(random_log):
    log = random_log(1009, users=17, items=19)
    split = SplitConfig(kind="time", basket_minutes=1)
    part = splits.assign(log, split, seed=0)
    same_basket = (np.diff(log.user) == 0) & (np.diff(log.time) <= 60)
    assert same_basket.sum() > 100
    assert (np.diff(part)[same_basket] == 0).all()
    assert set(part.tolist()) == {TRAIN, VALIDATION, TEST}


def test_time_keeps_the_order_of_parts_over_users(random_log):
    log = random_log(1009, users=17, items=19)
    split = SplitConfig(kind="time")
    part = splits.assign(log, split, seed=0)
    train = log.time[part == TRAIN]
    validation = log.time[part == VALIDATION]
    test = log.time[part == TEST]
    assert train.max() < validation.min()
    assert validation.max() < test.min()
    test_share = len(test) / 1009
    assert test_share == pytest.approx(0.1, abs=0.01)


def test_time_needs_a_clock(make_log):
    log = make_log([0, 0, 0], [0, 1, 2], clock=False)
    split = SplitConfig(kind="time")
    with pytest.raises(UserError, match="only an order"):
        splits.assign(log, split, seed=0)


def test_given_with_validation_stays_as_it_is(make_log):
    given = np.array([TRAIN, UNUSED, VALIDATION, TEST], np.int8)
    log = make_log([0] * 4, [0, 1, 2, 3], given_part=given)
    split = SplitConfig()
    part = splits.assign(log, split, seed=0)
    np.testing.assert_array_equal(part, given)


@pytest.mark.parametrize("rating", [None, np.ones(8, np.float32)])
def test_given_one_test_event_each_carves_the_last_training_event(make_log, rating):
    user = [0, 0, 0, 1, 1, 2, 2, 2]
    given = [TRAIN, TRAIN, TEST, TRAIN, TEST, TRAIN, TRAIN, UNUSED]
    expected = [TRAIN, VALIDATION, TEST, TRAIN, TEST, TRAIN, VALIDATION, UNUSED]
    given_part = np.array(given, np.int8)
    log = make_log(user, list(range(8)), given_part=given_part, rating=rating)
    part = splits.assign(log, SplitConfig(), seed=0)
    np.testing.assert_array_equal(part, expected)
    np.testing.assert_array_equal(log.given_part, given)


def test_given_rated_folds_carve_a_random_share_of_training(make_log):
    given = np.full(1000, TRAIN, np.int8)
    given[::5] = TEST
    log = make_log(
        user=[0] * 1000,
        item=list(range(1000)),
        given_part=given,
        rating=np.ones(1000, np.float32),
    )
    split = SplitConfig(validation=0.1)
    part = splits.assign(log, split, seed=5)
    is_test = part == TEST
    np.testing.assert_array_equal(is_test, given == TEST)
    validation = np.flatnonzero(part == VALIDATION)
    assert len(validation) == 80
    assert validation.min() < 200


def test_auto_resolves_from_the_data(make_log):
    plain = make_log([0], [0])
    ordered = make_log([0], [0], clock=False)
    rating = np.ones(1, np.float32)
    rated = make_log([0], [0], rating=rating)
    given_part = np.zeros(1, np.int8)
    given = dataclasses.replace(rated, given_part=given_part)

    def kind(log: Interactions, engagement: bool) -> str:
        return splits.resolve_kind(log, SplitConfig(), engagement).kind

    assert kind(plain, engagement=False) == "leave_one_out"
    assert kind(rated, engagement=False) == "ratio"
    assert kind(given, engagement=False) == "given"
    assert kind(plain, engagement=True) == "ratio"
    assert kind(ordered, engagement=True) == "ratio"
    assert kind(given, engagement=True) == "given"


def test_auto_asks_for_the_next_basket_where_most_events_are_in_one(make_log):
    """4 of 8 events are in one basket with the event before, then 5 of 9."""
    user = [0] * 8
    half = make_log(user, user, time=[1, 1, 1, 2, 3, 4, 4, 4], clock=False)
    more = make_log([0] * 9, [0] * 9, time=[1, 1, 1, 2, 3, 4, 4, 4, 4], clock=False)
    visits = make_log(user, user, time=[60 * minute for minute in range(8)])

    def kind(log: Interactions, **settings) -> str:
        return splits.resolve_kind(log, SplitConfig(**settings)).kind

    assert kind(half) == "leave_one_out"
    assert kind(more) == "next_basket"
    assert kind(visits) == "leave_one_out"
    assert kind(visits, basket_minutes=1) == "next_basket"
    rated = dataclasses.replace(more, rating=np.ones(9, np.float32))
    assert kind(rated) == "ratio"


def test_a_kind_that_is_named_stays(make_log):
    log = make_log([0], [0], given_part=np.zeros(1, np.int8))
    split = SplitConfig(kind="time")
    resolved = splits.resolve_kind(log, split, engagement=True)
    assert resolved == split


ONE_USER = {"user": [0, 0, 0], "item": [0, 1, 2]}


@pytest.mark.parametrize(
    ("events", "split", "message"),
    [
        (
            {"user": [0, 0, 1, 1], "item": [0, 1, 0, 1]},
            SplitConfig(),
            "no validation events.*at most 2 of one user.*--split.kind",
        ),
        (
            {"user": [0, 0], "item": [0, 0]},
            SplitConfig(kind="ratio"),
            "no train events",
        ),
        (
            {**ONE_USER, "time": [5, 5, 5]},
            SplitConfig(kind="time"),
            "no train events",
        ),
        (
            ONE_USER,
            SplitConfig(kind="given"),
            "files fix no split",
        ),
        (
            ONE_USER,
            SplitConfig(validation=0.5, test=0.5),
            "--split.validation 0.5",
        ),
        (
            {**ONE_USER, "given_part": np.zeros(3, np.int8)},
            SplitConfig(),
            "given leaves no test events, for there are 3 in all",
        ),
    ],
)
def test_impossible_splits_say_what_to_change(make_log, events, split, message):
    log = make_log(**events)
    with pytest.raises(UserError, match=message):
        splits.assign(log, split, seed=0)


@pytest.mark.parametrize(
    "kind", ["next_basket", "leave_one_out", "ratio", "time", "given"]
)
def test_without_validation_the_rest_trains(random_log, kind):
    given = np.full(1009, TRAIN, np.int8)
    given[::7] = VALIDATION
    given[::5] = TEST
    log = random_log(1009, users=17, items=19)
    log = dataclasses.replace(log, given_part=given)
    some = SplitConfig(kind=kind, validation=0.1)
    none = SplitConfig(kind=kind, validation=0.0)
    with_some = splits.assign(log, some, seed=0)
    with_none = splits.assign(log, none, seed=0)
    assert VALIDATION in with_some
    assert set(with_none.tolist()) == {TRAIN, TEST}
    tested = with_none == TEST
    assert (with_some[tested] == TEST).all()
    not_tested = np.isin(with_some, [TRAIN, VALIDATION])
    trained = with_none == TRAIN
    assert trained.sum() >= not_tested.sum()
