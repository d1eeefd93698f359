"""Tables updated by row: which they are, and where that equals the dense update."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ancf_jax import data
from ancf_jax.config import ObjectiveConfig
from ancf_jax.data import VALIDATION
from ancf_jax.machine.sizes import MIN_ROWS_FOR_ROW_UPDATES
from ancf_jax.models.registry import build, default_config
from ancf_jax.objective.objective import objective_of
from ancf_jax.prepared import prepare
from ancf_jax.training.loop import Trainer, trainer
from ancf_jax.training.rows import row_updates
from ancf_jax.types import Sizes, TrainState

MODELS = {
    "mf": {},
    "neumf": {},
    "engagement": {},
    # Without dropout, which each device draws by itself.
    "ancf": {
        "network__history": "candidate",
        "network__dropout": 0.0,
        "network__user_dropout": 0.0,
        "objective__loss": "bce",
    },
}
SETTINGS = {"optim__weight_decay": 0.0, "optim__schedule": "constant"}


class Trained(NamedTuple):
    """A trainer, and its portable state after some epochs of 67 examples."""

    trainer: Trainer
    state: TrainState


def train(
    tiny,
    tables: str,
    model: str = "mf",
    devices: int = 1,
    epochs: int = 2,
    batch: int = 8,
    **switches,
) -> Trained:
    changes = SETTINGS | MODELS[model] | switches
    config = tiny(
        model, epochs=epochs, loop__tables=tables, loop__batch_size=batch, **changes
    )
    prepared = prepare(config, data.build(config), data.known_parts(VALIDATION))
    made = trainer(prepared, devices)
    feed = dataclasses.replace(made.feed, examples=made.feed.examples[:67])
    made = dataclasses.replace(made, feed=feed)
    state = made.initial_state()
    for epoch in range(epochs):
        for reached, _ in made.epoch(state, epoch):
            state = reached
    return Trained(made, jax.device_get(made.states.portable(state)))


def close(one, other, tolerance: float = 1e-5) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in pairs)


@pytest.mark.parametrize("model", MODELS)
def test_sgd_by_row_is_dense_sgd(tiny, model):
    dense = train(tiny, "dense", model, optim__optimizer="sgd")
    sparse = train(tiny, "sparse", model, optim__optimizer="sgd")
    assert dense.trainer.program.updates.kinds == ()
    assert sparse.trainer.program.updates.kinds == ("user", "item")
    assert close(sparse.state, dense.state)


@pytest.mark.parametrize("optimizer", ["adagrad", "row_adagrad"])
def test_adagrad_by_row_is_dense_adagrad(tiny, optimizer):
    dense = train(tiny, "dense", optim__optimizer=optimizer)
    sparse = train(tiny, "sparse", optim__optimizer=optimizer)
    assert close(sparse.state, dense.state)


def test_clipping_sees_the_norm_of_the_whole_gradient(tiny):
    switches = {
        "optim__optimizer": "sgd",
        "optim__clip": 0.003,
        "optim__learning_rate": 3.0,
    }
    dense = train(tiny, "dense", **switches)
    sparse = train(tiny, "sparse", **switches)
    unclipped = train(tiny, "sparse", **switches | {"optim__clip": 0.0})
    assert close(sparse.state, dense.state)
    assert not close(sparse.state, unclipped.state, 1e-3)


def test_lazy_adam_differs_from_dense_adam_once_rows_rest(tiny):
    """Dense Adam goes on moving rows by their old moments."""
    sparse = train(tiny, "sparse", epochs=1, batch=8)
    dense = train(tiny, "dense", epochs=1, batch=8)
    assert not close(sparse.state.params, dense.state.params, 1e-4)


def test_one_step_of_lazy_adam_is_dense_adam_and_leaves_untouched_rows_alone(tiny):
    start = train(tiny, "sparse", epochs=0).state
    sparse = train(tiny, "sparse", epochs=1, batch=67).state
    dense = train(tiny, "dense", epochs=1, batch=67).state
    assert int(sparse.step) == 1
    assert close(sparse, dense)
    mean = np.asarray(optax.tree.get(dense.opt_state, "mu")["user_table"])
    untouched = np.abs(mean).sum(1) == 0
    assert untouched.any()
    before = np.asarray(start.params["user_table"])
    after = np.asarray(sparse.params["user_table"])
    np.testing.assert_array_equal(after[untouched], before[untouched])


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
@pytest.mark.parametrize("tables", ["sparse", "divided"])
def test_four_devices_with_a_table_each_or_a_share_of_it_equal_one(tiny, tables, kind):
    """13 users and 23 items: the shares of four devices are padded."""
    four = train(
        tiny, tables, "neumf", devices=4, loop__spread=kind, optim__optimizer="adam"
    )
    one = train(tiny, "sparse", "neumf", optim__optimizer="adam")
    assert jax.tree.map(jnp.shape, four.state) == jax.tree.map(jnp.shape, one.state)
    assert close(four.state, one.state)
    held = four.trainer.initial_state().rows["user"].addressable_data(0)
    # The table of width 11, and two moments: 33.
    assert held.shape == ((1, 4, 40) if tables == "divided" else (13, 40))


def test_a_divided_state_goes_on_with_another_number_of_devices(tiny):
    four = train(tiny, "divided", devices=4, epochs=1)
    one = train(tiny, "divided", devices=1, epochs=1)
    for trained, other in ((one, four), (four, one)):
        states = trained.trainer.states
        found = states.portable(states.place(other.state))
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(found), other.state)


def kinds_updated_by_row(
    users: int, items: int, tables: str = "auto", loss: str = "bce"
) -> tuple[str, ...]:
    """Where a step of `mf` touches 100 users and 50,000 items."""
    model = build(default_config("mf"), Sizes(users, items, 1, (), ()), clock=False)
    objective = objective_of(ObjectiveConfig(loss=loss), items)
    touched = {"user": 100, "item": 50_000}
    return row_updates(model, objective, tables, touched).kinds


def test_the_rule_of_auto():
    """Tables much longer than a step touches, and so long that dense updates cost something."""
    limit = MIN_ROWS_FOR_ROW_UPDATES
    assert kinds_updated_by_row(limit, 4 * 50_000) == ()
    assert kinds_updated_by_row(limit + 1, 4 * 50_000 + 1) == ("user", "item")


def test_a_softmax_over_the_catalogue_touches_every_item():
    long = MIN_ROWS_FOR_ROW_UPDATES + 1
    assert kinds_updated_by_row(long, 10**9, loss="softmax") == ("user",)
    assert kinds_updated_by_row(5, 7, "sparse", loss="softmax") == ("user",)


def test_sparse_and_dense_are_obeyed():
    assert kinds_updated_by_row(5, 7, "sparse") == ("user", "item")
    assert kinds_updated_by_row(5, 7, "divided") == ("user", "item")
    assert kinds_updated_by_row(10**9, 10**9, "dense") == ()
