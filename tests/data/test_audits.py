from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ancf_jax.config import SplitConfig
from ancf_jax.data import audits, splits
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION


def parts(*names: int) -> np.ndarray:
    return np.array(names, np.int8)


def test_audit_by_hand(make_log):
    # User 0 has times 1 1 5 9, user 1 has 2 3 3 4; event 6 repeats event 5 exactly, and
    # event 7 repeats it but for its time.
    log = make_log(
        user=[0, 0, 0, 0, 1, 1, 1, 1],
        item=[0, 1, 0, 2, 3, 0, 0, 0],
        time=[1, 1, 5, 9, 2, 3, 3, 4],
        left_out={"bad": 3},
        digest="abc",
    )
    part = parts(TRAIN, UNUSED, VALIDATION, TEST, TRAIN, TRAIN, TEST, TEST)
    assert audits.audit(log, part, SplitConfig(kind="given")) == {
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
        "test_begins": "1970-01-01 00:00",
        "baskets": 6,
        "share_in_baskets": 2 / 8,
        "test_in_open_basket": 1 / 3,
        "baskets_held_out": None,
        "users_held_out": None,
        "cold_users": 0,
        "cold_items": 1,
        "repeat_share": 3 / 8,
        "test_pairs_in_train": 2 / 3,
        "duplicates": 1,
        "left_out": {"bad": 3},
        "remarks": [],
        "data_sha256": "abc",
    }


def test_audit_sees_leaks_from_the_future(make_log):
    log = make_log(
        user=[0, 0, 0, 1, 1, 1, 2],
        item=[0, 1, 2, 0, 1, 2, 3],
        time=[1, 2, 3, 11, 12, 13, 0],
    )
    part = parts(TRAIN, TEST, TRAIN, TRAIN, VALIDATION, TEST, TEST)
    report = audits.audit(log, part, SplitConfig(kind="ratio"))
    # Times 2, 13 and 0 are tested; the newest that trains is 11, and 3 of user 0.
    assert report["test_before_newest_train"] == pytest.approx(2 / 3)
    assert report["test_before_newest_train_of_user"] == pytest.approx(1 / 3)
    assert report["cold_users"] == 1
    assert report["test_pairs_in_train"] == 0


def test_audit_and_its_lines_are_silent_on_times_without_a_clock(make_log):
    log = make_log([0, 0, 0], [0, 1, 2], clock=False)
    part = parts(TRAIN, VALIDATION, TEST)
    report = audits.audit(log, part, SplitConfig(kind="leave_one_out"))
    assert report["ties_in_time"] is None
    assert report["test_before_newest_train"] is None
    text = audits.describe(report)
    assert "unknown (no clock)" in text
    sizes = "1 users, 3 items, 3 events"
    counts = "train 1, validation 1, test 1"
    assert f"{sizes}; split leave_one_out: {counts}" in text
    assert "unused" not in text


def test_remarks_on_the_source_are_lines_of_their_own(make_log):
    log = make_log([0, 0, 0], [0, 1, 2], remarks=("WARNING: no times", "note: more"))
    part = parts(TRAIN, VALIDATION, TEST)
    report = audits.audit(log, part, SplitConfig(kind="leave_one_out"))
    assert report["remarks"] == ["WARNING: no times", "note: more"]
    assert audits.describe(report).endswith("\nWARNING: no times\nnote: more")


def audited(log, split: SplitConfig) -> dict[str, Any]:
    part = splits.assign(log, split, seed=0)
    return audits.audit(log, part, split)


DAY = 86_400
# Shopper 0: visits of 2, 1 and 3 products, shopper 1: of 1, 1 and 2.
VISITS = {
    "user": [0] * 6 + [1] * 4,
    "item": [0, 1, 2, 0, 1, 3, 0, 1, 2, 4],
    "time": [day * DAY for day in (1, 1, 2, 3, 3, 3, 1, 2, 4, 4)],
}


def test_the_next_visit_is_asked_for_in_words(make_log):
    report = audited(make_log(**VISITS), SplitConfig(kind="next_basket"))
    assert report["baskets"] == 6
    assert report["share_in_baskets"] == pytest.approx(4 / 10)
    assert report["test_in_open_basket"] is None
    assert report["baskets_held_out"] == 4
    assert report["users_held_out"] == 2
    lines = audits.describe(report).splitlines()
    assert lines[1] == (
        "question: what will a shopper take on the next visit? "
        "(4 baskets of 2 shoppers held out whole)"
    )
    shared = "events that share theirs with the event before: 40.0%"
    assert f"baskets: 6; {shared}" in lines


