"""What follows the latest events, against loops over the pairs."""

from __future__ import annotations

import numpy as np
import pytest

from ancf_jax.models.baselines.follows import Follows
from ancf_jax.types import Sizes

ITEMS = 13
WEIGHTS = (0.8, 0.3, 0.5)


def model_of(followers: int) -> Follows:
    return Follows(Sizes(5, ITEMS, 1, (), ()), followers, WEIGHTS)


@pytest.fixture
def histories() -> list[list[int]]:
    """Of 5 users: none, one event, and more."""
    rng = np.random.default_rng(3)
    return [rng.integers(0, ITEMS - 1, n).tolist() for n in (0, 1, 17, 2, 11)]


@pytest.fixture
def log(log_of, histories):
    return log_of([[[item] for item in history] for history in histories])


def reference(
    histories: list[list[int]], latest: list[int], followers: int
) -> np.ndarray:
    """The scores after the latest events of a user, the latest first."""
    after = np.zeros((ITEMS, ITEMS))
    for history in histories:
        for place, item in enumerate(history):
            for distance, later in enumerate(history[place + 1 : place + 6]):
                after[item, later] += 0.7**distance * (later != item)
    rank = np.argsort(np.argsort(-after, axis=1, kind="stable"), axis=1)
    after[rank >= followers] = 0
    events = np.bincount(np.concatenate(histories).astype(int), minlength=ITEMS)
    share = (events + 1) / (events.sum() + 1)
    lift = after / (events + 10)[:, None] / share
    pairs = zip(WEIGHTS[: len(latest)], latest, strict=True)
    total = sum(weight * lift[item] for weight, item in pairs)
    return np.log(share) + np.log1p(total)


@pytest.mark.parametrize("followers", [2, ITEMS, 19])
def test_scores_are_popularity_and_lifts(log, histories, fitted, scores, followers):
    model = model_of(followers)
    found = scores(model, fitted(model, log), log, [2, 0, 1, -1, 4, 3])
    latest = [histories[user][::-1][:3] for user in (2, 0, 1)]
    latest += [[], histories[4][::-1][:3], histories[3][::-1]]
    expected = [reference(histories, items, followers) for items in latest]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_new_events_count_without_a_new_fit(log, log_of, histories, fitted, scores):
    model = model_of(ITEMS)
    longer = [*histories[:3], [*histories[3], 7], histories[4]]
    later = log_of([[[item] for item in history] for history in longer])
    found = scores(model, fitted(model, log), later, [3])
    expected = reference(histories, longer[3][::-1], ITEMS)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-6)
    assert np.abs(found - scores(model, fitted(model, log), log, [3])).max() > 0.1
