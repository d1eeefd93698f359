from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ancf_jax.config import SplitConfig
from ancf_jax.data import splits
from ancf_jax.data.interactions import (
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    Feature,
    Interactions,
)
from ancf_jax.errors import UserError


def make(
    user: list[int],
    item: list[int],
    time: list[int] | None = None,
    clock: bool = True,
    **columns,
) -> Interactions:
    """Events as given, already sorted; users u0.. and items i0.. as many as needed."""
    users, items = max(user) + 1, max(item) + 1
    columns.setdefault("kind", np.zeros(len(user), np.int8))
    return Interactions(
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        time=np.array(range(len(user)) if time is None else time, np.int64),
        clock=clock,
        users=np.array([f"u{n}" for n in range(users)]),
        items=np.array([f"i{n}" for n in range(items)]),
        names=np.array([f"item {n}" for n in range(items)]),
        **columns,
    )


def random_log(
    events: int, users: int, items: int, seed: int = 0, **columns
) -> Interactions:
    rng = np.random.default_rng(seed)
    user = np.sort(
        np.concatenate([np.arange(users), rng.integers(0, users, events - users)])
    )
    item = np.concatenate([rng.integers(0, items, events - 1), [items - 1]])
    time = rng.integers(0, 10_000, events)
    return make(
        user.tolist(), item.tolist(), time[np.lexsort([time, user])].tolist(), **columns
    )


def test_leave_one_out_by_hand():
    log = make([0, 0, 0, 1, 1, 2, 2, 2, 2], [0, 1, 2, 0, 1, 0, 0, 3, 1])
    part = splits.assign(log, SplitConfig(kind="leave_one_out"), seed=0)
    np.testing.assert_array_equal(
        part, [TRAIN, VALIDATION, TEST, TRAIN, TRAIN, TRAIN, TRAIN, VALIDATION, TEST]
    )
    assert part.dtype == np.int8


def test_ratio_has_the_shares_and_keeps_pairs_together():
    log = random_log(3001, users=31, items=37)
    part = splits.assign(
        log, SplitConfig(kind="ratio", validation=0.2, test=0.1), seed=3
    )
    pairs = log.user.astype(int) * 37 + log.item
    of_pair = [set(part[pairs == pair]) for pair in np.unique(pairs)]
    assert all(len(parts) == 1 for parts in of_pair)
    assert sum(TEST in parts for parts in of_pair) == round(0.1 * len(of_pair))
    assert sum(VALIDATION in parts for parts in of_pair) == round(0.2 * len(of_pair))


def test_ratio_is_a_function_of_the_seed():
    log, split = random_log(501, users=7, items=101), SplitConfig(kind="ratio")
    np.testing.assert_array_equal(
        splits.assign(log, split, 1), splits.assign(log, split, 1)
    )
    assert (splits.assign(log, split, 1) != splits.assign(log, split, 2)).any()


def test_time_never_parts_events_of_one_moment():
    # Moments begin at events 0, 4, 5, 6 and 9. Test should begin at 8.5: 9 is nearest, though event 8
    # belongs to the moment before it. Validation should begin at 5.8: 6 is nearest.
    log = make([0] * 10, list(range(10)), [1, 1, 1, 1, 2, 3, 4, 4, 4, 5])
    part = splits.assign(
        log, SplitConfig(kind="time", validation=0.27, test=0.15), seed=0
    )
    np.testing.assert_array_equal(part, [TRAIN] * 6 + [VALIDATION] * 3 + [TEST])


def test_time_keeps_the_order_of_parts_over_users():
    log = random_log(1009, users=17, items=19)
    part = splits.assign(log, SplitConfig(kind="time"), seed=0)
    assert log.time[part == TRAIN].max() < log.time[part == VALIDATION].min()
    assert log.time[part == VALIDATION].max() < log.time[part == TEST].min()
    assert abs((part == TEST).mean() - 0.1) < 0.01


def test_time_needs_a_clock():
    with pytest.raises(UserError, match="only an order"):
        splits.assign(
            make([0, 0, 0], [0, 1, 2], clock=False), SplitConfig(kind="time"), seed=0
        )


def test_given_with_validation_stays_as_it_is():
    given = np.array([TRAIN, UNUSED, VALIDATION, TEST], np.int8)
    part = splits.assign(
        make([0] * 4, [0, 1, 2, 3], given_part=given), SplitConfig(), seed=0
    )
    np.testing.assert_array_equal(part, given)


