"""`ancf` on baskets: a score knows nothing of its own basket, in training as in serving."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.batching.histories import (
    batch_of_events,
    batch_of_windows,
    request_after_log,
)
from ancf_jax.batching.windows import pack_windows
from ancf_jax.data import TRAIN
from ancf_jax.types import Catalogue, EventLog, Request

LONG = 12  # more than any shopper's events before the last two visits
SHORT = 3  # windows begin within baskets
WINDOWED = [
    {"history": "causal", "layers": 2, "followers": 3},
    {"history": "causal", "layers": 2, "temporal": ()},
]


def of_a_crowd(catalogue: Catalogue) -> Catalogue:
    """The counts of a million such shops, from which one shopper's own are as good as nothing."""
    many = 1e6
    return catalogue._replace(
        popularity=many * catalogue.popularity,
        total_events=many * catalogue.total_events,
        total_repeats=many * catalogue.total_repeats,
        repeat_counts=many * catalogue.repeat_counts,
        follower_weight=many * catalogue.follower_weight,
    )


def begin_of_basket(log: EventLog) -> np.ndarray:
    return np.arange(len(log.item)) - np.asarray(log.basket_place)


def end_of_basket(log: EventLog) -> np.ndarray:
    begin = begin_of_basket(log)
    return np.searchsorted(begin, begin, side="right")


def spoiled(log: EventLog, hidden: np.ndarray) -> EventLog:
    """The log with other items, kinds and dwells in the events that are hidden."""
    return log._replace(
        item=jnp.where(hidden, (log.item + 5) % 22, log.item),
        kind=jnp.where(hidden, 7, log.kind),
        mean_dwell=jnp.where(hidden, 9.0, log.mean_dwell),
    )


def baskets_of_several(log: EventLog) -> list[np.ndarray]:
    """Which events each basket of more than one event holds."""
    begin = begin_of_basket(log)
    distinct, counts = np.unique(begin, return_counts=True)
    return [begin == first for first in distinct[counts > 1]]


def windows(log: EventLog, targets: np.ndarray) -> Request:
    return jax.jit(batch_of_windows)(log, targets).request


def requests_before_baskets(log: EventLog, event: np.ndarray, length: int) -> Request:
    """What is known after a log that ends before the basket of each event."""
    numbers = jnp.arange(len(log.item))

    @jax.jit
    @jax.vmap
    def before(begin):
        cut = spoiled(log, numbers >= begin)
        cut = cut._replace(start=jnp.minimum(log.start, begin))
        user = log.user[begin][None]
        minute = log.minute[begin][None]
        return request_after_log(cut, user, minute, length)

    requests = before(begin_of_basket(log)[event])
    return jax.tree.map(lambda column: column[:, 0], requests)


def whole(request: Request, targets: np.ndarray) -> np.ndarray:
    """Which targets have all that their user did before in the row: bool [R, L]."""
    segment = np.asarray(request.segment)
    token = np.asarray(request.token)
    begin = np.array([np.searchsorted(row[row >= 0], row) for row in segment])
    begins_with_nothing = np.take_along_axis(token, begin, axis=1) < 0
    return begins_with_nothing & (targets >= 0)


def is_in_last_basket(log: EventLog, targets: np.ndarray) -> np.ndarray:
    """Which targets are in one basket with the last of their run in the row."""
    end = end_of_basket(log)[targets]
    following = np.concatenate([targets[:, 1:], np.full((len(targets), 1), -2)], axis=1)
    user = np.asarray(log.user)
    goes_on = (following == targets + 1) & (user[following] == user[targets])
    last = np.where(goes_on, -1, targets)
    for place in range(targets.shape[1] - 2, -1, -1):
        last[:, place] = np.where(
            goes_on[:, place], last[:, place + 1], targets[:, place]
        )
    return end > last


@pytest.mark.parametrize("switches", WINDOWED)
def test_a_window_scores_as_a_log_does_that_ends_before_the_basket(
    case_of_baskets, switches
):
    one = case_of_baskets(history_length=LONG, **switches)
    targets = pack_windows(np.asarray(one.log.start), LONG)
    request = windows(one.log, targets)
    compared = whole(request, targets)
    if switches.get("followers"):
        compared &= ~is_in_last_basket(one.log, targets)
    catalogue = of_a_crowd(one.catalogue)
    found = one.scores(request, catalogue=catalogue)[compared]
    event = targets[compared]
    alone = requests_before_baskets(one.log, event, LONG)
    expected = one.scores(alone, catalogue=catalogue)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    place = np.asarray(one.log.basket_place)[event]
    assert (place > 0).sum() > 15
    assert (place == 0).sum() > 15


