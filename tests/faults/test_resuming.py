"""Rows 10 to 12: a run that goes on with other devices, other settings or other data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ancf_jax.training import loop
from ancf_jax.training.fit import fit
from ancf_jax.view import Silent


class Said(Silent):
    """A view that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (16, "4 devices share batches of 16 as before, no longer 2"),
        (6, "4 devices share batches of 8, no longer of 6, no longer 2"),
    ],
)
def test_row_10_other_devices_go_on_and_it_is_told(
    tiny, tmp_path, monkeypatch, batch, words
):
    config = tiny("mf", epochs=2, loop__batch_size=batch, optim__schedule="constant")
    straight = replace(config, run=str(tmp_path / "straight"))
    fit(straight)
    moved = replace(config, run=str(tmp_path / "moved"))
    with monkeypatch.context() as two:
        two.setattr(loop, "device_count", lambda: 2)
        fit(replace(moved, epochs=1))
    view = Said()
    fit(moved, resume=True, view=view)
    assert f"resuming after epoch 1; {words}" in view.lines
    if batch == 16:
        np.testing.assert_allclose(losses(moved), losses(straight), rtol=1e-4)
    view = Said()
    fit(replace(moved, epochs=3), resume=True, view=view)
    assert "resuming after epoch 2" in view.lines


def losses(config) -> list[float]:
    lines = (Path(config.run) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["validation_loss"] for line in lines]


def test_row_11_other_settings_are_listed_and_refused(flags, copied, leave):
    resume = ["train", *flags, "--run", copied, "--resume"]
    before = (copied / "config.json").read_bytes()
    changes = ["--network.embedding-size", 4, "--split.kind", "ratio", "--epochs", 4]
    code, _, err = leave(*resume, *changes)
    assert code == 2
    assert "network.embedding_size 3 -> 4" in err
    assert "split.kind leave_one_out -> ratio" in err
    assert "epochs" not in err
    assert (copied / "config.json").read_bytes() == before
    code, _, err = leave(*resume, "--epochs", 4, "--loop.checkpoint-every", 2)
    assert code == 0, err
    assert json.loads((copied / "config.json").read_bytes())["epochs"] == 4


@pytest.mark.parametrize("model", ["popularity", "mf"])
def test_row_12_other_data_is_refused_and_the_run_stays_as_it_was(
    planted_shop, tmp_path, leave, model
):
    shop = Path(shutil.copytree(planted_shop, tmp_path / "shop"))
    run = tmp_path / "run"
    flags = [
        "--data",
        shop,
        "--model",
        model,
        "--run",
        run,
        "--split.kind",
        "leave_one_out",
    ]
    if model == "mf":
        flags += ["--epochs", 0]
    code, _, err = leave("train", *flags)
    assert code == 0, err
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with (shop / "interactions.csv").open("a") as events:
        events.write("u00,p01,1700000000,5,1,1,1,view\n")
    code, _, err = leave("train", *flags, "--resume")
    assert code == 2
    assert "was made from other data; use the same, or another --run" in err
    for path, content in files.items():
        assert path.read_bytes() == content, path
    code, _, err = leave("recommend", "--run", run, "--users", "u03")
    assert code == 0, err
