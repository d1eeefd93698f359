"""Models trained in bfloat16: state, loss and scores stay float32, and ranking computes in it."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.data import VALIDATION
from ancf_jax.machine import precision
from ancf_jax.prepared import prepare
from ancf_jax.training.loop import trainer
from ancf_jax.training.validation import validator_of


def after_an_epoch(tiny, model: str, asked: str):
    config = tiny(model, loop__precision=asked)
    prepared = prepare(config, data.build(config), data.known_parts(VALIDATION))
    made = trainer(prepared, devices=1)
    *_, (state, report) = made.epoch(made.initial_state(), 0)
    return made, jax.device_get(made.states.portable(state)), report


@pytest.mark.parametrize("model", ["ancf", "neumf", "engagement"])
def test_bfloat16_moves_float32_parameters_nearly_as_float32_does(tiny, model):
    _, exact, exact_report = after_an_epoch(tiny, model, "float32")
    made, short, report = after_an_epoch(tiny, model, "bfloat16")
    assert made.program.model.module.dtype == jnp.bfloat16
    assert made.model.module.dtype == jnp.float32
    assert validator_of(made).ranker.model.module.dtype == jnp.float32
    assert report.loss_sum == pytest.approx(exact_report.loss_sum, rel=0.02)
    assert report.loss_sum != exact_report.loss_sum
    for found, expected in zip(
        jax.tree.leaves(short), jax.tree.leaves(exact), strict=True
    ):
        assert found.dtype == expected.dtype != jnp.bfloat16
        assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("asked", "said"),
    [("float32", "HIGHEST"), ("tf32", "HIGH"), ("bfloat16", "HIGH")],
)
def test_a_step_on_an_accelerator_multiplies_as_asked(tiny, monkeypatch, asked, said):
    monkeypatch.setattr(precision, "backend", lambda: "gpu")
    config = tiny("neumf", loop__precision=asked)
    prepared = prepare(config, data.build(config), data.known_parts(VALIDATION))
    text = trainer(prepared, devices=1).lowered().as_text()
    found = set(re.findall(r"precision = \[(\w+), (\w+)\]", text))
    assert found == {(said, said)}
