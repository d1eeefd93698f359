"""Recency-weighted frequency against a count by hand and a loop."""

from __future__ import annotations

import numpy as np
import pytest

from ancf_jax.config import override, validate
from ancf_jax.errors import UserError
from ancf_jax.models.baselines.recency import RecencyFrequency
from ancf_jax.models.baselines.shared import SLOTS
from ancf_jax.models.registry import default_config
from ancf_jax.types import Sizes

ITEMS = 11


def model_of(users: int, items: int, decay: float, weight: float) -> RecencyFrequency:
    return RecencyFrequency(Sizes(users, items, 1, (), ()), decay, weight)


def random_baskets() -> list[list[list[int]]]:
    """Of 5 users; user 0 has none, user 1 more events than one round of slots."""
    rng = np.random.default_rng(0)
    counts = [0, SLOTS, 1, 7, 3]
    sizes = [rng.integers(1, 5, count) for count in counts]
    baskets = [[rng.integers(0, ITEMS, n).tolist() for n in own] for own in sizes]
    assert sizes[1].sum() > 2 * SLOTS
    return baskets


def reference(own: list[list[int]], decay: float) -> np.ndarray:
    """The decayed counts of one user, basket by basket."""
    counts = np.zeros(ITEMS)
    for basket in own:
        counts *= decay
        np.add.at(counts, basket, 1)
    return counts


def test_a_basket_decays_once_for_every_later_one(log_of, fitted, scores):
    log = log_of([[[2, 3], [2], [5, 4, 4]], [[0]]])
    model = model_of(2, 7, 0.5, 0.1)
    found = scores(model, fitted(model, log), log, [0, 1, -1])
    share = np.array([1, 0, 2, 1, 2, 1, 0]) / 8  # of 7 events, plus 1
    by_user = [[0, 0, 0.25 + 0.5, 0.25, 2, 1, 0], [1, 0, 0, 0, 0, 0, 0], [0] * 7]
    np.testing.assert_allclose(found, 0.1 * np.array(by_user) + share, rtol=1e-6)


def test_events_that_stand_alone_are_baskets_of_their_own(log_of, fitted, scores):
    log = log_of([[[2, 3], [2]]], together=False)
    model = model_of(1, 5, 0.5, 1.0)
    found = scores(model, fitted(model, log), log, [0])
    share = np.array([0, 0, 2, 1, 0]) / 4
    np.testing.assert_allclose(found, [np.array([0, 0, 1.25, 0.5, 0]) + share])


@pytest.mark.parametrize("decay", [0.9, 1.0])
def test_long_histories_are_read_whole(log_of, fitted, scores, decay):
    baskets = random_baskets()
    log = log_of(baskets)
    model = model_of(5, ITEMS, decay, 1.0)
    found = scores(model, fitted(model, log), log, [4, 1, 0, 3, -1, 2])
    share = np.bincount(log.item, minlength=ITEMS) / (len(log.item) + 1)
    expected = [reference(baskets[user], decay) for user in (4, 1, 0, 3)]
    expected += [np.zeros(ITEMS), reference(baskets[2], decay)]
    np.testing.assert_allclose(found, np.stack(expected) + share, rtol=1e-5)


def test_new_events_count_and_age_the_others(log_of, fitted, scores):
    baskets = random_baskets()
    model = model_of(5, ITEMS, 0.7, 1.0)
    before = log_of(baskets)
    variables = fitted(model, before)
    baskets[3] = [*baskets[3], [7, 1]]
    users = list(range(5))
    later = scores(model, variables, log_of(baskets), users)
    change = later - scores(model, variables, before, users)
    without = reference(baskets[3][:-1], 0.7)
    expected = np.zeros((5, ITEMS))
    expected[3] = reference(baskets[3], 0.7) - without
    np.testing.assert_allclose(change, expected, atol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 1.5])
def test_a_decay_that_is_none_is_refused(decay):
    config = override(default_config("recency_frequency"), {"network.decay": decay})
    with pytest.raises(
        UserError, match=rf"decay is {decay}, expected above 0 and at most 1$"
    ):
        validate(config)
