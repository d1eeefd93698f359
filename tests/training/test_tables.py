"""Tables updated by row: where that equals the dense update, and what travels between devices."""

from __future__ import annotations

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ancf_jax.config import default_config, override
from ancf_jax.data import dataset as data
from ancf_jax.data.interactions import VALIDATION
from ancf_jax.models import build
from ancf_jax.runs import build_model
from ancf_jax.training.loop import trainer
from ancf_jax.machine.parallel import spread
from ancf_jax.training.tables import (
    EMPTY,
    FEW,
    pack,
    places,
    renumber,
    small_world,
    sparse_kinds,
    unpack,
)
from ancf_jax.types import Batch, Catalogue, EventLog, Request, Sizes

EXACT = {"sgd", "adagrad", "row_adagrad"}
MODELS = {
    "mf": {},
    "neumf": {},
    "engagement": {},
    "ancf": {"network__history": "candidate", "objective__loss": "bce"},
}


def train(
    tiny,
    tables: str,
    model: str = "mf",
    devices: int = 1,
    epochs: int = 2,
    batch: int = 8,
    **switches,
):
    """The trainer and its state after some epochs."""
    settings = {
        "loop__batch_size": batch,
        "optim__weight_decay": 0.0,
        "network__dropout": 0.0,
        "network__user_dropout": 0.0,
        "optim__schedule": "constant",
    }
    config = tiny(
        model, epochs=epochs, loop__tables=tables, **settings | MODELS[model] | switches
    )
    dataset = data.build(config)
    log, catalogue = (
        data.event_log(dataset, data.known_parts(VALIDATION)),
        data.catalogue(dataset),
    )
    made = trainer(config, build_model(config, dataset), log, catalogue, devices)
    made = dataclasses.replace(made, examples=made.examples[:67])
    state = made.initial_state()
    for epoch in range(epochs):
        for reached, _ in made.epoch(state, epoch):
            state = reached
    return made, jax.device_get(made.portable(state))


def close(one, other, tolerance: float = 1e-5) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in pairs)


@pytest.mark.parametrize("model", MODELS)
def test_sgd_by_row_is_dense_sgd(tiny, model):
    (_, dense), (made, sparse) = (
        train(tiny, kind, model, optim__optimizer="sgd") for kind in ("dense", "sparse")
    )
    assert made.step.kinds == ("user", "item")
    assert close(sparse, dense)


@pytest.mark.parametrize("optimizer", ["adagrad", "row_adagrad"])
def test_adagrad_by_row_is_dense_adagrad(tiny, optimizer):
    states = [
        train(tiny, kind, optim__optimizer=optimizer)[1] for kind in ("dense", "sparse")
    ]
    assert close(*states)


def test_clipping_sees_the_norm_of_the_whole_gradient(tiny):
    switches = {
        "optim__optimizer": "sgd",
        "optim__clip": 0.003,
        "optim__learning_rate": 3.0,
    }
    dense, sparse = (train(tiny, kind, **switches)[1] for kind in ("dense", "sparse"))
    assert close(sparse, dense)
    assert not close(
        sparse, train(tiny, "sparse", **switches | {"optim__clip": 0.0})[1], 1e-3
    )


