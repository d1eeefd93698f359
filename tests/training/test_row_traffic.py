"""What devices tell each other in a step: it does not grow with the tables updated by row."""

from __future__ import annotations

import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.config import override
from ancf_jax.models.registry import build
from ancf_jax.prepared import Prepared
from ancf_jax.training.loop import trainer
from ancf_jax.types import Catalogue, EventLog, Sizes
from benchmarks.compiled_text import kernels, read_program, told


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
    text = made.lowered().compile().as_text()
    found = told(kernels(read_program(text or "")))
    return sum(size for _, size in found.values())


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
