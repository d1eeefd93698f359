"""What tends to come soon after an item: counts by hand, and what must be left out of them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.tendencies import (
    DOUBT,
    FADE,
    REACH,
    count_followers,
    count_repeats,
    joined,
    lifts,
)
from ancf_jax.types import Catalogue, Query

NONE = 7  # of seven items, which are called by their numbers


def test_counts_by_hand():
    """Two users have 0 1 2 and 0 2: after 0, 1 came at once, 2 once at once and once a step later."""
    follower, times = count_followers(
        np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 2]), NONE, 3
    )
    assert follower[0].tolist() == [2, 1, NONE]
    np.testing.assert_allclose(times[0], [1 + FADE, 1, 0], rtol=1e-6)
    assert follower[1].tolist() == [2, NONE, NONE]
    assert (follower[2:] == NONE).all()
    assert times[2:].sum() == 0


def test_the_most_frequent_are_kept_and_an_item_does_not_follow_itself():
    follower, times = count_followers(np.zeros(4, int), np.array([3, 3, 4, 5]), NONE, 1)
    assert follower[:, 0].tolist() == [NONE, NONE, NONE, 4, 5, NONE, NONE]
    np.testing.assert_allclose(times[3, 0], 1 + FADE, rtol=1e-6)


def test_events_further_off_than_reach_do_not_count():
    items = np.arange(REACH + 2)
    follower, _ = count_followers(
        np.zeros(len(items), int), items, len(items), len(items)
    )
    assert set(follower[0]) - {len(items)} == set(range(1, REACH + 1))


def counted(user: np.ndarray, item: np.ndarray) -> Catalogue:
    popularity = np.bincount(item, minlength=NONE).astype(np.float32)
    follower, times = count_followers(user, item, NONE, 3)
    return Catalogue(
        {}, {}, popularity, popularity.sum(), follower=follower, times=times
    )


def history(*tokens: int) -> Query:
    token = jnp.array([tokens], jnp.int32)
    zero = jnp.zeros(1, jnp.int32)
    return Query(
        zero, zero, zero, zero, token, jnp.zeros_like(token), jnp.zeros_like(token)
    )


def looked_up(catalogue: Catalogue, query: Query) -> np.ndarray:
    """Lifts [L, items] of all items after each token."""
    same = (query.token[:, :, None] == query.token[:, None, :]).astype(jnp.float32)
    follower, lift = lifts(catalogue, query, same)
    found = np.zeros((query.token.shape[1], NONE + 1))
    np.put_along_axis(found, np.asarray(follower)[0], np.asarray(lift)[0], axis=1)
    return found[:, :NONE]


def test_lift_by_hand_for_somebody_new():
    """Of five users with 0, three went on with 1; 0 and 1 are 8 of 10 events."""
    users, items = (
        np.array([0, 0, 1, 1, 2, 2, 3, 4, 5, 6]),
        np.array([0, 1, 0, 1, 0, 1, 0, 0, 6, 6]),
    )
    found = looked_up(counted(users, items), history(0))
    assert found[0, 1] == pytest.approx(
        3 / (5 - 1 + DOUBT) / (4 / 11), rel=1e-5
    )  # one event with 0 is taken as own
    assert np.count_nonzero(found) == 1


@pytest.mark.parametrize("tokens", [(0, 1), (0, 1, 0, 1), (0, 5, 1)])
def test_what_the_user_did_alone_lifts_nothing(tokens):
    """Else every training example would find its own answer in the counts."""
    catalogue = counted(np.zeros(len(tokens), int), np.array(tokens))
    np.testing.assert_allclose(looked_up(catalogue, history(*tokens)), 0, atol=1e-6)


def test_what_others_did_stays_when_the_users_own_events_are_left_out():
    own, others = np.array([0, 1, 2]), np.array([0, 1, 0, 2])
    catalogue = counted(np.array([0, 0, 0, 1, 1, 2, 2]), np.append(own, others))
    alone = counted(np.array([1, 1, 2, 2]), others)
    found = looked_up(catalogue, history(*own))
    share = (
        (np.asarray(alone.popularity) + 1) / 5,
        (np.asarray(catalogue.popularity) + 1) / 8,
    )
    expected = np.zeros(NONE)
    expected[[1, 2]] = 1 / (2 + DOUBT)
    np.testing.assert_allclose(found[0] * share[1], expected, rtol=1e-5, atol=1e-7)
    assert share[0][1] != share[1][1]


def test_joined_adds_the_lifts_of_one_item():
    item, value = joined(
        jnp.array([[[3, 5], [5, 6]]]), jnp.array([[[0.5, 1.0], [2.0, 4.0]]])
    )
    assert item.tolist() == [[3, 5, 5, 6]]
    np.testing.assert_allclose(
        value, [[np.log(1.5), np.log(4.0), 0.0, np.log(5.0)]], rtol=1e-6
    )


def test_repeats_are_counted_by_every_level_of_the_hierarchy():
    """Items 0 and 1 share a shelf, 2 stands alone, 3 on none; u u v x of one user, w and x once each of another."""
    shelf, item = np.array([0, 0, 1, -1]), np.array([0, 0, 1, 3, 2, 3])
    again = np.array([False, True, False, False, False, False])
    found = count_repeats([shelf, np.arange(4)], item, again)
    np.testing.assert_array_equal(found[:, 0], [[3, 1], [3, 1], [1, 0], [0, 0]])
    np.testing.assert_array_equal(found[:, 1], [[2, 1], [1, 0], [1, 0], [2, 0]])
