"""Popularity, most bought, and what all baselines have in common."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.models.baselines.counting import MostBought, Popularity
from ancf_jax.models.baselines.shared import SLOTS
from ancf_jax.models.registry import build, default_config, names, registered
from ancf_jax.types import Catalogue, EventLog, Request, Sizes

USERS = 7
ITEMS = 11
BASELINES = [name for name in names() if registered(name).fitted]


def log_of(histories: list[list[int]], items: int) -> EventLog:
    """A log of the items of each user, oldest first."""
    user = np.repeat(np.arange(len(histories)), [len(h) for h in histories]).astype(
        np.int32
    )
    item = np.concatenate(histories).astype(np.int32)
    start = np.cumsum([0, *(len(h) for h in histories)]).astype(np.int32)
    seen = [sorted(set(h)) for h in histories]
    zero, flat = np.zeros(len(item), np.float32), np.zeros(len(item), np.int32)
    seen_start = np.cumsum([0, *(len(s) for s in seen)]).astype(np.int32)
    seen_item = np.concatenate(seen).astype(np.int32)
    return EventLog(
        user,
        item,
        flat,
        zero + 1,
        flat,
        zero,
        flat,
        zero,
        start,
        seen_item,
        seen_start,
        np.arange(len(seen_start) - 1),
    )


def catalogue_of(log: EventLog, items: int) -> Catalogue:
    return Catalogue({}, {}, np.bincount(log.item, minlength=items).astype(np.float32))


def random_histories(seed: int) -> list[list[int]]:
    """Histories with repeats: user 0 has none, user 1 has more than one round of slots."""
    rng = np.random.default_rng(seed)
    lengths = [0, 2 * SLOTS + 3, *rng.integers(1, 9, USERS - 2)]
    return [
        rng.integers(0, ITEMS - 1, n).tolist() for n in lengths
    ]  # the last item is never bought


@functools.partial(jax.jit, static_argnums=0)
def compiled_scores(model, variables, log: EventLog, user, items):
    catalogue = Catalogue({}, {}, jnp.zeros(ITEMS))
    flat, row = jnp.zeros(len(user), jnp.int32), jnp.full((len(user), 1), -1)
    request = Request(user, flat, flat, flat.astype(jnp.float32), row, row, row == -1)
    users = model.encode_users(variables, log, catalogue, request)
    return model.score(
        variables, users, model.encode_items(variables, catalogue, items)
    )


def scores(model, variables, log: EventLog, user: list[int], items) -> np.ndarray:
    """Scores by the compiled path, with the log on the device."""
    log = jax.tree.map(jnp.asarray, log)
    return np.asarray(
        compiled_scores(model, variables, log, jnp.asarray(user), jnp.asarray(items))
    )


def fitted(name: str, log: EventLog):
    model = build(default_config(name), Sizes(USERS, ITEMS, 1, (), ()), clock=True)
    return model, model.fit(log, catalogue_of(log, ITEMS), 3)


def test_popularity_counts_events_for_everyone():
    log = log_of([[2, 2, 5], [5, 5], [0]], 7)
    model = Popularity(Sizes(3, 7, 1, (), ()))
    variables = model.fit(log, catalogue_of(log, 7), 0)
    found = scores(model, variables, log, [1, -1], [5, 2, 0, 6])
    np.testing.assert_array_equal(found, [[3, 2, 1, 0]] * 2)


def test_most_bought_counts_the_log_at_hand_and_breaks_ties_by_popularity():
    log = log_of([[2, 2, 5], [5, 5], [0]], 7)
    model = MostBought(Sizes(3, 7, 1, (), ()))
    variables = model.fit(log, catalogue_of(log, 7), 0)
    later = log_of([[2, 2, 5, 0, 0, 0], [5, 5], [0]], 7)
    found = scores(model, variables, later, [0, 1, -1], [0, 2, 5, 6])
    share = np.array([1, 2, 3, 0]) / 7  # of the events at the time of the fit, plus 1
    np.testing.assert_allclose(
        found, np.array([[3, 2, 1, 0], [0, 0, 2, 0], [0, 0, 0, 0]]) + share, rtol=1e-6
    )


def test_most_bought_reads_long_histories_whole():
    histories = random_histories(0)
    log = log_of(histories, ITEMS)
    model, variables = fitted("most_bought", log)
    found = scores(model, variables, log, list(range(USERS)), np.arange(ITEMS))
    counts = np.stack(
        [np.bincount(np.array(h, int), minlength=ITEMS) for h in histories]
    )
    np.testing.assert_array_equal(np.floor(found), counts)


@pytest.mark.parametrize("name", BASELINES)
def test_candidates_of_one_user_or_of_all_score_alike(name):
    log = log_of(random_histories(0), ITEMS)
    model, variables = fitted(name, log)
    users = [4, 0, -1, 1, 6]
    whole = scores(model, variables, log, users, np.arange(ITEMS))
    assert whole.shape == (5, ITEMS)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    own = np.random.default_rng(2).integers(0, ITEMS, (5, 3))
    np.testing.assert_allclose(
        scores(model, variables, log, users, own),
        np.take_along_axis(whole, own, axis=1),
        rtol=1e-5,
        atol=1e-6,
    )
    np.testing.assert_allclose(
        scores(model, variables, log, users, [7, 2]),
        whole[:, [7, 2]],
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("name", BASELINES)
def test_a_batch_scores_as_its_users_do_alone(name):
    log = log_of(random_histories(0), ITEMS)
    model, variables = fitted(name, log)
    batch = scores(model, variables, log, list(range(USERS)), np.arange(ITEMS))
    alone = [
        scores(model, variables, log, [user], np.arange(ITEMS))[0]
        for user in range(USERS)
    ]
    np.testing.assert_allclose(batch, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["ease", "ials", "most_bought", "recency_frequency", "follows"]
)
def test_events_after_the_fit_change_the_scores_of_their_user_alone(name):
    histories = random_histories(0)
    log = log_of(histories, ITEMS)
    model, variables = fitted(name, log)
    histories[3] = [*histories[3], *range(5)]
    before = scores(model, variables, log, list(range(USERS)), np.arange(ITEMS))
    after = scores(
        model, variables, log_of(histories, ITEMS), list(range(USERS)), np.arange(ITEMS)
    )
    changed = np.abs(before - after).max(axis=1) > 1e-5
    assert changed.tolist() == [user == 3 for user in range(USERS)]


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_variables(name):
    log = log_of(random_histories(0), ITEMS)
    first, second = fitted(name, log)[1], fitted(name, log)[1]
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(first))


@pytest.mark.parametrize("name", BASELINES)
def test_shapes_are_those_of_the_fitted_variables(name):
    model, variables = fitted(name, log_of(random_histories(0), ITEMS))
    found = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables)
    assert found == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), model.shapes())
    assert set(variables) == {"params", "batch_stats"}
