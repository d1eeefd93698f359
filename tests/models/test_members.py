"""Several parameter sets side by side: each is as if alone, and a score is the mean of theirs."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.batching.histories import request_after_log
from ancf_jax.config import override, validate
from ancf_jax.data import VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.prepared import Prepared, prepare
from ancf_jax.training.loop import Trainer, trainer
from ancf_jax.types import TrainState

MEMBERS = 2


def prepared_with(
    tiny, members: int, model: str = "ancf", **changes: object
) -> Prepared:
    config = tiny(model, loop__members=members, **changes)
    return prepare(config, data.build(config), data.known_parts(VALIDATION))


def member(tree, number: int):
    return jax.tree.map(lambda leaf: leaf[number], tree)


def variables_of(state: TrainState) -> dict:
    return {"params": state.params, "batch_stats": state.batch_stats}


def after_an_epoch(made: Trainer, state: TrainState) -> TrainState:
    *_, (ended, _) = made.epoch(state, 0)
    return made.states.portable(ended)


@pytest.mark.parametrize("model", ["neumf", "mf"])
def test_members_begin_apart(tiny, model):
    state = trainer(prepared_with(tiny, MEMBERS, model), 1).initial_state()
    table = np.asarray(jax.tree.leaves(state.params)[-1])
    moved = [leaf for leaf in jax.tree.leaves(state.params) if np.ptp(leaf[0]) > 0]
    assert len(table) == MEMBERS
    assert moved
    for leaf in moved:
        assert np.abs(leaf[0] - leaf[1]).max() > 0


@pytest.mark.parametrize("model", ["mf", "neumf"])
def test_a_member_is_trained_as_if_alone(tiny, model):
    """Member k ends where a run alone from its draw ends.

    By SGD, for Adam makes steps of a parameter whose gradient is 0 but for rounding.
    """
    still = {"model": model, "optim__optimizer": "sgd", "optim__clip": 0.1}
    together = trainer(prepared_with(tiny, MEMBERS, **still), 1)
    alone = trainer(prepared_with(tiny, 1, **still), 1)
    first = jax.device_get(together.initial_state())
    ended = after_an_epoch(together, together.initial_state())
    for number in range(MEMBERS):
        begun = TrainState(
            step=jnp.zeros((), jnp.int32),
            params=member(first.params, number),
            batch_stats=member(first.batch_stats, number),
            opt_state=member(first.opt_state, number),
        )
        expected = after_an_epoch(alone, alone.states.place(begun))
        for found, own in zip(
            jax.tree.leaves(member(ended.params, number)),
            jax.tree.leaves(expected.params),
            strict=True,
        ):
            np.testing.assert_allclose(found, own, rtol=2e-4, atol=2e-5)
        moved = jax.tree.map(
            lambda a, b: np.abs(a - b).max(), begun.params, expected.params
        )
        assert max(jax.tree.leaves(moved)) > 0.01


@pytest.mark.parametrize("model", ["ancf", "neumf"])
def test_a_score_is_the_mean_of_the_members_scores(tiny, model):
    made = prepared_with(tiny, MEMBERS, model)
    state = jax.device_get(trainer(made, 1).initial_state())
    user = jnp.array([0, 3, -1, 7, 5], jnp.int32)
    minute = jnp.full(5, 28_500_007, jnp.int32)
    items = jnp.arange(11, dtype=jnp.int32)

    log = jax.tree.map(jnp.asarray, made.log)

    @functools.partial(jax.jit, static_argnums=0)
    def scores(model, variables):
        request = request_after_log(log, user, minute, max(1, model.history_length))
        users = model.encode_users(variables, log, made.catalogue, request)
        side = model.encode_items(variables, made.catalogue, items)
        return model.score(variables, users, side)

    variables = variables_of(state)
    single = dataclasses.replace(made.model, members=1)
    own = [scores(single, member(variables, number)) for number in range(MEMBERS)]
    np.testing.assert_allclose(
        scores(made.model, variables), np.mean(own, axis=0), rtol=1e-5, atol=1e-6
    )
    assert np.ptp(own, axis=0).max() > 0.001


def test_one_member_has_no_axis_of_its_own(tiny):
    alone = trainer(prepared_with(tiny, 1), 1).shapes
    several = trainer(prepared_with(tiny, MEMBERS), 1).shapes
    for one, many in zip(
        jax.tree.leaves(alone.params), jax.tree.leaves(several.params), strict=True
    ):
        assert many.shape == (MEMBERS, *one.shape)


@pytest.mark.parametrize("tables", ["sparse", "divided"])
def test_members_are_not_updated_by_row(tiny, tables):
    made = trainer(prepared_with(tiny, 2, "mf", loop__tables=tables), 1)
    with pytest.raises(UserError, match=r"--loop\.members is 2"):
        made.initial_state()


def test_a_long_table_of_several_members_is_dense(tiny, monkeypatch):
    monkeypatch.setattr("ancf_jax.training.rows.MIN_ROWS_FOR_ROW_UPDATES", 1)
    monkeypatch.setattr("ancf_jax.training.rows.MIN_ROWS_PER_TOUCHED_ROW", 0)
    assert trainer(prepared_with(tiny, 1, "mf"), 1).program.updates.kinds
    assert not trainer(prepared_with(tiny, 2, "mf"), 1).program.updates.kinds


def test_members_are_a_setting_that_is_at_least_one(tiny):
    config = override(tiny("mf"), {"loop.members": 0})
    with pytest.raises(UserError, match="members"):
        validate(config)