def test_given_one_test_event_each_carves_the_last_training_event():
    given = np.array([TRAIN, TRAIN, TEST, TRAIN, TEST, TRAIN, TRAIN, UNUSED], np.int8)
    user = [0, 0, 0, 1, 1, 2, 2, 2]
    expected = [TRAIN, VALIDATION, TEST, TRAIN, TEST, TRAIN, VALIDATION, UNUSED]
    for rating in (None, np.ones(8, np.float32)):
        log = make(user, list(range(8)), given_part=given.copy(), rating=rating)
        np.testing.assert_array_equal(
            splits.assign(log, SplitConfig(), seed=0), expected
        )
        np.testing.assert_array_equal(log.given_part, given)


def test_given_rated_folds_carve_a_random_share_of_training():
    given = np.where(np.arange(1000) % 5 == 0, TEST, TRAIN).astype(np.int8)
    log = make(
        [0] * 1000,
        list(range(1000)),
        given_part=given,
        rating=np.ones(1000, np.float32),
    )
    part = splits.assign(log, SplitConfig(validation=0.1), seed=5)
    np.testing.assert_array_equal(part == TEST, given == TEST)
    assert (part == VALIDATION).sum() == 80
    assert np.flatnonzero(part == VALIDATION).min() < 200


def test_auto_resolves_from_the_data():
    plain, rated = make([0], [0]), make([0], [0], rating=np.ones(1, np.float32))
    given = dataclasses.replace(rated, given_part=np.zeros(1, np.int8))
    ordered = make([0], [0], clock=False)

    def kind(log: Interactions, split: SplitConfig, engagement: bool = False) -> str:
        return splits.resolve_kind(log, split, engagement).kind

    auto = SplitConfig()
    assert [kind(log, auto) for log in (plain, rated, given)] == [
        "leave_one_out",
        "ratio",
        "given",
    ]
    assert [kind(log, auto, True) for log in (plain, ordered, given)] == [
        "ratio",
        "ratio",
        "given",
    ]
    assert kind(given, SplitConfig(kind="time"), True) == "time"


@pytest.mark.parametrize(
    ("log", "split", "message"),
    [
        (
            make([0, 0, 1, 1], [0, 1, 0, 1]),
            SplitConfig(),
            "no validation events.*at most 2 of one user.*--split.kind",
        ),
        (make([0, 0], [0, 0]), SplitConfig(kind="ratio"), "no train events"),
        (
            make([0, 0, 0], [0, 1, 2], [5, 5, 5]),
            SplitConfig(kind="time"),
            "no train events",
        ),
        (make([0, 0, 0], [0, 1, 2]), SplitConfig(kind="given"), "files fix no split"),
        (
            make([0, 0, 0], [0, 1, 2]),
            SplitConfig(validation=0.5, test=0.5),
            "--split.validation 0.5",
        ),
        (
            make([0, 0, 0], [0, 1, 2], given_part=np.zeros(3, np.int8)),
            SplitConfig(),
            "given leaves no test events, for there are 3 in all",
        ),
    ],
)
def test_impossible_splits_say_what_to_change(log, split, message):
    with pytest.raises(UserError, match=message):
        splits.assign(log, split, seed=0)


def test_select_by_kind_drops_users_but_no_items():
    features = {
        "age": Feature(np.array(["x", "y", "z"]), np.array([[0], [1], [2]], np.int32))
    }
    log = make(
        [0, 0, 1, 2, 2],
        [0, 1, 2, 3, 4],
        kind=np.array([0, 1, 0, 1, 1], np.int8),
        kinds=("view", "purchase"),
        given_part=np.array([0, 1, 2, 0, 2], np.int8),
        given_negatives=np.array([[1, 2], [3, 4], [0, -1]], np.int32),
        dwell=np.arange(5, dtype=np.float32),
        user_features=features,
    )
    kept = splits.select(log, SplitConfig(events=("purchase",)))
    assert kept.users.tolist() == ["u0", "u2"]
    assert len(kept.items) == 5
    np.testing.assert_array_equal(kept.user, [0, 1, 1])
    np.testing.assert_array_equal(kept.item, [1, 3, 4])
    np.testing.assert_array_equal(kept.given_part, [1, 0, 2])
    np.testing.assert_array_equal(kept.dwell, [1, 3, 4])
    np.testing.assert_array_equal(kept.given_negatives, [[1, 2], [0, -1]])
    np.testing.assert_array_equal(kept.user_features["age"].ids, [[0], [2]])
    assert kept.left_out == {"other_kind": 2}
    assert log.left_out == {}


def test_select_names_the_kinds_there_are():
    with pytest.raises(
        UserError, match=r'"purchse".*interaction, purchase.*did you mean "purchase"'
    ):
        splits.select(
            make([0], [0], kinds=("interaction", "purchase")),
            SplitConfig(events=("purchse",)),
        )


