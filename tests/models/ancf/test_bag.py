"""The bag against its formula in NumPy, and what a score may know of its own event."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.batching.histories import batch_among_events, request_after_log
from ancf_jax.data import TRAIN
from ancf_jax.models.ancf.bag import Bag
from ancf_jax.prepared import prepare
from ancf_jax.training.loop import trainer
from ancf_jax.types import AXIS

ITEMS = 11
SIZE = 3
TABLE = np.random.default_rng(0).normal(size=(ITEMS, 2 * SIZE)).astype(np.float32)


def bag_of(request, token, value) -> np.ndarray:
    """The bag of histories by `TABLE`."""
    history = request._replace(token=jnp.array(token), token_value=jnp.array(value))
    variables = {"params": {"item_bag": TABLE}}
    return np.asarray(Bag(ITEMS, SIZE).apply(variables, history))


@pytest.fixture(scope="module")
def request_of_three(case):
    """A request whose history is to be replaced."""
    return case(history="bag").now()


def test_a_bag_is_the_sum_over_the_events(request_of_three):
    """Padding and "nothing yet" are no events, whatever value stands there."""
    token = [[-1, 7, 2, 7], [-1, -1, -1, 5], [-1, -1, -1, -1]]
    value = [[9.0, 5.0, 1.0, 3.0], [9.0, 9.0, 9.0, 4.0], [9.0, 9.0, 9.0, 9.0]]
    taken = TABLE[:, :SIZE]
    valued = TABLE[:, SIZE:]
    # The mean of 5, 1 and 3 is 3.
    first = (taken[7] + taken[2] + taken[7] + 2 * valued[7] - 2 * valued[2]) / 3**0.5
    expected = [first, taken[5], np.zeros(SIZE)]
    found = bag_of(request_of_three, token, value)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_equal_values_say_nothing(request_of_three):
    token = [[3, 8, 0, 10, 6]]
    of_ones = bag_of(request_of_three, token, [[1.0] * 5])
    of_fours = bag_of(request_of_three, token, [[4.0] * 5])
    np.testing.assert_allclose(of_ones, of_fours, rtol=1e-5, atol=1e-6)
    expected = TABLE[token[0], :SIZE].sum(0) / 5**0.5
    np.testing.assert_allclose(of_ones, [expected], rtol=1e-5)


def test_an_event_is_scored_without_itself_from_all_others_of_its_user(case):
    """Neither its item nor its value moves its scores; those of any other event do."""
    one = case(history="bag", loss="mse", history_length=17)
    assert one.model.both_sides
    assert one.model.unit == "event"
    begin = int(one.log.start[7])
    end = int(one.log.start[8])
    event = begin + 2
    value = jnp.arange(len(one.log.value), dtype=jnp.float32) % 5
    log = one.log._replace(value=value)

    def scores(changed):
        return one.scores(batch_among_events(changed, jnp.array([event]), 17).request)

    found = scores(log)
    for place in range(begin - 1, end + 1):
        item = log.item.at[place].set((log.item[place] + 3) % 22)
        rated = log.value.at[place].add(2.0)
        is_other_of_user = begin <= place < end and place != event
        for changed in (log._replace(item=item), log._replace(value=rated)):
            moved = np.abs(scores(changed) - found).max() > 1e-4
            assert moved == is_other_of_user


@pytest.mark.parametrize(("history", "sees_later"), [("bag", True), ("none", False)])
def test_a_step_learns_an_event_from_later_ones_too(tiny, history, sees_later):
    config = tiny("ancf", network__history=history, network__history_length=5)
    prepared = prepare(config, data.build(config), (TRAIN,))
    made = trainer(prepared, devices=1)
    first = int(prepared.log.start[7])
    draw = jax.vmap(made.program.draw, (None, 0, None, None), axis_name=AXIS)
    examples = np.array([[first]], np.int32)
    log = jax.tree.map(jnp.asarray, prepared.log)
    drawn = draw(log, examples, jax.random.PRNGKey(0), jnp.zeros((), jnp.int32))
    token = np.asarray(drawn.batch.request.token)
    later = prepared.log.item[first + 1 : first + 6]
    assert np.isin(later, token).all() == sees_later


def test_the_order_of_the_history_plays_no_part(case):
    one = case(history="bag", loss="mse")
    user = jnp.array([7, 0], jnp.int32)
    minute = jnp.full(2, 28_400_000, jnp.int32)
    log = one.log._replace(value=jnp.arange(len(one.log.value)) % 5 + 1.0)
    request = request_after_log(log, user, minute, one.length)
    order = np.array([3, 0, 4, 1, 2])
    columns = ("token", "token_minute", "token_value", "segment")
    shuffled = {name: getattr(request, name)[:, order] for name in columns}
    found = one.scores(request._replace(**shuffled))
    np.testing.assert_allclose(found, one.scores(request), rtol=1e-4, atol=1e-5)


def test_a_bag_has_no_attention_and_counts_no_repeats(case):
    params = case(history="bag").variables["params"]
    assert set(params["prior"]) == {"popularity"}
    attending = {"nothing_yet", "mf_to_token", "now_to_token", "encoder"}
    assert not attending & set(params)
    assert "bag" not in case(history="none").variables["params"]
    shape = jax.tree.map(np.shape, params["bag"])
    size = params["user_mlp"].shape[1]
    assert shape == {"item_bag": (23, 2 * size)}
