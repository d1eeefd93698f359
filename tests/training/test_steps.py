"""What a step draws, and what counts in it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.config import ObjectiveConfig
from ancf_jax.data import dataset as data
from ancf_jax.data.interactions import TRAIN
from ancf_jax.runs import build_model
from ancf_jax.training.steps import draw_negatives, dual_positions, make_batch

ITEMS = 23


@pytest.fixture(scope="module")
def shop(tiny):
    """shop(model, **switches): a model and the log of the planted shop."""
    dataset = data.build(tiny("ancf"))
    log = jax.tree.map(jnp.asarray, data.event_log(dataset, (TRAIN,)))

    def make(model: str, **switches):
        return build_model(tiny(model, **switches), dataset), log

    return make


def drawn(model, log, loss: str, examples, negatives: int = 17):
    batch = make_batch(model, log, jnp.asarray(examples, jnp.int32))
    objective = ObjectiveConfig(loss=loss, negatives=negatives)
    groups, weight = draw_negatives(
        model, objective, log, batch, ITEMS, jax.random.PRNGKey(0), share=False
    )
    return batch, [np.asarray(group) for group in groups], np.asarray(weight)


def test_an_event_has_negatives_of_its_own_that_its_user_never_had(shop):
    model, log = shop("mf")
    batch, (candidates,), weight = drawn(model, log, "bce", np.arange(19))
    positive, negatives = candidates[:, :1], candidates[:, 1:]
    np.testing.assert_array_equal(positive[:, 0], log.item[:19])
    assert negatives.shape == (19, 17)
    assert weight.shape == (19, 18)
    np.testing.assert_array_equal(weight[:, 0], np.ones(19))
    for row, user in enumerate(np.asarray(batch.request.user)):
        had = set(np.asarray(log.item)[log.start[user] : log.start[user + 1]].tolist())
        assert all(
            (item in had) == (counts == 0)
            for item, counts in zip(negatives[row], weight[row, 1:], strict=True)
        )
    assert weight[:, 1:].mean() > 0.5
    assert len(np.unique(negatives[0])) > 3


def test_windows_share_negatives_that_are_not_their_positive(shop):
    model, log = shop("ancf")
    batch, (positive, negatives), weight = drawn(
        model, log, "sampled_softmax", [[1, 2, 3, 4, 5], [9, 7, 8, -1, -1], [-1] * 5]
    )
    assert positive.shape == (3, 5, 1)
    assert negatives.shape == (17,)
    np.testing.assert_array_equal(
        weight[..., 1:], negatives[None, None] != np.asarray(batch.positive)[..., None]
    )
    np.testing.assert_array_equal(batch.weight[2], np.zeros(5))


@pytest.mark.parametrize("loss", ["mse", "log_loss"])
def test_value_losses_need_the_positive_alone(shop, loss):
    _, groups, weight = drawn(*shop("linear"), loss, np.arange(3))
    assert [group.shape for group in groups] == [(3, 1)]
    np.testing.assert_array_equal(weight, np.ones((3, 1)))


def test_the_full_softmax_scores_everything_once(shop):
    _, groups, weight = drawn(*shop("mf"), "softmax", np.arange(3))
    np.testing.assert_array_equal(groups[0], np.arange(ITEMS))
    np.testing.assert_array_equal(weight, np.ones((3, 1)))


def test_positions_that_count_are_drawn_before_padding():
    weight = jnp.array([[0, 0, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]], jnp.float32)
    found = np.stack(
        [
            dual_positions(weight, 2, jax.random.PRNGKey(seed), False)
            for seed in range(40)
        ]
    )
    assert set(np.unique(found[:, 0])) == {2, 3, 4}
    assert (found[:, 1, 0] == 4).all()
    assert set(np.unique(found[:, 2])) == {0, 1, 2, 3, 4}
    assert all(len(set(row)) == 2 for row in found.reshape(-1, 2).tolist())
    assert dual_positions(weight, 99, jax.random.PRNGKey(0), False).shape == (3, 5)