@pytest.mark.parametrize("switches", WINDOWED)
@pytest.mark.parametrize("length", [LONG, SHORT])
def test_nothing_of_its_own_basket_is_in_a_window(case_of_baskets, switches, length):
    """Also where the window begins within the basket; what comes later does change."""
    one = case_of_baskets(history_length=length, **switches)
    targets = pack_windows(np.asarray(one.log.start), length)
    catalogue = of_a_crowd(one.catalogue)
    found = one.scores(windows(one.log, targets), catalogue=catalogue)
    user = np.asarray(one.log.user)
    moved = 0
    for hidden in baskets_of_several(one.log):
        log = spoiled(one.log, hidden)
        scores = one.scores(windows(log, targets), catalogue=catalogue)
        end = np.flatnonzero(hidden)[-1]
        is_later = (targets > end) & (user[targets] == user[end])
        unchanged = (targets >= 0) & ~is_later
        np.testing.assert_allclose(
            scores[unchanged], found[unchanged], rtol=1e-4, atol=1e-4
        )
        moved += (np.abs(scores - found).max(-1)[is_later] > 1e-3).sum()
    assert moved > 10


def test_nothing_of_its_own_basket_is_in_an_event_alone(case_of_baskets):
    one = case_of_baskets(history="candidate", history_length=LONG)
    events = np.arange(len(one.log.item), dtype=np.int32)
    gather = jax.jit(batch_of_events, static_argnums=2)
    request = gather(one.log, events, LONG).request
    found = one.scores(request)
    alone = requests_before_baskets(one.log, events, LONG)
    jax.tree.map(np.testing.assert_array_equal, request, alone)
    moved = 0
    for hidden in baskets_of_several(one.log):
        other = gather(spoiled(one.log, hidden), events, LONG).request
        scores = one.scores(other)
        np.testing.assert_array_equal(scores[hidden], found[hidden])
        moved += (np.abs(scores - found).max(-1) > 1e-3).sum()
    assert moved > 10


def alike_and_new(catalogue: Catalogue, item: int, taken: np.ndarray) -> int | None:
    """Another item with the same features that is not among those taken."""
    features = np.concatenate(list(catalogue.item_features.values()), axis=1)
    alike = np.flatnonzero((features == features[item]).all(1))
    new = np.setdiff1d(alike, taken)
    return int(new[0]) if len(new) else None


def test_counts_do_not_tell_what_a_basket_holds(case_of_baskets):
    """One item of a basket becomes another, in all counts but popularity, too: no score moves.

    What a shopper's own events added to the counts is left out of them; where it could not be, in
    the last basket of a window, followers are silent.
    """
    one = case_of_baskets(history="causal", history_length=LONG, followers=22)
    targets = pack_windows(np.asarray(one.log.start), LONG)
    request = windows(one.log, targets)
    found = one.scores(request)
    is_whole = whole(request, targets)
    begin = begin_of_basket(one.log)
    user = np.asarray(one.log.user)
    item = np.asarray(one.log.item)
    of_log = np.flatnonzero(one.dataset.part == TRAIN)
    changed = 0
    for event in range(len(item)):
        taken = item[user == user[event]]
        other = alike_and_new(one.catalogue, item[event], taken)
        if (taken == item[event]).sum() > 1 or other is None:
            continue
        interactions = one.dataset.interactions
        items = interactions.item.copy()
        items[of_log[event]] = other
        interactions = dataclasses.replace(interactions, item=items)
        dataset = dataclasses.replace(one.dataset, interactions=interactions)
        counts = data.catalogue(dataset, followers=22)
        catalogue = counts._replace(popularity=one.catalogue.popularity)
        log = one.log._replace(item=one.log.item.at[event].set(other))
        scores = one.scores(windows(log, targets), catalogue=catalogue)
        compared = is_whole & (begin[targets] == begin[event])
        np.testing.assert_allclose(
            scores[compared], found[compared], rtol=1e-4, atol=1e-4
        )
        changed += compared.sum()
    assert changed > 20
