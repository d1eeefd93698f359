"""The order of examples, and what a trainer counts."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from ancf_jax.data import dataset as data
from ancf_jax.data.interactions import VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.runs import build_model
from ancf_jax.training import loop
from ancf_jax.training.loop import epoch_order, trainer

EXAMPLES = np.arange(
    100, 167, dtype=np.int32
)  # 67 of them: 9 steps of 8, the last of 3
STEPS, BATCH = 9, 8


def by_step(devices: int, seed: int = 3, epoch: int = 2) -> np.ndarray:
    """[steps, batch]: the rows that all devices see at each step, device after device."""
    order = epoch_order(EXAMPLES, seed, epoch, STEPS, devices, BATCH)
    assert order.shape == (devices, STEPS, BATCH // devices)
    return np.concatenate(list(order), axis=1)


def test_every_example_comes_once_an_epoch_and_padding_last():
    order = by_step(1)
    np.testing.assert_array_equal(np.sort(order[order >= 0]), EXAMPLES)
    np.testing.assert_array_equal(order[-1, 3:], -1)
    assert (order.ravel()[:67] >= 0).all()


@pytest.mark.parametrize("devices", [2, 4])
def test_the_order_does_not_depend_on_the_devices(devices):
    np.testing.assert_array_equal(by_step(devices), by_step(1))


def test_the_order_is_a_function_of_seed_and_epoch():
    np.testing.assert_array_equal(by_step(1), by_step(1))
    assert (by_step(1) != by_step(1, epoch=3)).any()
    assert (by_step(1) != by_step(1, seed=4)).any()


def test_a_trainer_counts_steps(tiny):
    config = tiny("mf", epochs=3, loop__batch_size=6)  # 8 on four devices
    dataset = data.build(config)
    log = data.event_log(dataset, data.known_parts(VALIDATION))
    made = trainer(
        config, build_model(config, dataset), log, data.catalogue(dataset), devices=4
    )
    assert made.batch_size == 8
    assert made.steps_per_epoch == -(-len(log.item) // 8)
    np.testing.assert_array_equal(made.examples, np.arange(len(log.item)))


@pytest.mark.parametrize("model", ["neumf", "engagement"])
def test_how_many_steps_are_drawn_at_once_changes_nothing(tiny, model, monkeypatch):
    config = tiny(model, epochs=1, loop__batch_size=3)
    dataset = data.build(config)
    log = data.event_log(dataset, data.known_parts(VALIDATION))
    losses, states = [], []
    for most in (1, loop.MOST_DRAWN):
        monkeypatch.setattr(loop, "MOST_DRAWN", most)
        made = trainer(
            config,
            build_model(config, dataset),
            log,
            data.catalogue(dataset),
            devices=1,
        )
        *earlier, (state, reached) = made.epoch(made.initial_state(), 0)
        assert made.steps_per_epoch < 20 * loop.FEW_STEPS
        assert len(earlier) + 1 == -(
            -made.steps_per_epoch // (1 if most == 1 else loop.FEW_STEPS)
        )
        losses.append(reached.loss)
        states.append(state.params)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    jax.tree.map(
        lambda *leaves: np.testing.assert_allclose(*leaves, rtol=1e-4, atol=1e-6),
        *states,
    )


@pytest.mark.parametrize(("loss", "steps"), [("softmax", 5), ("sampled_softmax", 1)])
def test_only_what_is_drawn_limits_the_steps_of_a_call(tiny, loss, steps, monkeypatch):
    """Room for five steps without negatives; for one with 29 a position."""
    config = tiny(
        "ancf", loop__batch_size=3, objective__loss=loss, objective__negatives=29
    )
    dataset = data.build(config)
    log = data.event_log(dataset, data.known_parts(VALIDATION))
    made = trainer(
        config, build_model(config, dataset), log, data.catalogue(dataset), devices=1
    )
    monkeypatch.setattr(loop, "MOST_DRAWN", 5 * 3 * made.model.history_length)
    calls = list(made._calls(0))
    assert [count for *_, count in calls[:-1]] == [steps] * (len(calls) - 1)
    assert sum(count for *_, count in calls) == made.steps_per_epoch > 5


@pytest.mark.parametrize("part", ["mf_path", "mlp_path", "repeats"])
def test_ancf_trains_without_a_part(tiny, part):
    config = tiny("ancf", epochs=1, **{f"network__{part}": False})
    dataset = data.build(config)
    log = data.event_log(dataset, data.known_parts(VALIDATION))
    made = trainer(
        config, build_model(config, dataset), log, data.catalogue(dataset), devices=1
    )
    *_, (state, reached) = made.epoch(made.initial_state(), 0)
    assert reached.done == reached.total
    assert np.isfinite(reached.loss)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_a_log_without_events_is_refused(tiny):
    config = tiny("mf")
    dataset = data.build(config)
    with pytest.raises(UserError, match="no training events"):
        trainer(
            config,
            build_model(config, dataset),
            data.event_log(dataset, ()),
            data.catalogue(dataset),
        )
