from __future__ import annotations

import numpy as np
import pytest

from ancf_jax.data import audits
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
    assert audits.audit(log, part, "given") == {
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


def test_audit_sees_leaks_from_the_future(make_log):
    log = make_log(
        user=[0, 0, 0, 1, 1, 1, 2],
        item=[0, 1, 2, 0, 1, 2, 3],
        time=[1, 2, 3, 11, 12, 13, 0],
    )
    part = parts(TRAIN, TEST, TRAIN, TRAIN, VALIDATION, TEST, TEST)
    report = audits.audit(log, part, "ratio")
    # Times 2, 13 and 0 are tested; the newest that trains is 11, and 3 of user 0.
    assert report["test_before_newest_train"] == pytest.approx(2 / 3)
    assert report["test_before_newest_train_of_user"] == pytest.approx(1 / 3)
    assert report["cold_users"] == 1
    assert report["test_pairs_in_train"] == 0


def test_audit_and_its_lines_are_silent_on_times_without_a_clock(make_log):
    log = make_log([0, 0, 0], [0, 1, 2], clock=False)
    part = parts(TRAIN, VALIDATION, TEST)
    report = audits.audit(log, part, "leave_one_out")
    assert report["ties_in_time"] is None
    assert report["test_before_newest_train"] is None
    text = audits.describe(report)
    assert "unknown (no clock)" in text
    sizes = "1 users, 3 items, 3 events"
    counts = "train 1, validation 1, test 1"
    assert f"{sizes}; split leave_one_out: {counts}" in text
    assert "unused" not in text