def test_open_baskets_are_warned_of(make_log):
    """Both last events share their day with the ones before, and those are known."""
    report = audited(make_log(**VISITS), SplitConfig(kind="leave_one_out"))
    assert report["test_in_open_basket"] == 1.0
    assert report["baskets_held_out"] is None
    text = audits.describe(report)
    assert "warning: 100.0% of the test events share their moment" in text
    assert "--split.kind next_basket asks for the next visit" in text
    assert "question" not in text
    assert "event before: 40.0%, of test events: 100.0%" in text


def test_few_open_baskets_are_none_to_warn_of(make_log):
    """Of five users one ends with two events at once: 20 % are no reason to warn, 25 % are."""
    times = [1, 2, 3] * 4 + [1, 2, 2]
    user = np.repeat(np.arange(5), 3).tolist()
    split = SplitConfig(kind="leave_one_out")
    few = audited(make_log(user, [0, 1, 2] * 5, time=times), split)
    assert few["test_in_open_basket"] == pytest.approx(0.2)
    assert "question: what comes next?" in audits.describe(few)
    some = audited(make_log(user[:12], [0, 1, 2] * 4, time=times[3:]), split)
    assert some["test_in_open_basket"] == pytest.approx(0.25)
    assert "warning: 25.0%" in audits.describe(some)


def test_a_basket_is_as_wide_as_the_split_says(make_log):
    minutes = [0, 10, 20, 40]
    log = make_log([0] * 4, [0, 1, 2, 3], time=[60 * minute for minute in minutes])
    at_once = audited(log, SplitConfig(kind="leave_one_out"))
    assert at_once["baskets"] is None
    assert at_once["share_in_baskets"] == 0
    assert "baskets:" not in audits.describe(at_once)
    wide = audited(log, SplitConfig(kind="leave_one_out", basket_minutes=10))
    assert wide["baskets"] == 2
    assert wide["test_in_open_basket"] == 0
    wider = audited(log, SplitConfig(kind="leave_one_out", basket_minutes=20))
    assert wider["test_in_open_basket"] == 1


def test_what_is_known_of_an_open_basket_may_lie_further_back(make_log):
    """Of one basket of five the third and the fourth test, the second is known to both."""
    log = make_log([0] * 6, list(range(6)), time=[5, 5, 5, 5, 5, 9])
    part = parts(TRAIN, VALIDATION, TEST, TEST, UNUSED, TEST)
    report = audits.audit(log, part, SplitConfig(kind="given"))
    assert report["test_in_open_basket"] == pytest.approx(2 / 3)
    assert "question: as the files say" in audits.describe(report)


def test_the_time_after_a_moment_is_asked_for_in_words(make_log):
    """The last fifth begins on day 5: a new shopper and two new products."""
    begin = 1_704_067_200  # 2024-01-01
    log = make_log(
        user=[0] * 7 + [1] * 2 + [2],
        item=[0, 1, 2, 0, 1, 2, 5, 0, 1, 6],
        time=[begin + day * DAY for day in (0, 1, 2, 3, 3, 4, 6, 1, 2, 5)],
    )
    report = audited(log, SplitConfig(kind="time", validation=0.1, test=0.2))
    assert report["test_begins"] == "2024-01-06 00:00"
    assert report["users_held_out"] == 2
    assert (
        "question: what will shoppers take in the time after 2024-01-06 00:00, "
        "1 of them new, 2 products new?"
    ) in audits.describe(report)


def test_a_random_share_is_said_to_be_one(make_log):
    report = audited(make_log(**VISITS), SplitConfig(kind="ratio"))
    assert "held out at random" in audits.describe(report)
    assert report["test_in_open_basket"] is not None


def test_moments_without_a_clock_tell_of_ties(make_log):
    log = make_log([0] * 5, [0, 1, 1, 2, 3], time=[0, 1, 1, 2, 3], clock=False)
    report = audited(log, SplitConfig(kind="leave_one_out"))
    assert report["ties_in_time"] == pytest.approx(2 / 5)
    assert report["test_begins"] is None
    assert "ties in time: 40.0%" in audits.describe(report)


def test_an_audit_that_knows_nothing_of_baskets_has_no_question(make_log):
    """Audits of earlier versions lie beside results, and are still described."""
    report = audited(make_log(**VISITS), SplitConfig(kind="next_basket"))
    earlier = {name: x for name, x in report.items() if "basket" not in name}
    text = audits.describe(earlier)
    assert "question" not in text
    assert len(text.splitlines()) == 4
