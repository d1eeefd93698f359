"""Histories and windows over a small log of baskets, by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ancf_jax.batching.histories import (
    batch_among_events,
    batch_of_events,
    batch_of_windows,
    request_after_log,
)
from ancf_jax.batching.windows import pack_windows
from ancf_jax.types import EventLog, Request

# Events 0 1 | 2 | 3 4 5 of user 0; 6 7 8 | 9 10 | 11 | 12 13 of user 1; none of user 2; 14 of 3.
PLACE = np.array([0, 1, 0, 0, 1, 2, 0, 1, 2, 0, 1, 0, 0, 1, 0])
START = np.array([0, 6, 14, 14, 15])
EVENT = np.arange(15)
BASKET = np.cumsum(PLACE == 0)
BEGIN = EVENT - PLACE
USER = np.repeat(np.arange(4), np.diff(START))


def make_log() -> EventLog:
    """Item 100 + e; the events of a basket are a minute apart, and baskets hours."""
    minute = 1000 * BASKET + PLACE
    return EventLog(
        user=jnp.asarray(USER, jnp.int32),
        item=jnp.asarray(100 + EVENT, jnp.int32),
        minute=jnp.asarray(minute, jnp.int32),
        value=jnp.ones(15),
        kind=jnp.asarray(20 + EVENT, jnp.int32),
        mean_dwell=jnp.asarray(EVENT / 64, jnp.float32),
        prior_kind=jnp.asarray(40 + BEGIN, jnp.int32),
        prior_dwell=jnp.asarray(BEGIN / 128, jnp.float32),
        start=jnp.asarray(START, jnp.int32),
        seen_item=jnp.asarray(100 + EVENT, jnp.int32),
        seen_start=jnp.asarray(START, jnp.int32),
        number=jnp.arange(4, dtype=jnp.int32),
        basket_place=jnp.asarray(PLACE, jnp.int32),
    )


LOG = make_log()


def on_host(request: Request) -> Request:
    return jax.tree.map(np.asarray, request)


def steps(request: Request, row: int = 0) -> list[int]:
    """By how much the basket's number grows from one token of the row's to the next."""
    return np.diff(request.basket[row]).tolist()


@pytest.mark.parametrize(
    ("event", "token", "grows"),
    [
        (0, [-1, -1, -1, -1], None),
        (1, [-1, -1, -1, -1], None),
        (2, [-1, -1, 100, 101], [0]),
        (3, [-1, 100, 101, 102], [0, 1]),
        (5, [-1, 100, 101, 102], [0, 1]),
        (8, [-1, -1, -1, -1], None),
        (10, [-1, 106, 107, 108], [0, 0]),
        (11, [107, 108, 109, 110], [0, 1, 0]),
        (13, [108, 109, 110, 111], [1, 0, 1]),
    ],
)
def test_an_event_is_scored_from_the_baskets_before_its_own(event, token, grows):
    batch = batch_of_events(LOG, jnp.array([event]), 4)
    request = on_host(batch.request)
    assert_array_equal(request.token, [token])
    if grows is not None:
        assert steps(request)[-len(grows) :] == grows
    assert request.known is None
    assert batch.positive == 100 + event
    begin = BEGIN[event]
    assert request.minute == LOG.minute[begin]
    assert request.kind == 40 + begin
    assert request.dwell == begin / 128


def test_nothing_of_an_events_own_basket_is_among_the_others():
    log = LOG._replace(basket_size=jnp.asarray(np.bincount(BASKET)[BASKET], jnp.int32))
    for event, user in enumerate(USER):
        batch = batch_among_events(log, jnp.array([event]), 13)
        is_other = (user == USER) & (BEGIN[event] != BEGIN)
        token = 100 + np.flatnonzero(is_other)
        padding = np.full(13 - len(token), -1)
        assert_array_equal(batch.request.token[0], np.append(padding, token))


def test_after_the_log_all_baskets_are_history():
    request = request_after_log(LOG, jnp.array([1, 0]), jnp.array([7, 8]), 5)
    token = [[109, 110, 111, 112, 113], [101, 102, 103, 104, 105]]
    assert_array_equal(request.token, token)
    assert steps(request, 0) == [0, 1, 1, 0]
    assert steps(request, 1) == [1, 1, 0, 0]
    assert request.known is None


def window(*targets: int) -> Request:
    batch = batch_of_windows(LOG, jnp.array([targets]))
    assert_array_equal(batch.positive[0], 100 + np.array(targets))
    return on_host(batch.request)


def test_a_window_of_several_users():
    """Each target knows what the first of its basket knows; runs of users keep apart."""
    request = window(*range(15))
    token = [-1, *range(100, 105), -1, *range(106, 113), -1]
    assert_array_equal(request.token, [token])
    assert_array_equal(request.known, [BEGIN])
    assert_array_equal(request.minute, [LOG.minute[BEGIN]])
    assert_array_equal(request.kind, [40 + BEGIN])
    assert_array_equal(request.dwell, [BEGIN / 128])
    assert_array_equal(np.diff(request.segment[0]) != 0, np.diff(USER) != 0)
    #                        0  1  2  3  4 | 6  7  8  9 10 11 12
    tokens_grow = [1, 0, 1, 1, 0, None, 1, 0, 0, 1, 0, 1, 1, None]
    found = steps(request)
    assert all(step >= 0 for step in found)
    assert [
        step if expected is not None else None
        for step, expected in zip(found, tokens_grow, strict=True)
    ] == tokens_grow


def test_a_window_that_begins_between_baskets():
    request = window(9, 10, 11, 12)
    assert_array_equal(request.token, [[108, 109, 110, 111]])
    assert_array_equal(request.known, [[0, 0, 2, 3]])
    assert steps(request) == [1, 0, 1]


def test_a_window_that_begins_within_a_basket():
    """The first target knows what came before its basket; the next token is of that basket."""
    request = window(10, 11, 12, 13)
    assert_array_equal(request.token, [[108, 110, 111, 112]])
    assert_array_equal(request.token_minute, [LOG.minute[np.array([8, 10, 11, 12])]])
    assert_array_equal(request.known, [[0, 1, 2, 2]])
    assert_array_equal(request.minute, [LOG.minute[np.array([9, 11, 12, 12])]])
    assert steps(request) == [1, 1, 1]


def test_a_window_that_begins_within_the_first_basket_of_a_user():
    request = window(7, 8, 9, 10)
    assert_array_equal(request.token, [[-1, 107, 108, 109]])
    assert_array_equal(request.known, [[0, 0, 2, 2]])
    assert steps(request) == [1, 0, 1]


def test_windows_that_begin_within_baskets_side_by_side():
    """What comes before a run in its row is nothing to it: 4 5 of user 0, then 13, then padding."""
    request = window(4, 5, 13, 14)
    assert_array_equal(request.token, [[102, 104, 111, -1]])
    assert_array_equal(request.known, [[0, 0, 2, 3]])
    assert steps(request)[0] == 1
    batch = batch_of_windows(LOG, jnp.array([[4, 5, -1, -1]]))
    assert_array_equal(batch.weight, [[1, 1, 0, 0]])
    assert_array_equal(batch.request.segment[0, 2:], [-1, -1])


@pytest.mark.parametrize("length", [2, 3, 4, 7, 15])
def test_no_target_of_a_packed_row_knows_its_own_basket(length):
    """Against a loop: the tokens up to the place that is known are the run before the basket."""
    targets = pack_windows(START, length)
    request = on_host(batch_of_windows(LOG, jnp.asarray(targets)).request)
    compared = 0
    for row, place in zip(*np.nonzero(targets >= 0), strict=True):
        event = targets[row, place]
        known = request.known[row, place]
        assert request.segment[row, known] == request.segment[row, place]
        in_run = request.segment[row] == request.segment[row, place]
        is_known = in_run & (np.arange(length) <= known)
        events = request.token[row][is_known] - 100
        events = events[events >= 0]
        assert (events < BEGIN[event]).all()
        compared += len(events)
        if len(events):
            assert events[-1] == BEGIN[event] - 1  # the event before the basket
            own = request.basket[row][is_known][-len(events) :]
            assert_array_equal(own - own[-1], BASKET[events] - BASKET[events[-1]])
    assert compared > 8


def test_without_baskets_a_request_is_as_it_was():
    alone = LOG._replace(basket_place=None)
    request = batch_of_windows(alone, jnp.array([[10, 11, 12, 13]])).request
    assert_array_equal(request.token, [[109, 110, 111, 112]])
    assert request.basket is None
    assert request.known is None
    request = batch_of_events(alone, jnp.array([13]), 4).request
    assert_array_equal(request.token, [[109, 110, 111, 112]])
    assert request.minute == LOG.minute[13]


@pytest.mark.parametrize("shape", [(16,), (4, 4)])
def test_every_basket_weighs_one_and_padding_nothing(shape):
    size = np.bincount(BASKET)[BASKET]
    log = LOG._replace(basket_size=jnp.asarray(size, jnp.int32))
    event = np.append(EVENT, -1).reshape(shape)
    if len(shape) == 1:
        batch = batch_of_events(log, jnp.asarray(event), 3)
    else:
        batch = batch_of_windows(log, jnp.asarray(event))
    weight = np.asarray(batch.weight).ravel()
    of_baskets = np.bincount(BASKET, weights=weight[:-1])
    np.testing.assert_allclose(of_baskets[1:], 1, rtol=1e-6)
    assert weight[-1] == 0
