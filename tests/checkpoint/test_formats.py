"""Runs of earlier versions open, and recommend what they did; those of later versions are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from ancf_jax.checkpoint import open_run
from ancf_jax.checkpoint.record import FORMAT, READABLE, Record, sealed
from ancf_jax.errors import UserError
from ancf_jax.recommender import load_recommender
from ancf_jax.training.fit import fit

RUNS = Path(__file__).resolve().parents[1] / "fixtures" / "runs"


def copy_of(number: int, folder: Path) -> Path:
    run = folder / f"format_{number}"
    shutil.copytree(RUNS / run.name, run)
    return run


def record_of(checkpoint: Path) -> Path:
    return checkpoint / "info" / "metadata"


@pytest.mark.parametrize("number", READABLE)
def test_a_run_of_an_earlier_version_recommends_what_it_did(number, tmp_path):
    """Every format that is said to be readable has a run here."""
    run = copy_of(number, tmp_path)
    for checkpoint in (run / "checkpoints").iterdir():
        saved = json.loads(record_of(checkpoint).read_text())["record"]
        assert saved["format"] == number
    recommender = load_recommender(run)
    found = recommender.recommend(recommender.users_of(("all",)), 5)
    expected = pd.read_csv(RUNS / f"format_{number}.csv", dtype={"user_id": str})
    assert len(expected) == 13 * 5
    for name in ("user_id", "rank", "item_id"):
        assert found[name].tolist() == expected[name].tolist()
    for name in ("score", "probability"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("number", READABLE)
def test_training_goes_on_with_a_run_of_an_earlier_version(number, tmp_path):
    run = copy_of(number, tmp_path)
    saved = open_run(run).config
    shutil.copy(RUNS / "events.csv", tmp_path)
    done = max(open_run(run).epochs())
    changes = {"run": str(run), "epochs": done + 1}
    config = type(saved)(**{**vars(saved), **changes})
    assert config.data == "events.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        fitted = fit(config, resume=True)
    assert fitted.epochs == done + 1
    rows = [row["epoch"] for row in open_run(run).read_metrics()]
    assert rows == list(range(done + 2))


def test_a_run_of_a_later_version_is_refused(tmp_path):
    run = copy_of(FORMAT, tmp_path)
    for checkpoint in (run / "checkpoints").iterdir():
        saved = json.loads(record_of(checkpoint).read_text())["record"]
        later = Record(**{**saved, "format": FORMAT + 1})
        record_of(checkpoint).write_text(json.dumps(sealed(later)))
    before = [path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()]
    problem = rf"has format {FORMAT + 1}, expected at most {FORMAT}; use the version"
    with pytest.raises(UserError, match=problem):
        load_recommender(run)
    with pytest.raises(UserError, match=problem):
        open_run(run).restore_best({"x": jax.ShapeDtypeStruct((), np.float32)})
    after = [path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()]
    assert after == before


def test_the_runs_stay_small():
    files = [path for path in RUNS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 150_000
