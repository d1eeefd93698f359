"""Histories and batches against loops over a small log."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.batching.histories import (
    batch_among_events,
    batch_of_events,
    batch_of_windows,
    request_after_log,
)
from ancf_jax.batching.windows import pack_windows
from ancf_jax.types import Batch, EventLog, Request

COUNTS = [3, 0, 7, 1, 5]  # events of each user
LENGTH = 4
USERS = len(COUNTS)
EVENTS = sum(COUNTS)
START = np.cumsum([0, *COUNTS]).astype(np.int32)
EVENT = np.arange(EVENTS)
USER_OF_EVENT = np.repeat(np.arange(USERS), COUNTS)


def make_log() -> EventLog:
    """Every column says which event it is of: item 100 + e, minute 1000 + e, and so on."""
    return EventLog(
        user=jnp.asarray(USER_OF_EVENT, jnp.int32),
        item=jnp.asarray(100 + EVENT, jnp.int32),
        minute=jnp.asarray(1000 + EVENT, jnp.int32),
        value=jnp.asarray(0.5 + EVENT, jnp.float32),
        kind=jnp.asarray(10 + EVENT, jnp.int32),
        mean_dwell=jnp.asarray(EVENT / 64, jnp.float32),
        prior_kind=jnp.asarray(40 + EVENT, jnp.int32),
        prior_dwell=jnp.asarray(EVENT / 128, jnp.float32),
        start=jnp.asarray(START),
        seen_item=jnp.asarray(100 + EVENT, jnp.int32),
        seen_start=jnp.asarray(START),
        number=jnp.arange(USERS, dtype=jnp.int32),
    )


LOG = make_log()


class Slot(NamedTuple):
    token: int
    minute: int | None  # None where it means nothing
    is_padding: bool


def slot_of(user: int, event: int) -> Slot:
    """What the slot of a history holds that would be event `event` of the log."""
    begin = START[user]
    if event >= begin:
        return Slot(100 + event, 1000 + event, is_padding=False)
    nothing_yet = event == begin - 1
    return Slot(-1, None, is_padding=not nothing_yet)


def check_history(request: Request, row: int, user: int, end: int) -> None:
    """Compares a row with the latest events of a user before offset `end`, by a loop."""
    for place, event in enumerate(range(end - LENGTH, end)):
        expected = slot_of(user, event)
        assert request.token[row, place] == expected.token
        is_padding = request.segment[row, place] < 0
        assert is_padding == expected.is_padding
        if expected.minute is not None:
            assert request.token_minute[row, place] == expected.minute


def check_events(batch: Batch, event: np.ndarray) -> None:
    """Compares all but the histories with what the log holds of the events."""
    request = batch.request
    np.testing.assert_array_equal(batch.positive, 100 + event)
    np.testing.assert_array_equal(batch.value, np.float32(0.5 + event))
    np.testing.assert_array_equal(batch.weight, np.ones(event.shape))
    np.testing.assert_array_equal(request.user, USER_OF_EVENT[event])
    np.testing.assert_array_equal(request.minute, 1000 + event)
    np.testing.assert_array_equal(request.kind, 40 + event)
    np.testing.assert_array_equal(request.dwell, np.float32(event / 128))


def on_host(batch: Batch) -> Batch:
    return jax.tree.map(np.asarray, batch)


@pytest.fixture(scope="module")
def events() -> Batch:
    """All events of the log, each with its history."""
    gather = jax.jit(batch_of_events, static_argnums=2)
    event = EVENT.astype(np.int32)
    return on_host(gather(LOG, event, LENGTH))


def test_a_batch_holds_the_events_and_what_was_known(events):
    check_events(events, EVENT)


def test_an_event_is_scored_from_what_came_before(events):
    for event, user in enumerate(USER_OF_EVENT):
        check_history(events.request, event, user, event)


def others_of(event: int, length: int) -> list[int]:
    """The user's other events nearest to `event`, as many before as after where there are."""
    user = USER_OF_EVENT[event]
    before = list(range(START[user], event))
    after = list(range(event + 1, START[user + 1]))
    earlier = min(len(before), max(length // 2, length - len(after)))
    chosen = before[len(before) - earlier :]
    return [*chosen, *after[: length - earlier]]


@pytest.mark.parametrize("length", [1, 4, 5, 11])
def test_an_event_among_its_users_others(length):
    gather = jax.jit(batch_among_events, static_argnums=2)
    batch = on_host(gather(LOG, EVENT.astype(np.int32), length))
    check_events(batch, EVENT)
    for event in EVENT:
        others = np.array(others_of(event, length), int)
        padding = length - len(others)
        token = np.append(np.full(padding, -1), 100 + others)
        np.testing.assert_array_equal(batch.request.token[event], token)
        segment = np.append(np.full(padding, -1), np.zeros(len(others)))
        np.testing.assert_array_equal(batch.request.segment[event], segment)
        value = np.append(np.zeros(padding), 0.5 + others)
        np.testing.assert_array_equal(batch.request.token_value[event], value)
        minute = batch.request.token_minute[event, padding:]
        np.testing.assert_array_equal(minute, 1000 + others)


def test_tokens_have_the_values_of_their_events(events):
    token = events.request.token
    expected = np.where(token < 0, 0.0, token - 99.5)
    np.testing.assert_array_equal(events.request.token_value, expected)
    after = request_after_log(LOG, jnp.array([0, -1]), jnp.array([7, 8]), LENGTH)
    np.testing.assert_array_equal(after.token_value[0], [0.0, 0.5, 1.5, 2.5])
    np.testing.assert_array_equal(after.token_value[1], np.zeros(LENGTH))


def test_a_padded_event_has_no_weight():
    batch = batch_of_events(LOG, jnp.array([4, -1]), LENGTH)
    np.testing.assert_array_equal(batch.weight, [1, 0])


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    return pack_windows(START, LENGTH)


@pytest.fixture(scope="module")
def windows(targets) -> Batch:
    gather = jax.jit(batch_of_windows)
    return on_host(gather(LOG, targets))


def test_a_window_holds_its_targets_and_what_was_known(targets, windows):
    check_events(windows, targets)


def test_a_window_holds_the_token_before_each_target(targets, windows):
    is_earliest = np.isin(targets, START)
    token = np.where(is_earliest, -1, 100 + targets - 1)
    np.testing.assert_array_equal(windows.request.token, token)
    minute = windows.request.token_minute[~is_earliest]
    before = targets[~is_earliest] - 1
    np.testing.assert_array_equal(minute, 1000 + before)


def test_a_padded_target_has_no_weight():
    targets = np.array([[3, 4, 5, -1]])
    batch = batch_of_windows(LOG, targets)
    np.testing.assert_array_equal(batch.weight, [[1, 1, 1, 0]])


def pairs_in_one_segment(segment: np.ndarray) -> np.ndarray:
    return segment[:, :, None] == segment[:, None, :]


def test_segments_are_runs_of_one_user():
    """Events 2 of user 0 and 3 of user 2 are neighbours in the log, and yet two histories."""
    targets = np.array([[0, 1, 2, 3, 4, -1], [8, 9, 3, 4, 5, 6], [-1] * 6])
    expected = np.array([[0, 0, 0, 1, 1, -1], [0, 0, 1, 1, 1, 1], [-1] * 6])
    batch = batch_of_windows(LOG, targets)
    segment = np.asarray(batch.request.segment)
    np.testing.assert_array_equal(
        pairs_in_one_segment(segment),
        pairs_in_one_segment(expected),
    )
    np.testing.assert_array_equal(segment < 0, targets < 0)


def test_after_the_log_everything_is_history():
    users = jnp.array([4, 1, -1, 2, 3])
    as_if = [4, 1, 1, 2, 3]  # an unknown user is as one without events
    minutes = jnp.full(5, 7777)
    request = request_after_log(LOG, users, minutes, LENGTH)
    np.testing.assert_array_equal(request.user, users)
    np.testing.assert_array_equal(request.minute, minutes)
    for row, user in enumerate(as_if):
        check_history(request, row, user, START[user + 1])


def test_after_the_log_the_last_event_tells_kind_and_dwell():
    users = jnp.array([4, 1, -1, 2, 3])
    minutes = jnp.full(5, 7777)
    request = request_after_log(LOG, users, minutes, LENGTH)
    kind = [10 + 15, -1, -1, 10 + 9, 10 + 10]
    dwell = [15 / 64, 0, 0, 9 / 64, 10 / 64]
    np.testing.assert_array_equal(request.kind, kind)
    np.testing.assert_array_equal(request.dwell, np.float32(dwell))


COLUMNS = ("item", "minute", "value", "kind", "prior_kind", "prior_dwell")


def spoiled(hidden: np.ndarray) -> EventLog:
    """The log with nonsense in the events that are `hidden`."""
    changed = {}
    for name in COLUMNS:
        column = getattr(LOG, name)
        changed[name] = jnp.where(hidden, 9999, column).astype(column.dtype)
    return LOG._replace(**changed)


def check_equal(one: Batch, other: Batch) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert one.weight.any()


def test_nothing_of_later_events_or_other_users_is_in_a_batch_of_events():
    """User 2 has the events 3..9. All others, and what comes after 7, may be anything."""
    is_other = EVENT < 3
    is_later = EVENT >= 8
    log = spoiled(is_other | is_later)
    event = np.array([7])
    one = batch_of_events(LOG, event, LENGTH)
    other = batch_of_events(log, event, LENGTH)
    check_equal(one, other)


def test_nothing_of_later_events_or_other_users_is_in_a_window():
    """User 2 has the events 3..9. All others, and what comes at 7 and later, may be anything."""
    is_other = EVENT < 3
    is_later = EVENT >= 7
    log = spoiled(is_other | is_later)
    targets = EVENT[None, 3:7]
    one = batch_of_windows(LOG, targets)
    other = batch_of_windows(log, targets)
    check_equal(one, other)
