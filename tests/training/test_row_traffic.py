"""What devices tell each other in a step: it does not grow with the tables updated by row."""

from __future__ import annotations

import math
import re

import jax
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.config import override
from ancf_jax.models.registry import build
from ancf_jax.prepared import Prepared
from ancf_jax.training.loop import trainer
from ancf_jax.types import Catalogue, EventLog, Sizes

BYTES = {"f32": 4, "s32": 4, "u32": 4, "pred": 1}
COLLECTIVE = re.compile(
    r"= .*(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(-start)?\("
)


def collective_bytes(program: str) -> int:
    """Bytes that come out of the collectives of a compiled program."""
    total = 0
    for line in program.splitlines():
        if COLLECTIVE.search(line):
            results = line.split("= ", 1)[1].split("all-")[0]
            for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", results):
                total += BYTES[kind] * math.prod(int(n) for n in shape.split(",") if n)
    return total


def log_of_first_user(events: int, users: int) -> EventLog:
    """The first of some users has all events, the same one again and again."""
    integers = np.zeros(events, np.int32)
    floats = np.zeros(events)
    start = np.full(users + 1, events, np.int32)
    start[0] = 0
    return EventLog(
        user=integers,
        item=integers,
        minute=integers,
        value=floats,
        kind=integers,
        mean_dwell=floats,
        prior_kind=integers,
        prior_dwell=floats,
        start=start,
        seen_item=integers,
        seen_start=start,
        number=np.arange(users),
    )


def step_bytes(tiny, tables: str, rows: int, batch: int) -> int:
    """Collective bytes of a step of `mf` of width 5 on four devices; `rows` users and items."""
    config = override(
        tiny("mf", loop__tables=tables),
        {"loop.batch_size": batch, "objective.negatives": 3},
    )
    prepared = Prepared(
        config=config,
        dataset=data.build(config),  # not read
        model=build(config, Sizes(rows, rows, 1, (), ()), clock=False),
        log=log_of_first_user(batch, rows),
        catalogue=Catalogue({}, {}, np.ones(rows, np.float32)),
    )
    made = trainer(prepared, devices=4)
    lowered = made.run.lower(
        made.initial_state(),
        np.zeros((4, 1, batch // 4), np.int32),
        np.int32(1),
        made.feed.log,
        made.catalogue,
        jax.random.PRNGKey(0),
    )
    return collective_bytes(lowered.compile().as_text())


@pytest.mark.parametrize("tables", ["sparse", "divided"])
def test_what_devices_tell_each_other_grows_with_the_batch_and_not_with_the_tables(
    tiny, tables
):
    small = step_bytes(tiny, tables, 211, 8)
    large = step_bytes(tiny, tables, 21_101, 8)
    assert small == large
    touched = 8 + 8 * (1 + 3)
    assert 4 * touched * 6 <= large <= 3 * 4 * touched * 8
    assert 1.5 < step_bytes(tiny, tables, 211, 16) / small < 2.5
    assert step_bytes(tiny, "dense", 21_101, 8) > 100 * large
