"""The examples: what a person can add from a script of their own, without touching the library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ancf_jax.errors import UserError
from ancf_jax.models.registry import default_config, from_json

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = {"own_attention.py": 40, "own_model.py": 60}


@pytest.mark.parametrize("name", MAX_LINES)
def test_an_example_trains_evaluates_and_stays_short(name, planted_shop, tmp_path):
    script = ROOT / "examples" / name
    assert len(script.read_text(encoding="utf-8").splitlines()) <= MAX_LINES[name]
    command = [sys.executable, str(script), str(planted_shop), str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    label, value = done.stdout.split()[:2]
    assert label == "ndcg@10"
    assert 0.05 < float(value) <= 1


def test_a_model_that_is_not_registered_is_refused_by_name():
    with pytest.raises(
        UserError, match=r'no model "ancf-meen" .*; choose one of ancf, .*register'
    ):
        default_config("ancf-meen")
    with pytest.raises(UserError, match='no model "last-item"'):
        from_json('{"model": "last-item"}')
