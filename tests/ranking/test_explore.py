"""Places for products without events: how many, whose, and what stands in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ancf_jax.errors import UserError
from ancf_jax.ranking.explore import (
    explored_places,
    one_list,
    share_in_words,
    top_n,
)
from ancf_jax.types import Catalogue

EVENTS = np.array([3, 0, 1, 0, 7, 2, 0])  # of seven items
SCORES = np.array([[1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1.0]])


@dataclass(frozen=True)
class Sorter:
    """Ranks by sorting a table, two users at a time."""

    candidates: np.ndarray
    catalogue: Catalogue

    def among(self, candidates):
        return replace(self, candidates=candidates)

    def top_n(self, user, minute, n, keep_seen):
        for begin in range(0, len(user), 2):
            rows = SCORES[user[begin : begin + 2]]
            scores = np.where(self.candidates, rows, -np.inf)
            order = np.argsort(-scores, kind="stable")[:, :n]
            best = np.take_along_axis(scores, order, 1)
            yield np.where(best > -np.inf, order, -1), best


def lists_of(places, n: int = 4) -> list[list[int]]:
    user = np.array([0, 1, 1])
    ranker = Sorter(np.ones(7, bool), Catalogue({}, {}, EVENTS))
    found = top_n(ranker, user, np.zeros(3), n, True, places)
    return [row for items, _ in found for row in items.tolist()]


def test_each_part_of_a_list_is_the_best_of_its_kind():
    lists = lists_of(np.array([1, 0, 2]))
    assert lists == [[5, 4, 2, 6], [0, 2, 4, 5], [0, 2, 1, 3]]


def test_without_places_lists_are_those_of_the_ranker():
    assert lists_of(None) == [[6, 5, 4, 3], [0, 1, 2, 3], [0, 1, 2, 3]]


def test_too_few_products_without_events_leave_their_places_to_others():
    assert lists_of(np.array([4, 4, 0]))[:2] == [[5, 6, 3, 1], [0, 1, 3, 6]]


def test_a_gap_comes_last():
    sold = np.array([[4, -1, -1]]), np.array([[2.0, -np.inf, -np.inf]])
    unsold = np.array([[6]]), np.array([[1.0]])
    items, scores = one_list(sold, unsold, np.array([1]))
    assert items.tolist() == [[4, 6, -1]]
    assert scores.tolist() == [[2, 1, -np.inf]]


@pytest.mark.parametrize("share", [0, 0.013, 0.14, 0.5, 1])
def test_over_users_in_any_row_the_share_is_kept(share):
    places = explored_places(np.arange(997), 10, share, seed=3)
    for begin, end in [(0, 997), (7, 20), (501, 502)]:
        expected = share * 10 * (end - begin)
        assert abs(places[begin:end].sum() - expected) <= 1
    assert places.max() - places.min() <= 1


def test_a_list_does_not_depend_on_who_else_is_asked_for_but_on_the_seed():
    some = np.array([5, 2, 3, 2])
    every = explored_places(np.arange(7), 10, 0.14, seed=0)
    assert_array_equal(explored_places(some, 10, 0.14, seed=0), every[some])
    by_seed = {tuple(explored_places(some, 10, 0.14, seed)) for seed in range(13)}
    assert len(by_seed) > 1


def test_an_unknown_user_has_no_such_place():
    assert_array_equal(explored_places(np.array([-1, 0]), 10, 1.0, 0), [0, 10])


@pytest.mark.parametrize("text", ["-0.1", "1.5", "nan", "some", ""])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(UserError, match="expected auto or a share from 0 to 1"):
        share_in_words(text)


def test_shares_in_words():
    assert share_in_words("auto") == "auto"
    assert share_in_words("0.25") == 0.25
