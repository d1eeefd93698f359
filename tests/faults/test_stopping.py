"""Rows 6 to 9: figures that are no numbers, signals, and two trainings in one folder."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ancf_jax import data
from ancf_jax.data import TEST
from ancf_jax.runs import load
from ancf_jax.training.fit import fit
from ancf_jax.training.validation import Validator
from ancf_jax.view import Silent

REPOSITORY = Path(__file__).resolve().parents[2]


# Many steps an epoch; and one, whose loss is still a number.
@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (8, "the training loss is not a number at epoch 1, by step "),
        (4096, "the validation loss is nan with learning rate 1e+30"),
    ],
)
def test_row_06_a_loss_that_is_no_number_ends_the_run_and_is_never_saved(
    flags, tmp_path, leave, batch, words
):
    sgd = [
        "--optim.optimizer",
        "sgd",
        "--optim.schedule",
        "constant",
        "--optim.learning-rate",
        "1e30",
        "--loop.metric",
        "auto",
    ]
    run = tmp_path / "run"
    code, _, err = leave(
        "train", *flags, *sgd, "--loop.batch-size", batch, "--run", run
    )
    assert code == 3
    assert words in err
    if batch == 8:
        assert (
            "of batches of 8 with learning rate 1e+30; lower --optim.learning-rate"
            in err
        )
    saved = [path.name for path in (run / "checkpoints").iterdir()]
    assert saved == ["0"]  # the untrained model alone


def test_row_07_a_metric_that_is_nan_counts_as_the_lowest(tiny, tmp_path, monkeypatch):
    """Epochs 0 and 1 have metrics; patience ends two epochs after the better of them."""
    said: list[str] = []

    class Screen(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    def judge(*_: object, **__: object) -> dict[str, float]:
        epoch = sum(line.startswith("epoch ") for line in said)
        return {"loss": 1.0, "ndcg@10": {0: 0.25, 1: 0.5}.get(epoch, math.nan)}

    monkeypatch.setattr(Validator, "judge", judge)
    config = tiny("mf", epochs=9, loop__patience=2, run=str(tmp_path / "run"))
    fitted = fit(config, view=Screen())
    assert (fitted.epochs, fitted.score) == (3, 0.5)
    assert load(config.run, data.known_parts(TEST)).epoch == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_row_08_a_signal_saves_the_state_within_the_epoch(
    flags, tmp_path, number, code, started, until
):
    run = tmp_path / "run"
    rarely = ["--epochs", 999, "--loop.patience", 0, "--loop.checkpoint-every", 1000]
    argv = ["train.py", *flags, *rarely, "--run", run]
    with started(*argv) as training:
        until(training, "epoch   3 ")
        training.send_signal(number)
        err = training.stderr.read()
    assert training.returncode == code
    assert "stopping after the steps at hand" in err
    assert err.endswith(f"resume with the same command and --run {run} --resume\n")
    (within,) = (run / "checkpoints").glob("*+*")
    epoch, steps = within.name.split("+")
    assert f"saved after epoch {epoch} and {steps} steps, in " in err
    assert len((run / "metrics.jsonl").read_text().splitlines()) == int(epoch) + 1
    assert "Traceback" not in err


def test_row_08_a_signal_before_the_first_step_leaves_a_folder_to_go_on_with(
    flags, tmp_path, started, until, leave
):
    """While programs are compiled for the first epoch."""
    run = tmp_path / "run"
    with started("train.py", *flags, "--run", run) as training:
        until(training, "13 users, ")
        training.send_signal(signal.SIGTERM)
        err = training.stderr.read()
    assert training.returncode == 143
    assert err.endswith(f"resume with the same command and --run {run} --resume\n")
    assert "Traceback" not in err
    code, _, err = leave("train", *flags, "--epochs", 1, "--run", run, "--resume")
    assert code == 0, err


def test_row_08_a_second_signal_ends_the_process_at_once():
    code = """
import os, signal
from ancf_jax import cli
with cli.stopped_by_signals("go on later"):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here")
"""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGTERM
    assert done.stdout == b""


def test_row_09_a_second_training_is_refused_until_the_first_is_killed(
    flags, tmp_path, started, until, leave
):
    run = tmp_path / "run"
    flags = [*flags, "--loop.patience", "0", "--run", str(run)]
    with started("train.py", *flags, "--epochs", 999) as training:
        until(training, "epoch   2 ")  # and epoch 1 is saved
        training.send_signal(signal.SIGSTOP)
        code, _, err = leave("train", *flags, "--epochs", 2, "--resume")
        assert code == 2
        assert (
            f'process {training.pid} trains in "{run}"; wait, or choose another --run'
            in err
        )
        training.kill()
    code, _, err = leave("train", *flags, "--epochs", 2, "--resume")
    assert code == 0, err
    assert "resuming after epoch " in err
