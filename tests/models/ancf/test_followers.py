"""How much likelier followers are soon after an item, and what must be left out of it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.counts import UNFOLLOWED_EVENTS, count_followers
from ancf_jax.models.ancf.context import scope_of
from ancf_jax.models.ancf.followers import lifts, merged
from ancf_jax.models.ancf.history import counted_history
from ancf_jax.types import Catalogue, Request

ITEMS = 7  # items are called by their numbers


def catalogue_of(user: np.ndarray, item: np.ndarray) -> Catalogue:
    popularity = np.bincount(item, minlength=ITEMS).astype(np.float32)
    follower, weight = count_followers(user, item, ITEMS, 3)
    return Catalogue(
        item_features={},
        user_features={},
        popularity=popularity,
        total_events=popularity.sum(),
        follower=follower,
        follower_weight=weight,
    )


def history(*tokens: int) -> Request:
    token = jnp.array([tokens], jnp.int32)
    zero = jnp.zeros(1, jnp.int32)
    return Request(
        user=zero,
        minute=zero,
        kind=zero,
        dwell=zero,
        token=token,
        token_minute=jnp.zeros_like(token),
        segment=jnp.zeros_like(token),
    )


def lift_of_items(catalogue: Catalogue, request: Request) -> np.ndarray:
    """Lifts [L, items] of all items after each token."""
    history = counted_history(request, scope_of(request, clock=False))
    follower, lift = lifts(catalogue, history)
    length = request.token.shape[1]
    found = np.zeros((length, ITEMS + 1))
    column = np.asarray(follower)[0]
    np.put_along_axis(found, column, np.asarray(lift)[0], axis=1)
    return found[:, :ITEMS]


def test_lift_by_hand_for_somebody_new():
    """Of five users with 0, three went on with 1; 0 and 1 are 8 of 10 events."""
    user = np.array([0, 0, 1, 1, 2, 2, 3, 4, 5, 6])
    item = np.array([0, 1, 0, 1, 0, 1, 0, 0, 6, 6])
    lift = lift_of_items(catalogue_of(user, item), history(0))
    others = 5 - 1  # one event with 0 is taken as the user's own
    share = 4 / 11
    expected = 3 / (others + UNFOLLOWED_EVENTS) / share
    assert lift[0, 1] == pytest.approx(expected, rel=1e-5)
    assert np.count_nonzero(lift) == 1


@pytest.mark.parametrize("tokens", [(0, 1), (0, 1, 0, 1), (0, 5, 1)])
def test_what_the_user_did_alone_lifts_nothing(tokens):
    """Else every training example would find its own answer in the counts."""
    user = np.zeros(len(tokens), int)
    catalogue = catalogue_of(user, np.array(tokens))
    lift = lift_of_items(catalogue, history(*tokens))
    np.testing.assert_allclose(lift, 0, atol=1e-6)


def test_what_others_did_stays_when_the_users_own_events_are_left_out():
    own = np.array([0, 1, 2])
    others = np.array([0, 1, 0, 2])
    user = np.array([0, 0, 0, 1, 1, 2, 2])
    catalogue = catalogue_of(user, np.append(own, others))
    lift = lift_of_items(catalogue, history(*own))
    share = (catalogue.popularity + 1) / 8
    others_alone = catalogue_of(user[3:], others)
    share_of_others = (others_alone.popularity + 1) / 5
    assert share_of_others[1] != share[1]
    expected = np.zeros(ITEMS)
    expected[[1, 2]] = 1 / (2 + UNFOLLOWED_EVENTS)
    np.testing.assert_allclose(lift[0] * share, expected, rtol=1e-5, atol=1e-7)


def test_merged_adds_the_lifts_of_one_item():
    items = jnp.array([[[3, 5], [5, 6]]])
    lift = jnp.array([[[0.5, 1.0], [2.0, 4.0]]])
    boost = merged(items, lift)
    assert boost.item.tolist() == [[3, 5, 5, 6]]
    expected = np.log([[1.5, 4.0, 1.0, 5.0]])
    np.testing.assert_allclose(boost.amount, expected, rtol=1e-6)
