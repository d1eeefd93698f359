"""Histories and windows against loops over a small log."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.histories import (
    batch_of_events,
    batch_of_windows,
    pack_windows,
    query_after_log,
)
from ancf_jax.types import EventLog

COUNTS = [3, 0, 7, 1, 5]  # events of each user
LENGTH = 4
USERS, EVENTS = len(COUNTS), sum(COUNTS)
START = np.cumsum([0, *COUNTS]).astype(np.int32)


def make_log() -> EventLog:
    """Every column says which event it is of: item 100 + e, minute 1000 + e, and so on."""
    event = np.arange(EVENTS)
    columns = {
        "user": np.repeat(np.arange(USERS), COUNTS),
        "item": 100 + event,
        "minute": 1000 + event,
        "value": 0.5 + event,
        "kind": 10 + event,
        "mean_dwell": event / 64,
        "prior_kind": 40 + event,
        "prior_dwell": event / 128,
        "start": START,
        "seen_item": 100 + event,
        "seen_start": START,
        "number": np.arange(USERS),
    }
    floats = ("value", "mean_dwell", "prior_dwell")
    return EventLog(
        **{
            k: jnp.asarray(v, jnp.float32 if k in floats else jnp.int32)
            for k, v in columns.items()
        }
    )


LOG = make_log()


def history(user: int, end: int) -> tuple[list[int], list[int | None], list[bool]]:
    """Items, minutes and mask of the latest events of a user before offset `end`, by a loop."""
    tokens, minutes, mask = [], [], []
    for slot in range(end - LENGTH, end):
        if slot >= START[user]:
            tokens, minutes, mask = (
                [*tokens, 100 + slot],
                [*minutes, 1000 + slot],
                [*mask, True],
            )
        else:  # "nothing yet" just before the first event, padding before that
            tokens, minutes, mask = (
                [*tokens, -1],
                [*minutes, None],
                [*mask, slot == START[user] - 1],
            )
    return tokens, minutes, mask


def check_history(query, row: int, user: int, end: int) -> None:
    tokens, minutes, mask = history(user, end)
    np.testing.assert_array_equal(query.token[row], tokens)
    np.testing.assert_array_equal(np.asarray(query.segment[row]) >= 0, mask)
    known = np.array([minute is not None for minute in minutes])
    np.testing.assert_array_equal(
        np.asarray(query.token_minute[row])[known],
        [m for m in minutes if m is not None],
    )


def test_an_event_is_scored_from_what_came_before():
    events = np.arange(EVENTS)
    batch = jax.jit(batch_of_events, static_argnums=2)(
        LOG, events.astype(np.int32), LENGTH
    )
    np.testing.assert_array_equal(batch.positive, 100 + events)
    np.testing.assert_array_equal(batch.value, np.float32(0.5 + events))
    np.testing.assert_array_equal(batch.weight, np.ones(EVENTS))
    np.testing.assert_array_equal(batch.query.user, np.repeat(np.arange(USERS), COUNTS))
    np.testing.assert_array_equal(batch.query.minute, 1000 + events)
    np.testing.assert_array_equal(batch.query.kind, 40 + events)
    np.testing.assert_array_equal(batch.query.dwell, np.float32(events / 128))
    for event in events:
        check_history(batch.query, event, int(batch.query.user[event]), event)


def test_a_padded_event_has_no_weight():
    np.testing.assert_array_equal(
        batch_of_events(LOG, jnp.array([4, -1]), LENGTH).weight, [1, 0]
    )


def test_a_window_holds_targets_and_the_token_before_each():
    rows = pack_windows(START, LENGTH)
    batch = jax.jit(batch_of_windows)(LOG, rows)
    assert batch.positive.shape == rows.shape
    for target, *found in zip(
        rows.ravel(),
        *(
            np.ravel(x)
            for x in (
                batch.positive,
                batch.value,
                *batch.query[:4],
                batch.query.token,
                batch.weight,
            )
        ),
        strict=True,
    ):
        user = int(np.searchsorted(START, target, "right")) - 1
        token = -1 if target == START[user] else 100 + target - 1
        expected = (
            100 + target,
            0.5 + target,
            user,
            1000 + target,
            40 + target,
            target / 128,
            token,
            1,
        )
        if target < 0:
            assert found[-1] == 0
        else:
            assert [float(value) for value in found] == list(map(float, expected))
    known = np.asarray(batch.query.token) >= 0
    np.testing.assert_array_equal(
        np.asarray(batch.query.token_minute)[known],
        np.asarray(batch.query.token)[known] + 900,
    )


def test_segments_are_runs_of_one_user():
    """Events 0..2 are of user 0 and 3..9 of user 2: contiguous in the log, and yet two histories."""
    rows = np.array([[0, 1, 2, 3, 4, -1], [8, 9, 3, 4, 5, 6], [-1] * 6])
    found = np.asarray(batch_of_windows(LOG, rows).query.segment)
    same = found[:, :, None] == found[:, None, :]
    expected = [[0, 0, 0, 1, 1, -1], [0, 0, 1, 1, 1, 1], [-1] * 6]
    np.testing.assert_array_equal(
        same, np.equal(np.array(expected)[:, :, None], np.array(expected)[:, None, :])
    )
    np.testing.assert_array_equal(found < 0, rows < 0)


def test_packing_holds_every_event_once_in_runs_counted_from_the_last():
    rows = pack_windows(START, LENGTH)
    np.testing.assert_array_equal(np.sort(rows[rows >= 0]), np.arange(EVENTS))
    assert rows.shape == (4, LENGTH)  # 16 events: nothing is padded
    runs = {
        tuple(run.tolist())
        for row in rows
        for run in np.split(row, np.flatnonzero(np.diff(row) != 1) + 1)
    }
    assert {(6, 7, 8, 9), (3, 4, 5), (12, 13, 14, 15), (0, 1, 2)} <= runs


def test_packing_wastes_little():
    counts = np.random.default_rng(0).geometric(1 / 29, 499)
    rows = pack_windows(np.cumsum([0, *counts]).astype(np.int32), 53)
    np.testing.assert_array_equal(np.sort(rows[rows >= 0]), np.arange(counts.sum()))
    assert (rows < 0).mean() < 0.01


def test_after_the_log_everything_is_history():
    users = jnp.array([4, 1, -1, 2, 3], jnp.int32)
    query = query_after_log(LOG, users, jnp.full(5, 7777), LENGTH)
    np.testing.assert_array_equal(query.user, users)
    np.testing.assert_array_equal(query.minute, np.full(5, 7777))
    for row, user in enumerate(
        [4, 1, 1, 2, 3]
    ):  # an unknown user is as one without events
        check_history(query, row, user, int(START[user + 1]))
    last = np.array([15, -1, -1, 9, 10])
    np.testing.assert_array_equal(query.kind, np.where(last < 0, -1, 10 + last))
    np.testing.assert_array_equal(
        query.dwell, np.where(last < 0, 0, np.float32(last / 64))
    )


@pytest.mark.parametrize("unit", ["event", "window"])
def test_nothing_of_later_events_or_other_users_is_in_a_batch(unit):
    """User 2 has the events 3..9. All else, and what comes at 7 and later, may be anything."""
    event = np.arange(EVENTS)
    hidden = (event < 3) | (event >= (8 if unit == "event" else 7))
    columns = {
        name: getattr(LOG, name)
        for name in ("item", "minute", "value", "kind", "prior_kind", "prior_dwell")
    }
    spoiled = LOG._replace(
        **{k: jnp.where(hidden, 9999, v).astype(v.dtype) for k, v in columns.items()}
    )

    def gather(log):  # event 7 from events 3..6; or the window of events 3..6
        return (
            batch_of_events(log, np.array([7]), LENGTH)
            if unit == "event"
            else batch_of_windows(log, event[None, 3:7])
        )

    one, other = gather(LOG), gather(spoiled)
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert (np.asarray(one.weight) > 0).any()
