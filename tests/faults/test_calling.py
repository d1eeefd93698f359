"""Rows 31 to 33: typos, poor surroundings, and sizes that do not go together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from ancf_jax import cli

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--optim.learning-rat", "0.1"], "--optim.learning-rate"),
        (["--model", "neumff"], 'no model "neumff" (did you mean "neumf"?)'),
        (["--loop.metric", "ndgc@10"], "ndcg@10"),
        (["--epochs", "many"], "epochs"),
        (["--seed", "-1"], "--seed is -1, expected from 0 to 4294967295"),
        (["@presets/ml-1m.flags"], 'the preset "presets/ml-1m.flags" cannot be read'),
    ],
)
def test_row_31_a_typo_is_named_before_data_is_read(leave, tmp_path, argv, words):
    run = tmp_path / "run"
    code, out, err = leave("train", "--data", "nowhere", "--run", run, *argv)
    assert (code, out) == (2, "")
    assert words in err
    assert "nowhere" not in err
    assert "Traceback" not in err
    assert not run.exists()


@pytest.mark.parametrize("output", ["utf-8", "latin-1"])
def test_row_32_poor_surroundings_do(shop, plain_rows, tmp_path, output):
    """No home, no language, no terminal, blanks in paths, and output that knows few letters."""
    folder = tmp_path / "a shop, née so"
    folder.mkdir()
    events = shop([row.replace("p", "品") for row in plain_rows]).rename(
        folder / "my events.csv"
    )
    kept = {
        name: x
        for name, x in os.environ.items()
        if not name.startswith(("LC_", "LANG", "XDG"))
    }
    environment = kept | {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONIOENCODING": output,
        "LC_ALL": "C",
        "HOME": os.devnull,
        "TERM": "dumb",
    }

    def called(*argv: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, argv)],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        return done.stdout.decode(output)

    flags = ["--model", "popularity", "--split.kind", "leave_one_out"]
    run = folder / "a run"
    assert "ndcg@10" in called("train.py", "--data", events, "--run", run, *flags)
    shown = called("recommend.py", "--run", run, "--users", "u03", "--top-n", 3)
    assert shown.count("品" if output == "utf-8" else "\\u54c1") == 3


def test_row_33_lists_are_at_most_as_long_as_the_catalogue(trained, leave, tmp_path):
    out = tmp_path / "lists.csv"
    asked = ["recommend", "--run", trained, "--keep-seen", "--out", out]
    code, _, err = leave(*asked, "--top-n", 10**9)
    assert code == 0, err
    assert (pd.read_csv(out).groupby("user_id").size() == 23).all()


@pytest.mark.parametrize(
    "sizes",
    [
        ["--loop.batch-size", 4096],  # more than there are events
        ["--loop.batch-size", 7],  # which four devices do not divide
        ["--epochs", 0],
    ],
)
def test_row_33_sizes_that_do_not_go_together_train(flags, tmp_path, leave, sizes):
    run = tmp_path / "run"
    code, out, err = leave("train", *flags, "--epochs", 1, *sizes, "--run", run)
    assert code == 0, err
    assert "ndcg@10" in out


@pytest.mark.parametrize("place", ["device", "host"])
def test_row_33_running_out_of_memory_is_one_sentence(place, monkeypatch, capsys):
    """Of a GPU where there is one."""

    def main(_argv: list[str], _screen: cli.Screen) -> None:
        shape = (2**30, 2**30)
        if place == "host":
            np.zeros(shape, np.uint8)
        jax.numpy.zeros(shape, np.uint8).block_until_ready()

    monkeypatch.setattr(sys, "argv", ["train.py"])
    with pytest.raises(SystemExit) as left:
        cli.run(main)
    err = capsys.readouterr().err
    assert left.value.code == 2
    assert "Traceback" not in err
    assert re.search(r"^error: out of memory \(.*allocat.*\); lower --loop.batch-", err)
