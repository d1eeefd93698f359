"""Histories and windows against loops over a small log."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.histories import batch_of_events, batch_of_windows, query_after_log, window_ends
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
    }
    floats = ("value", "mean_dwell", "prior_dwell")
    return EventLog(**{k: jnp.asarray(v, jnp.float32 if k in floats else jnp.int32) for k, v in columns.items()})


LOG = make_log()


def history(user: int, end: int) -> tuple[list[int], list[int | None], list[bool]]:
    """Items, minutes and mask of the latest events of a user before offset `end`, by a loop."""
    tokens, minutes, mask = [], [], []
    for slot in range(end - LENGTH, end):
        if slot >= START[user]:
            tokens, minutes, mask = [*tokens, 100 + slot], [*minutes, 1000 + slot], [*mask, True]
        else:  # "nothing yet" just before the first event, padding before that
            tokens, minutes, mask = [*tokens, -1], [*minutes, None], [*mask, slot == START[user] - 1]
    return tokens, minutes, mask


def check_history(query, row: int, user: int, end: int) -> None:
    tokens, minutes, mask = history(user, end)
    np.testing.assert_array_equal(query.token[row], tokens)
    np.testing.assert_array_equal(query.mask[row], mask)
    known = np.array([minute is not None for minute in minutes])
    np.testing.assert_array_equal(np.asarray(query.token_minute[row])[known], [m for m in minutes if m is not None])


def test_an_event_is_scored_from_what_came_before():
    events = np.arange(EVENTS)
    batch = jax.jit(batch_of_events, static_argnums=2)(LOG, events.astype(np.int32), LENGTH)
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
    np.testing.assert_array_equal(batch_of_events(LOG, jnp.array([4, -1]), LENGTH).weight, [1, 0])


def test_a_window_holds_targets_and_the_token_before_each():
    ends = window_ends(START, LENGTH)
    batch = jax.jit(batch_of_windows, static_argnums=2)(LOG, ends, LENGTH)
    assert batch.positive.shape == (len(ends), LENGTH)
    for row, end in enumerate(ends):
        user = int(np.searchsorted(START, end, "left")) - 1
        assert int(batch.query.user[row]) == user
        check_history(batch.query, row, user, int(end) - 1)
        for position in range(LENGTH):
            target = end - LENGTH + position
            inside = target >= START[user]
            assert float(batch.weight[row, position]) == inside
            if inside:
                found = (batch.positive, batch.value, batch.query.minute, batch.query.kind, batch.query.dwell)
                expected = (100 + target, 0.5 + target, 1000 + target, 40 + target, target / 128)
                assert [float(column[row, position]) for column in found] == list(map(float, expected))


def test_a_padded_window_has_no_weight():
    np.testing.assert_array_equal(batch_of_windows(LOG, jnp.array([-1, 3]), LENGTH).weight[0], np.zeros(LENGTH))


def test_windows_cover_every_event_once():
    ends = window_ends(START, LENGTH)
    np.testing.assert_array_equal(np.sort(ends), [3, 6, 10, 11, 12, 16])
    batch = batch_of_windows(LOG, ends, LENGTH)
    targets = np.asarray(batch.positive)[np.asarray(batch.weight) > 0]
    np.testing.assert_array_equal(np.sort(targets), 100 + np.arange(EVENTS))


def test_after_the_log_everything_is_history():
    users = jnp.array([4, 1, -1, 2, 3], jnp.int32)
    query = query_after_log(LOG, users, jnp.full(5, 7777), LENGTH)
    np.testing.assert_array_equal(query.user, users)
    np.testing.assert_array_equal(query.minute, np.full(5, 7777))
    for row, user in enumerate([4, 1, 1, 2, 3]):  # an unknown user is as one without events
        check_history(query, row, user, int(START[user + 1]))
    last = np.array([15, -1, -1, 9, 10])
    np.testing.assert_array_equal(query.kind, np.where(last < 0, -1, 10 + last))
    np.testing.assert_array_equal(query.dwell, np.where(last < 0, 0, np.float32(last / 64)))


@pytest.mark.parametrize("gather", [batch_of_events, batch_of_windows])
def test_nothing_of_later_events_or_other_users_is_in_a_batch(gather):
    """User 2 has the events 3..9. All else, and what comes at 7 and later, may be anything."""
    example = jnp.array([7])  # event 7 from events 3..6; or the window that ends with event 6
    event = np.arange(EVENTS)
    hidden = (event < 3) | (event >= (8 if gather is batch_of_events else 7))
    columns = {name: getattr(LOG, name) for name in ("item", "minute", "value", "kind", "prior_kind", "prior_dwell")}
    spoiled = LOG._replace(**{k: jnp.where(hidden, 9999, v).astype(v.dtype) for k, v in columns.items()})
    one, other = gather(LOG, example, LENGTH), gather(spoiled, example, LENGTH)
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert (np.asarray(one.weight) > 0).any()
