"""The prior of `ancf`: popularity, what was had before and what follows, against their formulas by hand."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.histories import batch_of_windows, query_after_log
from ancf_jax.data.tendencies import count_followers, count_repeats, lifts
from ancf_jax.models.prior import FIRM, LATEST, SWIFT
from ancf_jax.types import Query

ITEMS = np.arange(23, dtype=np.int32)
LENGTH = 5


def test_counts_of_repeats_never_tell_what_came_later(case):
    """Counts hold all events of the window; the same past scores alike before other ends, counted as well."""
    one = case(history="causal")
    levels = [
        *(np.asarray(ids)[:, 0] for ids in one.catalogue.item_features.values()),
        ITEMS,
    ]
    others = np.random.default_rng(7).integers(20, 60, one.catalogue.similar.shape)
    query = batch_of_windows(
        one.log, np.arange(LENGTH)[None] + int(one.log.start[7])
    ).query
    found = []
    for end in ([5, 7], [11, 11]):  # of windows that begin with 5 11
        token = np.array([-1, 5, 11, *end], np.int32)
        again = np.array([item in token[:place] for place, item in enumerate(token)])
        own = count_repeats(levels, token[1:], again[1:])
        catalogue = one.catalogue._replace(similar=(others + own).astype(np.float32))
        found.append(
            one.scores(
                query._replace(token=jnp.asarray(token)[None]), catalogue=catalogue
            )[0, :3]
        )
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4)


def firm(
    events: np.ndarray, repeats: np.ndarray, rate: np.ndarray | float
) -> np.ndarray:
    return (np.maximum(repeats, 0) + FIRM * rate) / (np.maximum(events, 0) + FIRM)


def rates_of_others(
    similar: np.ndarray, levels: list[np.ndarray], had: list[int], share: float
) -> np.ndarray:
    """How often events of each item [I] repeat one, by what shares its levels, without those of `had`."""
    again = np.array([item in had[:place] for place, item in enumerate(had)])
    rate: np.ndarray | float = share
    for level, value in enumerate([*levels, np.arange(len(similar))], -1 - len(levels)):
        own = value[had][None, :] == value[:, None]
        rate = firm(
            similar[:, level, 0] - own.sum(1),
            similar[:, level, 1] - (own & again).sum(1),
            rate,
        )
    return np.asarray(rate)


@pytest.mark.parametrize(
    ("history", "hierarchy"), [("causal", True), ("candidate", True), ("causal", False)]
)
def test_what_was_had_weighs_by_how_often_and_how_long_ago(case, history, hierarchy):
    """log of share + sum of amounts, and the factors; an item had twice adds both amounts; others gain nothing.

    Amounts grow with habits: how likely events of the user, of others with the item, and with such items, are to
    repeat one, and with the number of events.
    """
    one = case(history=history, hierarchy=hierarchy)
    silent = case(history=history, hierarchy=hierarchy, repeats=False)
    user, minute, p = jnp.array([7]), 28_400_000, one.variables["params"]["prior"]
    query = query_after_log(one.log, user, jnp.array([minute], jnp.int32), LENGTH)
    query = query._replace(token=query.token.at[0, -1].set(query.token[0, -2]))
    rng = np.random.default_rng(3)
    levels = [np.asarray(ids)[:, 0] for ids in one.catalogue.item_features.values()]
    similar = np.sort(rng.integers(3, 60, (len(ITEMS), 1 + len(levels), 2)) * 1.0)[
        ..., ::-1
    ]
    for level, value in enumerate(levels):
        similar[value < 0, level] = 0
    popularity, (events, repeated) = similar[:, -1, 0], similar[:, -1].sum(0)
    known = one.catalogue._replace(
        popularity=popularity, events=events, repeated=repeated, similar=similar
    )
    had = [int(item) for item in query.token[0] if item >= 0]
    usual = (1 + repeated) / (1 + events)
    of_item = rates_of_others(similar, levels if hierarchy else [], had, usual) / usual
    of_user = (
        firm(np.float64(len(had)), np.float64(len(had) - len(set(had))), usual) / usual
    )
    habit = of_item ** (SWIFT * p["habit"][0]) * of_user ** (SWIFT * p["habit"][1])
    habit *= (1 + len(had) / FIRM) ** (SWIFT * p["much"][0])
    params = one.variables["params"] | {"prior": {"popular": p["popular"]}}
    weighed = one.scores(query, None, known) - silent.scores(
        query, one.variables | {"params": params}, known
    )
    share = (1 + popularity) / (1 + events)
    before = after = share ** p["popular"][0]
    factors = np.zeros(len(ITEMS))
    for back in range(LENGTH):
        gap, item = (
            int(np.log2(1 + minute - int(query.token_minute[0, -1 - back]))),
            int(query.token[0, -1 - back]),
        )
        if item >= 0:
            factor, amount = (
                SWIFT * (p[f"{what}_distance"][back] + p[f"{what}_gap"][min(gap, 19)])
                for what in ("factor", "amount")
            )
            factors[item] += factor
            after = after + np.exp(amount) * habit * (np.arange(len(ITEMS)) == item)
    assert np.count_nonzero(factors) > 1
    assert np.ptp(of_item) > 0.01
    np.testing.assert_allclose(
        weighed[0], factors + np.log(after / before), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("repeats", [True, False])
def test_what_follows_the_latest_events_weighs_by_itself(case, repeats):
    """log(1 + sum of lifts after the latest three events, each with its weight), for their followers alone."""
    one, silent = (
        case(history="causal", repeats=repeats, followers=most) for most in (3, 0)
    )
    query = one.now()
    same = (query.token[:, :, None] == query.token[:, None, :]).astype(jnp.float32)
    follower, lift = (np.asarray(x) for x in lifts(one.catalogue, query, same))
    prior = one.variables["params"]["prior"]
    weight = np.exp(SWIFT * prior["follow"])
    total = np.zeros((4, len(ITEMS) + 1))
    for back in range(LATEST):
        for user in np.flatnonzero(query.token[:, -1 - back] >= 0):
            np.add.at(
                total[user],
                follower[user, -1 - back],
                weight[back] * lift[user, -1 - back],
            )
    params = one.variables["params"] | {
        "prior": {name: leaf for name, leaf in prior.items() if name != "follow"}
    }
    found = one.scores(query) - silent.scores(query, one.variables | {"params": params})
    assert np.count_nonzero(total[:3, :-1]) > 6
    assert total[3].sum() == 0  # nobody known has no events
    np.testing.assert_allclose(found, np.log1p(total[:, :-1]), rtol=1e-3, atol=1e-4)


def test_in_training_followers_never_tell_what_came(case):
    """A user's own pairs are left out, and at the end of a window, where they cannot be, nothing follows."""
    one = case(history="causal", followers=3)
    follower, times = count_followers(np.full(4, 7), np.arange(4), len(ITEMS), 3)
    alone, others = (
        one.catalogue._replace(follower=follower, times=n * times) for n in (1, 2)
    )  # others did as much
    token, zero = (
        jnp.array([[-1, 0, 1, 2, 3]], jnp.int32),
        jnp.zeros((1, LENGTH), jnp.int32),
    )
    query = Query(zero + 7, zero, zero, zero.astype(jnp.float32), token, zero, zero)
    encode = partial(one.model.module.apply, one.variables, method="encode_users")
    found, told = (
        np.asarray(encode(known, query)["again"])[0, :, LENGTH:]
        for known in (alone, others)
    )
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
    assert "follow" not in one.variables["params"]["prior"]