@pytest.mark.parametrize(
    ("policy", "times", "left_out"),
    [
        ("keep", [0, 1, 2, 3, 4], {}),
        ("first", [0, 1, 4], {"duplicate": 2}),
        ("last", [1, 3, 4], {"duplicate": 2}),
    ],
)
def test_duplicates_policy(policy, times, left_out):
    log = make([0, 0, 0, 0, 1], [7, 2, 7, 7, 7], [0, 1, 2, 3, 4])
    kept = splits.select(log, SplitConfig(duplicates=policy))
    np.testing.assert_array_equal(kept.time, times)
    assert kept.left_out == left_out


def test_least_numbers_hold_together():
    # Item 2 has one event; without it user 1 has one event; without that, item 1 has two left.
    log = make([0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 0, 1])
    kept = splits.select(log, SplitConfig(min_user_events=2, min_item_events=2))
    np.testing.assert_array_equal(kept.item, [0, 1, 0, 1])
    assert kept.users.tolist() == ["u0", "u2"]
    assert kept.left_out == {"few_item_events": 1, "few_user_events": 1}
    with pytest.raises(
        UserError, match=r"none of the 6 events remains.*--split.min-user-events"
    ):
        splits.select(log, SplitConfig(min_user_events=3))


def test_audit_by_hand():
    # user 0: times 1 1 5 9, user 1: times 2 3 3 4; event 7 repeats event 6 exactly but for its time.
    log = make(
        [0, 0, 0, 0, 1, 1, 1, 1],
        [0, 1, 0, 2, 3, 0, 0, 0],
        [1, 1, 5, 9, 2, 3, 3, 4],
        left_out={"bad": 3},
        digest="abc",
    )
    part = np.array([TRAIN, TRAIN, VALIDATION, TEST, TRAIN, TRAIN, TEST, TEST], np.int8)
    part[1] = UNUSED
    report = splits.audit(log, part, "given")
    assert report == {
        "users": 2,
        "items": 4,
        "events": 8,
        "train": 3,
        "validation": 1,
        "test": 3,
        "unused": 1,
        "split": "given",
        "ties_in_time": 4 / 8,
        "test_before_newest_train": 0.0,
        "test_before_newest_train_of_user": 0.0,
        "cold_users": 0,
        "cold_items": 1,
        "repeat_share": 3 / 8,
        "test_pairs_in_train": 2 / 3,
        "duplicates": 1,
        "left_out": {"bad": 3},
        "data_sha256": "abc",
    }


def test_audit_sees_leaks_from_the_future():
    log = make([0, 0, 0, 1, 1, 1, 2], [0, 1, 2, 0, 1, 2, 3], [1, 2, 3, 11, 12, 13, 0])
    part = np.array([TRAIN, TEST, TRAIN, TRAIN, VALIDATION, TEST, TEST], np.int8)
    report = splits.audit(log, part, "ratio")
    assert report["test_before_newest_train"] == pytest.approx(
        2 / 3
    )  # of times 2, 13 and 0 against 11
    assert report["test_before_newest_train_of_user"] == pytest.approx(1 / 3)
    assert report["cold_users"] == 1
    assert report["test_pairs_in_train"] == 0


def test_audit_and_its_lines_are_silent_on_times_without_a_clock():
    log = make([0, 0, 0], [0, 1, 2], clock=False)
    report = splits.audit(
        log, np.array([TRAIN, VALIDATION, TEST], np.int8), "leave_one_out"
    )
    assert report["ties_in_time"] is None
    assert report["test_before_newest_train"] is None
    text = splits.describe(report)
    assert "unknown (no clock)" in text
    assert (
        "1 users, 3 items, 3 events; split leave_one_out: train 1, validation 1, test 1"
        in text
    )
    assert "unused" not in text


@pytest.mark.parametrize("kind", ["leave_one_out", "ratio", "time", "given"])
def test_without_validation_the_rest_trains(kind):
    log = random_log(1009, users=17, items=19)
    given = np.where(
        np.arange(1009) % 5 == 0,
        TEST,
        np.where(np.arange(1009) % 7 == 0, VALIDATION, TRAIN),
    )
    log = dataclasses.replace(log, given_part=given.astype(np.int8))
    some, none = (
        splits.assign(log, SplitConfig(kind=kind, validation=share), seed=0)
        for share in (0.1, 0.0)
    )
    assert set(none.tolist()) == {TRAIN, TEST}
    assert VALIDATION in some
    np.testing.assert_array_equal(
        (none == TEST)[none == TEST], (some == TEST)[none == TEST]
    )
    assert (none == TRAIN).sum() >= ((some == TRAIN) | (some == VALIDATION)).sum()
