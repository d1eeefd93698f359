"""One step spread over devices: however it is spread, the same parameters come out."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.config import override
from ancf_jax.data import VALIDATION
from ancf_jax.machine.parallel import device_count, lay, local_share, spread
from ancf_jax.prepared import Prepared, prepare
from ancf_jax.training.loop import trainer
from ancf_jax.types import AXIS, TrainState

EPOCHS = 3
BATCH = 8


class Case(NamedTuple):
    """A training whose outcome rounding errors do not blow up.

    Attributes:
        changes: to the settings.
        examples: a prime number of them, so that 3 remain for the last step of 8: shares of 2, 1,
            0 and 0 on four devices.
    """

    changes: dict[str, Any]
    examples: int


CASES = {
    "mf": Case({"optim__optimizer": "adam"}, 67),
    # With Adam the bias of a softmax, whose gradient is rounding error alone, would be scaled up
    # to whole steps. Each device draws what it drops by itself.
    "ancf": Case(
        {
            "optim__optimizer": "sgd",
            "network__dropout": 0.0,
            "network__user_dropout": 0.0,
        },
        19,
    ),
}


@pytest.fixture
def optimised():
    """Programs are compiled as people run them.

    Rewriting them is where two ways of spreading could part.
    """
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module", params=CASES)
def prepared(request, tiny) -> Prepared:
    changes = CASES[request.param].changes
    config = tiny(request.param, epochs=EPOCHS, loop__batch_size=BATCH, **changes)
    return prepare(config, data.build(config), data.known_parts(VALIDATION))


def after_training(
    prepared: Prepared, kind: str, devices: int
) -> tuple[TrainState, list[float]]:
    """The state after all epochs, and the losses on the way."""
    config = override(prepared.config, {"loop.spread": kind})
    count = CASES[config.model].examples
    made = trainer(dataclasses.replace(prepared, config=config), devices)
    assert len(made.feed.examples) >= count
    feed = dataclasses.replace(made.feed, examples=made.feed.examples[:count])
    made = dataclasses.replace(made, feed=feed)
    state = made.initial_state()
    losses = []
    for epoch in range(EPOCHS):
        for reached, report in made.epoch(state, epoch):
            state = reached
            losses.append(report.loss)
    assert int(state.step) == EPOCHS * -(-count // BATCH)
    return jax.device_get(state), losses


def test_however_a_step_is_spread_the_parameters_are_the_same(prepared, request):
    if prepared.config.model == "mf":
        request.getfixturevalue("optimised")
    assert jax.device_count() > 1
    assert device_count() == 4
    pmapped, pmapped_losses = after_training(prepared, "pmap", 4)
    sharded, sharded_losses = after_training(prepared, "shard_map", 4)
    alone, alone_losses = after_training(prepared, "pmap", 1)
    jax.tree.map(np.testing.assert_array_equal, pmapped, sharded)
    assert pmapped_losses == sharded_losses
    for one, other in zip(
        jax.tree.leaves(pmapped), jax.tree.leaves(alone), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(pmapped_losses, alone_losses, rtol=1e-5)


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_spread_splits_what_has_a_device_axis_and_repeats_the_rest(kind):
    def function(state, shard, shared):
        total = jax.lax.psum(shard.sum(), AXIS)
        whole = state["whole"] + total * shared
        divided = state["divided"] + jax.lax.axis_index(AXIS)
        return {"whole": whole, "divided": divided}, local_share(jnp.arange(8))

    flags = {"whole": False, "divided": True}
    run = spread(function, kind, (flags, True, False), (flags, True), 4)
    state = {"whole": np.float32(2.0), "divided": np.zeros((4, 3), np.int32)}
    shards = np.arange(4 * 3).reshape(4, 3)
    state, shares = run(lay(state, flags, 4), shards, np.float32(10.0))
    assert float(state["whole"]) == 2.0 + 66 * 10.0
    number = np.repeat(np.arange(4), 3).reshape(4, 3)
    np.testing.assert_array_equal(state["divided"], number)
    np.testing.assert_array_equal(shares, [[0, 1], [2, 3], [4, 5], [6, 7]])
