"""A small run as the scripts make it, copies of it to be damaged, and small shops."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import pytest

from ancf_jax import cli

REPOSITORY = Path(__file__).resolve().parents[2]
# The last epoch is the best, so that lists show whether a run ends as another did.
FLAGS = (
    "--model mf --epochs 3 --loop.batch-size 16 --loop.metric last --network.embedding-size 3 "
    "--objective.negatives 3 --split.kind leave_one_out"
)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes longer than training here."""
    monkeypatch.setattr("ancf_jax.training.fit.draw_curves", lambda rows, path: None)


@pytest.fixture(scope="session")
def flags(planted_shop) -> list[str]:
    """What train.py is called with for `trained`, but for the folder of the run."""
    return ["--data", str(planted_shop), *FLAGS.split()]


@pytest.fixture(scope="session")
def trained(flags, tmp_path_factory) -> Path:
    """A run of `mf` with the checkpoints of epochs 2 and 3, that nothing disturbed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with cli.Screen() as screen:
        import_module("train").main([*flags, "--run", str(folder)], screen)
    return folder


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    """A copy of `trained` that may be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def lists(leave, tmp_path) -> Callable[[Path], bytes]:
    """lists(run): what recommend.py writes, items with their scores."""

    def written(run: Path) -> bytes:
        path = tmp_path / "lists.csv"
        code, _, err = leave("recommend", "--run", run, "--top-n", 5, "--out", path)
        assert code == 0, err
        return path.read_bytes()

    return written


@pytest.fixture
def started() -> Callable[..., subprocess.Popen[str]]:
    """started(*argv): a Python process in the repository, its standard error to be read."""

    def start(*argv: object) -> subprocess.Popen[str]:
        words = [sys.executable, *map(str, argv)]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        return subprocess.Popen(
            words,
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def until() -> Callable[[subprocess.Popen[str], str], None]:
    """until(process, words): waits for a line of its standard error that holds these words."""

    def wait(process: subprocess.Popen[str], words: str) -> None:
        assert process.stderr is not None
        line = ""
        while words not in line:
            line = process.stderr.readline()
            assert line, f"it left before it said {words}"

    return wait


@pytest.fixture
def shop(tmp_path) -> Callable[..., Path]:
    """shop(rows, header): a file of events."""

    def written(rows: Sequence[str], header: str = "user_id,item_id,timestamp") -> Path:
        path = tmp_path / "events.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    return written


@pytest.fixture(scope="session")
def plain_rows() -> list[str]:
    """Events of 13 shoppers with 23 products, one a day each, at distinct times."""
    return [
        f"u{user:02d},p{(3 * user + event * event) % 23:02d},{1_700_000_000 + 86_400 * event + user}"
        for event in range(7)
        for user in range(13)
    ]