def test_lazy_adam_leaves_untouched_rows_alone_and_is_dense_adam_where_every_row_is_touched_once(
    tiny,
):
    """After one step both agree; later, dense Adam goes on moving rows by their old moments."""
    start, one, other = (
        train(tiny, t, epochs=e, batch=8)
        for t, e in (("sparse", 0), ("sparse", 1), ("dense", 1))
    )
    assert not close(one[1].params, other[1].params, 1e-4)
    single = [train(tiny, kind, epochs=1, batch=67)[1] for kind in ("sparse", "dense")]
    assert int(single[0].step) == 1
    assert close(*single)
    untouched = (
        np.abs(np.asarray(optax.tree.get(single[1].opt_state, "mu")["user_table"])).sum(
            1
        )
        == 0
    )
    assert untouched.any()
    before, after = start[1].params["user_table"], single[0].params["user_table"]
    np.testing.assert_array_equal(
        np.asarray(before)[untouched], np.asarray(after)[untouched]
    )


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
@pytest.mark.parametrize("tables", ["sparse", "divided"])
def test_four_devices_with_a_table_each_or_a_share_of_it_equal_one(tiny, tables, kind):
    """13 users and 23 items: the shares of four devices are padded."""
    made, found = train(
        tiny, tables, "neumf", devices=4, loop__spread=kind, optim__optimizer="adam"
    )
    _, alone = train(tiny, "sparse", "neumf", optim__optimizer="adam")
    shapes = jax.tree.map(jnp.shape, (alone.params, alone.opt_state))
    assert jax.tree.map(jnp.shape, (found.params, found.opt_state)) == shapes
    assert close(found, alone)
    held = (
        made.initial_state().rows["user"].addressable_data(0)
    )  # the table of width 11, and two moments: 33
    assert held.shape == ((1, 4, 40) if tables == "divided" else (13, 40))


def test_a_divided_state_goes_on_with_another_number_of_devices(tiny):
    four, state = train(tiny, "divided", devices=4, epochs=1)
    one, alone = train(tiny, "divided", devices=1, epochs=1)
    placed = [
        jax.device_get(made.portable(made.place(s)))
        for made, s in ((one, state), (four, alone))
    ]
    jax.tree.map(np.testing.assert_array_equal, placed[0], state)
    jax.tree.map(np.testing.assert_array_equal, placed[1], alone)


def test_what_belongs_to_a_user_lies_in_one_row():
    tree = {
        "user_table": np.arange(65.0).reshape(13, 5),
        "bias": np.ones(3),
        "moments": (np.arange(13.0)[:, None] + 70,),
    }
    kinds = {"user_table": "user", "bias": "", "moments": ("user",)}
    empty, rows = pack(kinds, tree)
    assert jax.tree.map(jnp.shape, empty) == {
        "user_table": (0, 5),
        "bias": (3,),
        "moments": ((0, 1),),
    }
    assert rows.keys() == {"user"}
    assert sorted(rows["user"][11].tolist()) == [
        0,
        0,
        55,
        56,
        57,
        58,
        59,
        81,
    ]  # padded to eight
    jax.tree.map(np.testing.assert_array_equal, unpack(kinds, empty, rows), tree)


def test_rows_of_nobody_and_of_other_devices_are_just_beyond_the_table():
    """Three devices hold seven rows each; the second one has 7 to 13."""
    rows = np.array([3, 7, 13, 14, EMPTY], np.int32)
    np.testing.assert_array_equal(places(rows, 13, divided=False), [3, 7, 13, 13, 13])
    found = spread(
        lambda _, rows: places(rows, 7, divided=True),
        "shard_map",
        (False, False),
        True,
        3,
    )(0, rows)
    np.testing.assert_array_equal(np.asarray(found)[1], [7, 0, 6, 7, 7])


def test_renumbering_finds_each_id_and_keeps_nobody():
    ids = np.array([[7, 3, 7], [-1, 9, 3]]), np.array([3, 11, -1, 2**30])

    def one(_, ids):
        return renumber(list(ids))

    rows, places = spread(one, "shard_map", (False, True), (False, False), 1)(
        0, tuple(x[None] for x in ids)
    )
    for given, place in zip(ids, places, strict=True):
        known = given >= 0
        np.testing.assert_array_equal(
            np.asarray(rows)[np.asarray(place)[known]], given[known]
        )
        np.testing.assert_array_equal(np.asarray(place)[~known], -1)
    kept = np.asarray(rows)[np.asarray(rows) != EMPTY]
    np.testing.assert_array_equal(kept, [3, 7, 9, 11, 2**30])


