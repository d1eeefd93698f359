"""TIFU-kNN against the formulas of the paper, basket by basket and user by user."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.models.baselines import tifu_knn
from ancf_jax.models.baselines.tifu_knn import TifuKnn, TifuKnnSettings, user_vectors
from ancf_jax.types import Sizes

USERS = 17
ITEMS = 13
SETTINGS = TifuKnnSettings(
    groups=3, within_decay=0.8, group_decay=0.6, neighbours=5, alpha=0.4
)


def model_of(settings: TifuKnnSettings, users: int = USERS) -> TifuKnn:
    return TifuKnn(Sizes(users, ITEMS, 1, (), ()), settings)


@pytest.fixture
def baskets() -> list[list[list[int]]]:
    """Of 17 users with 0 to 12 baskets of distinct items; user 3 has none."""
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 13, USERS)
    counts[3] = 0

    def basket() -> list[int]:
        return rng.choice(ITEMS, rng.integers(1, 6), replace=False).tolist()

    return [[basket() for _ in range(count)] for count in counts]


def vector(own: list[list[int]], settings: TifuKnnSettings) -> np.ndarray:
    """The vector of a user: means over groups of means over baskets."""
    if not own:
        return np.zeros(ITEMS)
    latest_first = [np.isin(np.arange(ITEMS), basket) for basket in own[::-1]]
    size = -(-len(own) // settings.groups)
    groups = [latest_first[n : n + size] for n in range(0, len(own), size)]
    means = []
    for ago, group in enumerate(groups):
        decayed = [settings.within_decay**n * each for n, each in enumerate(group)]
        means.append(settings.group_decay**ago * np.mean(decayed, axis=0))
    return np.mean(means, axis=0)


def reference(
    baskets: list[list[list[int]]], user: int, settings: TifuKnnSettings
) -> np.ndarray:
    """The scores of a user with events."""
    vectors = np.stack([vector(own, settings) for own in baskets])
    distance = np.linalg.norm(vectors - vectors[user], axis=1)
    distance[[user, *(n for n, own in enumerate(baskets) if not own)]] = np.inf
    known = np.flatnonzero(distance < np.inf)
    nearest = known[np.argsort(distance[known])][: settings.neighbours]
    mean = vectors[nearest].mean(axis=0)
    return settings.alpha * vectors[user] + (1 - settings.alpha) * mean


def test_groups_and_baskets_decay_by_hand(log_of):
    settings = TifuKnnSettings(groups=2, within_decay=0.5, group_decay=0.25)
    log = jax.tree.map(jnp.asarray, log_of([[[0], [1], [1, 2]]]))
    found = user_vectors(log, settings)
    # The latest group holds two baskets, the oldest one: each is the half of the whole.
    expected = [0.25 / 2, (1 + 0.5) / 2 / 2, 1 / 2 / 2]
    assert found.item.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.value, expected, rtol=1e-6)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("chunk", [7, 1 << 13])
def test_scores_are_those_of_the_paper(
    baskets, log_of, fitted, scores, monkeypatch, chunk, together
):
    monkeypatch.setattr(tifu_knn, "CHUNK", chunk)
    log = log_of(baskets, together)
    if not together:
        baskets = [[[item] for basket in own for item in basket] for own in baskets]
    model = model_of(SETTINGS)
    users = [16, 0, 5, 1, 2]
    found = scores(model, fitted(model, log), log, users)
    expected = [reference(baskets, user, SETTINGS) for user in users]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_fewer_users_than_neighbours_all_count(baskets, log_of, fitted, scores):
    settings = replace(SETTINGS, neighbours=300)
    log = log_of(baskets)
    model = model_of(settings)
    found = scores(model, fitted(model, log), log, [7])
    vectors = [vector(own, settings) for own in baskets]
    others = (np.sum(vectors, axis=0) - vectors[7]) / (USERS - 2)
    expected = 0.4 * vectors[7] + 0.6 * others
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-6)


def test_the_nearest_is_never_the_user(log_of, fitted, scores):
    settings = replace(SETTINGS, neighbours=1, alpha=0.0)
    log = log_of([[[1, 2]], [[1, 2, 3]], [[4, 5, 6, 7]]])
    model = model_of(settings, users=3)
    found = scores(model, fitted(model, log), log, [0, 1, 2])
    is_of_nearest = [np.isin(np.arange(ITEMS), x) for x in ([1, 2, 3], [1, 2], [1, 2])]
    np.testing.assert_array_equal(found > 0, is_of_nearest)


def test_who_has_no_events_gets_what_is_popular(baskets, log_of, fitted, scores):
    log = log_of(baskets)
    model = model_of(SETTINGS)
    found = scores(model, fitted(model, log), log, [3, -1])
    share = np.bincount(log.item, minlength=ITEMS) / (len(log.item) + 1)
    np.testing.assert_allclose(found, [share, share], rtol=1e-6)


def test_new_events_count_without_a_new_fit(baskets, log_of, fitted, scores):
    log = log_of(baskets)
    model = model_of(SETTINGS)
    variables = fitted(model, log)
    longer = [*baskets[:3], [[9, 4]], *baskets[4:-1], [*baskets[-1], [0, 8]]]
    found = scores(model, variables, log_of(longer), [3, 16])
    expected = [reference(longer, user, SETTINGS) for user in (3, 16)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    shapes = jax.tree.map(np.shape, variables)
    assert shapes == {"params": {"count": (ITEMS,)}, "batch_stats": {}}
