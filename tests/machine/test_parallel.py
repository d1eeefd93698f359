"""One step spread over devices: however it is spread, the same parameters come out."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data import dataset as data
from ancf_jax.data.interactions import VALIDATION
from ancf_jax.types import AXIS
from ancf_jax.runs import build_model
from ancf_jax.training.loop import trainer
from ancf_jax.machine.parallel import device_count, lay, local_share, spread

EPOCHS, BATCH = 3, 8
# With Adam the bias of a softmax, whose gradient is rounding error alone, would be scaled up to whole steps.
SURE = {
    "network__dropout": 0.0,
    "network__user_dropout": 0.0,
}  # each device draws what it drops by itself
CASES = {"mf": {"optim__optimizer": "adam"}, "ancf": {"optim__optimizer": "sgd"} | SURE}
PRIMES = {
    "mf": 67,
    "ancf": 19,
}  # 3 examples remain for the last step of 8: shards of 2, 1, 0 and 0


@pytest.fixture
def optimised():
    """Programs are compiled as people run them: rewriting them is where two ways of spreading could part."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module", params=CASES)
def prepared(request, tiny):
    """A model, its log and its catalogue, and a prime number of examples."""
    config = tiny(
        request.param, epochs=EPOCHS, loop__batch_size=BATCH, **CASES[request.param]
    )
    dataset = data.build(config)
    log, catalogue = (
        data.event_log(dataset, data.known_parts(VALIDATION)),
        data.catalogue(dataset),
    )
    return (
        config,
        build_model(config, dataset),
        log,
        catalogue,
        19 if config.model == "ancf" else 67,
    )


def after_training(prepared, kind: str, devices: int):
    config, model, log, catalogue, prime = prepared
    config = dataclasses.replace(
        config, loop=dataclasses.replace(config.loop, spread=kind)
    )
    made = trainer(config, model, log, catalogue, devices)
    assert len(made.examples) >= prime
    made = dataclasses.replace(made, examples=made.examples[:prime])
    state, losses = made.initial_state(), []
    for epoch in range(EPOCHS):
        for reached, step in made.epoch(state, epoch):
            state = reached
            losses.append(step.loss)
    assert int(state.step) == EPOCHS * -(-prime // BATCH)
    return jax.device_get(state), losses


def test_however_a_step_is_spread_the_parameters_are_the_same(prepared, request):
    if prepared[0].model == "mf":
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
        divided = state["divided"] + jax.lax.axis_index(AXIS)
        return {
            "whole": state["whole"] + total * shared,
            "divided": divided,
        }, local_share(jnp.arange(8))

    flags = {"whole": False, "divided": True}
    run = spread(function, kind, (flags, True, False), (flags, True), 4)
    state = lay(
        {"whole": np.float32(2.0), "divided": np.zeros((4, 3), np.int32)}, flags, 4
    )
    state, shares = run(state, np.arange(4 * 3).reshape(4, 3), np.float32(10.0))
    assert float(state["whole"]) == 2.0 + 66 * 10.0
    np.testing.assert_array_equal(
        state["divided"], np.repeat(np.arange(4), 3).reshape(4, 3)
    )
    np.testing.assert_array_equal(shares, [[0, 1], [2, 3], [4, 5], [6, 7]])
