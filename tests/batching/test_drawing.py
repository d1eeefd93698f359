"""What a step draws, and what counts in it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.batching.drawing import (
    Sampling,
    draw_candidates,
    dual_positions,
    make_batch,
)
from ancf_jax.data import TRAIN

ITEMS = 23
KEY = jax.random.PRNGKey(0)


@pytest.fixture(scope="module")
def log(tiny):
    """The training events of the planted shop."""
    dataset = data.build(tiny("mf"))
    return jax.tree.map(jnp.asarray, data.event_log(dataset, (TRAIN,)))


def drawn(log, unit: str, candidates: str, examples, negatives: int = 17):
    batch = make_batch(log, jnp.asarray(examples, jnp.int32), unit, history_length=5)
    sampling = Sampling(unit, candidates, negatives, ITEMS, max_seen=ITEMS)
    groups, weight = draw_candidates(sampling, log, batch, KEY)
    return batch, [np.asarray(group) for group in groups], np.asarray(weight)


def test_an_event_has_negatives_of_its_own_that_its_user_never_had(log):
    batch, (candidates,), weight = drawn(log, "event", "drawn", np.arange(19))
    positive = candidates[:, 0]
    negatives = candidates[:, 1:]
    np.testing.assert_array_equal(positive, log.item[:19])
    assert negatives.shape == (19, 17)
    assert weight.shape == (19, 18)
    np.testing.assert_array_equal(weight[:, 0], np.ones(19))
    for row, user in enumerate(np.asarray(batch.request.user)):
        events = slice(log.start[user], log.start[user + 1])
        taken = np.asarray(log.item)[events]
        counts = weight[row, 1:] == 1
        np.testing.assert_array_equal(counts, ~np.isin(negatives[row], taken))
    assert weight[:, 1:].mean() > 0.5
    assert len(np.unique(negatives[0])) > 3


def test_windows_share_negatives_that_are_not_their_positive(log):
    windows = [[1, 2, 3, 4, 5], [9, 7, 8, -1, -1], [-1] * 5]
    batch, (positive, negatives), weight = drawn(log, "window", "drawn", windows)
    assert positive.shape == (3, 5, 1)
    assert negatives.shape == (17,)
    is_other = negatives[None, None] != np.asarray(batch.positive)[..., None]
    np.testing.assert_array_equal(weight[..., 1:], is_other)
    assert not is_other.all()
    np.testing.assert_array_equal(batch.weight[2], np.zeros(5))


@pytest.mark.parametrize("both_sides", [False, True])
def test_a_history_on_both_sides_holds_later_events(log, both_sides):
    begin = int(log.start[3])
    second = jnp.array([begin + 1], jnp.int32)
    batch = make_batch(log, second, "event", 3, both_sides)
    later = np.asarray(log.item)[begin + 2 : begin + 4]
    first = int(log.item[begin])
    expected = [first, *later] if both_sides else [-1, -1, first]
    np.testing.assert_array_equal(batch.request.token, [expected])


def test_values_need_the_positive_alone(log):
    _, groups, weight = drawn(log, "event", "own", np.arange(3), negatives=0)
    assert [group.shape for group in groups] == [(3, 1)]
    np.testing.assert_array_equal(weight, np.ones((3, 1)))


def test_the_full_softmax_scores_everything_once(log):
    _, groups, weight = drawn(log, "event", "catalogue", np.arange(3), negatives=0)
    np.testing.assert_array_equal(groups[0], np.arange(ITEMS))
    np.testing.assert_array_equal(weight, np.ones((3, 1)))


def test_positions_that_count_are_drawn_before_padding():
    weight = jnp.array([[0, 0, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]], jnp.float32)
    keys = [jax.random.PRNGKey(seed) for seed in range(40)]
    found = np.stack([dual_positions(weight, 2, key) for key in keys])
    assert set(np.unique(found[:, 0])) == {2, 3, 4}
    assert (found[:, 1, 0] == 4).all()
    assert set(np.unique(found[:, 2])) == {0, 1, 2, 3, 4}
    assert all(len(set(row)) == 2 for row in found.reshape(-1, 2).tolist())


def test_no_more_positions_are_drawn_than_there_are():
    assert dual_positions(jnp.ones((3, 5)), 99, KEY).shape == (3, 5)


def test_devices_that_share_a_batch_draw_what_one_draws():
    """Each keeps its rows of the draw for all."""

    def rows_of_second_device(draw, rows):
        return draw(2 * rows)[rows:]

    weight = jnp.ones((6, 5))
    alone = dual_positions(weight, 2, KEY)
    second = dual_positions(weight[3:], 2, KEY, rows_of_second_device)
    np.testing.assert_array_equal(second, alone[3:])
