"""Entries of lists, and which of them are hits, by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logit

from ancf_jax.evaluation.calibration import fitted_calibration, list_entries
from ancf_jax.types import Heldout


@dataclass(frozen=True)
class Lists:
    """A ranker with lists that stand already, in two blocks."""

    items = 7

    def top_n_with_totals(self, user, minute, n, keep_seen):
        """Weights 4, 2, 1 of 8, and of 20; the last request has one eligible item of weight 3."""
        assert (n, keep_seen) == (self.expected_n, True)
        scores = np.log(np.array([[4.0, 2, 1], [4, 2, 1]], np.float32))
        total = np.log(np.array([8.0, 20], np.float32))
        yield np.array([[5, 0, 3], [1, 5, 0]]), scores, total
        alone = np.array([[np.log(3), -np.inf, -np.inf]], np.float32)
        yield np.array([[2, -1, -1]]), alone, np.log(np.array([6], np.float32))

    expected_n = 3


HELD = Heldout(
    user=np.array([0, 1, 2], np.int32),
    minute=np.array([5, 6, 7], np.int32),
    item=np.array([5, 3, 6, 5, 2], np.int32),
    value=np.ones(5, np.float32),
    start=np.array([0, 3, 4, 5], np.int32),
)


def test_entries_are_hits_where_their_own_request_holds_them():
    """The third request holds 2, which is its only entry; 5 counts for the first two."""
    found = list_entries(Lists(), HELD, 3, True)
    shares = [4 / 8, 2 / 8, 1 / 8, 4 / 20, 2 / 20, 1 / 20, 3 / 6]
    assert_allclose(found.log_odds, logit(shares), atol=1e-5)
    hits = [True, False, True, False, True, False, True]
    assert_array_equal(found.is_hit, hits)


def test_without_requests_there_is_no_scale():
    nothing = HELD._replace(user=HELD.user[:0], start=HELD.start[:1])
    assert fitted_calibration(Lists(), nothing, True) is None
