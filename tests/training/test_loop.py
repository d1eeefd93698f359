"""What a trainer counts, and that an epoch is the same however it is cut into calls."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.config import Config
from ancf_jax.data import VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.machine import sizes
from ancf_jax.prepared import Prepared, prepare
from ancf_jax.training.loop import EpochReport, Trainer, trainer
from ancf_jax.types import TrainState


def prepared_of(config: Config) -> Prepared:
    return prepare(config, data.build(config), data.known_parts(VALIDATION))


def first_epoch(made: Trainer) -> tuple[TrainState, list[EpochReport]]:
    state = made.initial_state()
    reports = []
    for reached, report in made.epoch(state, 0):
        state = reached
        reports.append(report)
    return state, reports


def test_a_trainer_counts_steps(tiny):
    """A batch of 6 is rounded up to 8, which four devices can share."""
    prepared = prepared_of(tiny("mf", epochs=3, loop__batch_size=6))
    made = trainer(prepared, devices=4)
    events = len(prepared.log.item)
    assert made.feed.batch_size == 8
    assert made.steps_per_epoch == -(-events // 8)
    np.testing.assert_array_equal(made.feed.examples, np.arange(events))


@pytest.mark.parametrize("model", ["neumf", "engagement"])
def test_how_many_steps_are_drawn_at_once_changes_nothing(tiny, model, monkeypatch):
    """Where one step is drawn at a time, each is a call; else several make one."""
    prepared = prepared_of(tiny(model, epochs=1, loop__batch_size=3))
    state, reports = first_epoch(trainer(prepared, devices=1))
    monkeypatch.setattr(sizes, "MAX_DRAWN", 1)
    made = trainer(prepared, devices=1)
    step_by_step, single_reports = first_epoch(made)
    done = [report.done for report in single_reports]
    assert done == list(range(1, made.steps_per_epoch + 1))
    assert len(reports) < made.steps_per_epoch / 2
    assert reports[-1].loss == pytest.approx(single_reports[-1].loss, rel=1e-5)
    for one, other in zip(
        jax.tree.leaves(state.params),
        jax.tree.leaves(step_by_step.params),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("loss", "steps"), [("softmax", 5), ("sampled_softmax", 1)])
def test_only_what_is_drawn_limits_the_steps_of_a_call(tiny, loss, steps, monkeypatch):
    """Room for five steps without negatives; for one with 29 a position."""
    config = tiny(
        "ancf", loop__batch_size=3, objective__loss=loss, objective__negatives=29
    )
    made = trainer(prepared_of(config), devices=1)
    room = 5 * 3 * made.model.history_length
    monkeypatch.setattr(sizes, "MAX_DRAWN", room)
    _, reports = first_epoch(made)
    done = [0, *(report.done for report in reports)]
    assert set(np.diff(done[:-1])) == {steps}
    assert done[-1] == made.steps_per_epoch > 5


@pytest.mark.parametrize("part", ["mf_path", "mlp_path", "repeats"])
def test_ancf_trains_without_a_part(tiny, part):
    config = tiny("ancf", epochs=1, **{f"network__{part}": False})
    state, reports = first_epoch(trainer(prepared_of(config), devices=1))
    assert reports[-1].done == reports[-1].total
    assert np.isfinite(reports[-1].loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_a_log_without_events_is_refused(tiny):
    config = tiny("mf")
    prepared = prepare(config, data.build(config), parts=())
    with pytest.raises(UserError, match="no training events"):
        trainer(prepared)


def test_a_model_that_is_fitted_as_a_whole_has_no_trainer(tiny):
    with pytest.raises(TypeError, match="popularity"):
        trainer(prepared_of(tiny("popularity")))


def test_products_without_events_are_no_candidates_of_training(tiny):
    """Product p22 has none: no step moves it, and all others."""
    config = tiny("ancf", network__mlp_path=False, optim__weight_decay=0.0)
    prepared = prepared_of(config)
    made = trainer(prepared)
    state = made.initial_state()
    before = np.array(made.states.portable(state).params["item_mf"])
    for reached, _ in made.epoch(state, 0):
        state = reached
    after = np.array(made.states.portable(state).params["item_mf"])
    has_moved = (after != before).any(1)
    np.testing.assert_array_equal(has_moved, prepared.catalogue.popularity > 0)
    assert not has_moved[22]