def test_the_catalogue_of_a_small_world_says_of_an_item_what_the_whole_one_does():
    model = build(
        default_config("mf"), Sizes(13, 23, 1, (("tag", 23),), ()), clock=False
    )
    tags, counts = (
        {"tag": np.arange(23)[:, None]},
        (np.arange(23) + 0.5, np.ones(()), np.ones(())),
    )
    whole = Catalogue(tags, {}, *counts, np.arange(23 * 4).reshape(23, 2, 2) ** 2.0)
    token, group, few = (
        np.array([[5, -1], [11, 5]]),
        np.array([[22, 3], [3, 11]]),
        np.zeros(2, np.int32),
    )
    batch = Batch(Request(few, few, few, few, token, token, token), few, few, few, few)

    def one(_, group):
        world = small_world(model, ("item",), whole, batch, (group,))
        return world.catalogue, world.batch.request.token, world.groups[0]

    small, *numbered = spread(
        one, "shard_map", (False, True), (False, False, False), 1
    )(0, group[None])
    for given, place in zip((token, group), map(np.asarray, numbered), strict=True):
        known = given >= 0
        for large, gathered in zip(
            jax.tree.leaves(whole), jax.tree.leaves(small), strict=True
        ):
            if np.ndim(large) and len(
                large
            ):  # followers are empty here: `build` leaves them to dense tables
                np.testing.assert_array_equal(
                    np.asarray(gathered)[place[known]], large[given[known]]
                )


def test_the_rule_of_auto():
    def kinds(users: int, items: int, tables: str = "auto", loss: str = "bce"):
        model = build(default_config("mf"), Sizes(users, items, 1, (), ()), clock=False)
        return sparse_kinds(model, tables, loss, {"user": 100, "item": 50_000})

    assert kinds(FEW, 4 * 50_000) == ()
    assert kinds(FEW + 1, 4 * 50_000 + 1) == ("user", "item")
    assert kinds(FEW + 1, 10**9, loss="softmax") == ("user",)
    assert kinds(5, 7, "sparse") == ("user", "item")
    assert kinds(10**9, 10**9, "dense") == ()


BYTES = {"f32": 4, "s32": 4, "u32": 4, "pred": 1}


def collective_bytes(program: str) -> int:
    """Bytes that come out of the collectives of a compiled program."""
    total = 0
    for line in program.splitlines():
        if re.search(
            r"= .*(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(-start)?\(",
            line,
        ):
            results = line.split("= ", 1)[1].split("all-")[0]
            for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", results):
                total += BYTES[kind] * math.prod(int(n) for n in shape.split(",") if n)
    return total


def step_bytes(tiny, tables: str, rows: int, batch: int) -> int:
    """Collective bytes of the compiled steps of `mf` of width 5 with `rows` users and items, on four devices."""
    config = override(
        tiny("mf", loop__tables=tables),
        {"loop.batch_size": batch, "objective.negatives": 3},
    )
    event = np.zeros(batch, np.int32)
    start = np.full(rows + 1, batch, np.int32)
    start[0] = 0
    log = EventLog(
        event,
        event,
        event,
        event * 1.0,
        event,
        event * 1.0,
        event,
        event * 1.0,
        start,
        event,
        start,
        np.arange(rows),
    )
    catalogue = Catalogue({}, {}, np.ones(rows, np.float32))
    model = build(config, Sizes(rows, rows, 1, (), ()), clock=False)
    made = trainer(config, model, log, catalogue, 4)
    examples = np.zeros((4, 1, batch // 4), np.int32)
    run = made.run if hasattr(made.run, "lower") else jax.jit(made.run)
    lowered = run.lower(
        made.initial_state(),
        examples,
        np.int32(1),
        made.log,
        made.catalogue,
        jax.random.PRNGKey(0),
    )
    return collective_bytes(lowered.compile().as_text())


@pytest.mark.parametrize("tables", ["sparse", "divided"])
def test_what_devices_tell_each_other_grows_with_the_batch_and_not_with_the_tables(
    tiny, tables
):
    small, large = step_bytes(tiny, tables, 211, 8), step_bytes(tiny, tables, 21_101, 8)
    assert small == large
    touched = 8 + 8 * (1 + 3)
    assert 4 * touched * 6 <= large <= 3 * 4 * touched * 8
    assert 1.5 < step_bytes(tiny, tables, 211, 16) / small < 2.5
    assert step_bytes(tiny, "dense", 21_101, 8) > 100 * large
