"""The prior of `ancf`: popularity, repeats and followers, against their formulas by hand."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.batching.histories import batch_of_windows, request_after_log
from ancf_jax.data.counts import count_followers, count_repeats
from ancf_jax.models.ancf.context import scope_of
from ancf_jax.models.ancf.followers import LATEST, lifts
from ancf_jax.models.ancf.history import counted_history
from ancf_jax.models.ancf.repeats import PSEUDO_EVENTS
from ancf_jax.types import Request

ITEMS = np.arange(23, dtype=np.int32)
LENGTH = 5


def levels_of(catalogue) -> list[np.ndarray]:
    """The main value of each level for every item."""
    return [np.asarray(ids)[:, 0] for ids in catalogue.item_features.values()]


def without(variables, *parts: str):
    """The variables, with some parts of the prior left out."""
    prior = dict(variables["params"]["prior"])
    for part in parts:
        prior.pop(part)
    return variables | {"params": variables["params"] | {"prior": prior}}


def test_counts_of_repeats_never_tell_what_came_later(case):
    """Counts hold all events of the window; the same past scores alike before other ends."""
    one = case(history="causal")
    levels = [*levels_of(one.catalogue), ITEMS]
    shape = one.catalogue.repeat_counts.shape
    others = np.random.default_rng(7).integers(20, 60, shape)
    begin = int(one.log.start[7])
    request = batch_of_windows(one.log, np.arange(LENGTH)[None] + begin).request
    found = []
    for end in ([5, 7], [11, 11]):  # of windows that begin with 5 11
        token = np.array([-1, 5, 11, *end], np.int32)
        is_repeat = np.array(
            [item in token[:place] for place, item in enumerate(token)]
        )
        own = count_repeats(levels, token[1:], is_repeat[1:])
        counts = (others + own).astype(np.float32)
        catalogue = one.catalogue._replace(repeat_counts=counts)
        window = request._replace(token=jnp.asarray(token)[None])
        found.append(one.scores(window, catalogue=catalogue)[0, :3])
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4)


def smoothed(events: np.ndarray, repeats: np.ndarray, rate: np.ndarray | float):
    """The share of repeats, drawn towards `rate`."""
    repeats = np.maximum(repeats, 0) + PSEUDO_EVENTS * rate
    return repeats / (np.maximum(events, 0) + PSEUDO_EVENTS)


def rates_of_others(
    counts: np.ndarray, levels: list[np.ndarray], history: list[int], average: float
) -> np.ndarray:
    """How often others repeat each item [I], by what shares its levels, less `history`."""
    is_repeat = np.array(
        [item in history[:place] for place, item in enumerate(history)]
    )
    rate: np.ndarray | float = average
    for level, value in enumerate([*levels, np.arange(len(counts))], -1 - len(levels)):
        own = value[history][None, :] == value[:, None]
        events = counts[:, level, 0] - own.sum(1)
        repeats = counts[:, level, 1] - (own & is_repeat).sum(1)
        rate = smoothed(events, repeats, rate)
    return np.asarray(rate)


def drawn_counts(levels: list[np.ndarray]) -> np.ndarray:
    """Events and fewer repeats of every item and level: [I, levels + 1, 2]."""
    rng = np.random.default_rng(3)
    drawn = rng.integers(3, 60, (len(ITEMS), 1 + len(levels), 2)) * 1.0
    counts = np.sort(drawn)[..., ::-1]
    for level, value in enumerate(levels):
        counts[value < 0, level] = 0
    return counts


@pytest.mark.parametrize(
    ("history", "hierarchy"), [("causal", True), ("candidate", True), ("causal", False)]
)
def test_repeats_weigh_by_how_often_and_how_long_ago(case, history, hierarchy):
    """factors + log(share + habit * sum of amounts) - log(share); an item twice adds both.

    The habit is that of the user and of the item, as powers, and of the number of events.
    """
    one = case(history=history, hierarchy=hierarchy)
    silent = case(history=history, hierarchy=hierarchy, repeats=False)
    prior = one.variables["params"]["prior"]
    p = prior["repeats"]
    minute = 28_400_000
    moment = jnp.array([minute], jnp.int32)
    request = request_after_log(one.log, jnp.array([7]), moment, LENGTH)
    token = request.token.at[0, -1].set(request.token[0, -2])
    request = request._replace(token=token)
    levels = levels_of(one.catalogue)
    counts = drawn_counts(levels)
    popularity = counts[:, -1, 0]
    events, repeats = counts[:, -1].sum(0)
    known = one.catalogue._replace(
        popularity=popularity,
        total_events=events,
        total_repeats=repeats,
        repeat_counts=counts,
    )
    taken = [int(item) for item in token[0] if item >= 0]
    average = (1 + repeats) / (1 + events)
    rates = rates_of_others(counts, levels if hierarchy else [], taken, average)
    own = smoothed(
        np.float64(len(taken)), np.float64(len(taken) - len(set(taken))), average
    )
    habit = (rates / average) ** p["item_habit"] * (own / average) ** p["user_habit"]
    habit *= (1 + len(taken) / PSEUDO_EVENTS) ** p["activity"]
    with_repeats = one.scores(request, None, known)
    alone = silent.scores(request, without(one.variables, "repeats"), known)
    share = ((1 + popularity) / (1 + events)) ** prior["popularity"]["power"]
    factors = np.zeros(len(ITEMS))
    amounts = np.zeros(len(ITEMS))
    for back in range(LENGTH):
        item = int(token[0, -1 - back])
        gap = int(np.log2(1 + minute - int(request.token_minute[0, -1 - back])))
        if item >= 0:
            factors[item] += by_age(p["factor"], back, gap)
            amounts[item] += np.exp(by_age(p["amount"], back, gap))
    assert np.count_nonzero(factors) > 1
    assert np.ptp(rates) > 0.01
    expected = factors + np.log1p(habit * amounts / share)
    np.testing.assert_allclose(
        (with_repeats - alone)[0], expected, rtol=1e-3, atol=1e-3
    )


def by_age(weights, back: int, gap: int) -> float:
    """The figure of an event so many events ago, in this bucket of time."""
    return weights["by_distance"][back] + weights["by_gap"][min(gap, 19)]


@pytest.mark.parametrize("repeats", [True, False])
def test_what_follows_the_latest_events_weighs_by_itself(case, repeats):
    """log(1 + sum of weighted lifts after the latest three events), for their followers."""
    one = case(history="causal", repeats=repeats, followers=3)
    silent = case(history="causal", repeats=repeats, followers=0)
    request = one.now()
    history = counted_history(request, scope_of(request, clock=True))
    follower, lift = (np.asarray(x) for x in lifts(one.catalogue, history))
    weight = np.exp(one.variables["params"]["prior"]["followers"]["follow"])
    total = np.zeros((4, len(ITEMS) + 1))
    for back in range(LATEST):
        for user in np.flatnonzero(request.token[:, -1 - back] >= 0):
            lifted = weight[back] * lift[user, -1 - back]
            np.add.at(total[user], follower[user, -1 - back], lifted)
    alone = silent.scores(request, without(one.variables, "followers"))
    assert np.count_nonzero(total[:3, :-1]) > 6
    assert total[3].sum() == 0  # nobody known has no events
    expected = np.log1p(total[:, :-1])
    np.testing.assert_allclose(
        one.scores(request) - alone, expected, rtol=1e-3, atol=1e-4
    )


def test_in_training_followers_never_tell_what_came(case):
    """A user's own pairs are left out; at the end of a window, where they can't be, all are."""
    one = case(history="causal", followers=3)
    follower, weight = count_followers(np.full(4, 7), np.arange(4), len(ITEMS), 3)
    alone = one.catalogue._replace(follower=follower, follower_weight=weight)
    others = alone._replace(follower_weight=2 * weight)  # others did as much
    token = jnp.array([[-1, 0, 1, 2, 3]], jnp.int32)
    zero = jnp.zeros((1, LENGTH), jnp.int32)
    request = Request(zero + 7, zero, zero, zero.astype(jnp.float32), token, zero, zero)
    encode = partial(one.model.module.apply, one.variables, method="encode_users")
    found = np.asarray(encode(alone, request).boost.amount)[0, :, LENGTH:]
    told = np.asarray(encode(others, request).boost.amount)[0, :, LENGTH:]
    np.testing.assert_allclose(found, 0, atol=1e-6)
    assert (told[1:4] > 1e-3).any(1).all()
    assert (told[[0, 4]] == 0).all()


@pytest.mark.parametrize(
    "switches",
    [
        {"history": "none"},
        {"history": "candidate"},
        {"loss": "gbce", "history": "causal"},
    ],
)
def test_followers_are_for_windows_under_softmax(case, switches):
    one = case(followers=3, **switches)
    assert one.model.followers == 0
    assert "followers" not in one.variables["params"]["prior"]
