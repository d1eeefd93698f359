"""A disk that is full: one sentence, whole, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ancf_jax.checkpoint.damage import reason

REPOSITORY = Path(__file__).resolve().parents[2]

# Twelve arrays of 1 MB, written at once, where no file can grow beyond 200 kB.
FULL = """
import resource, signal, sys, time
import jax
from ancf_jax.checkpoint import RunFolder
from ancf_jax.errors import UserError
from ancf_jax.models.registry import default_config
from ancf_jax.view import PRINTED

key = jax.random.key(0)
state = {f"table{n}": jax.random.normal(key, (512, 512)) for n in range(12)}
small = {"w": state["table0"][:7]}
config = default_config("mf")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with RunFolder.create(sys.argv[1], config, resume=False, view=PRINTED) as run:
    before = sys.unraisablehook
    assert run.save(1, small, {}, 0.0, {})
    assert sys.unraisablehook is before
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    for epoch in (2, 3, 4):
        assert not run.save(epoch, state, {}, 0.0, {})
    try:
        run.save(5, state, {}, 0.0, {}, final=True)
    except UserError as error:
        print(error)
    time.sleep(0.3)  # what writes late may report
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert run.save(5, state, {}, 0.0, {})
    assert run.epochs() == [1, 5]
with RunFolder.create(sys.argv[1], config, resume=True, view=PRINTED) as run:
    assert run.epochs() == [1, 5]
"""


def test_a_full_disk_is_told_in_one_sentence_each_time(tmp_path):
    run = tmp_path / "run"
    words = [sys.executable, "-c", FULL, str(run)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    *warnings, error = done.stdout.splitlines()
    problem = (
        rf'could not be written to "{run}": Failed to write \d+ bytes to file \d+: '
        "File too large"
    )
    kept = r"training goes on, kept are \[1\]"
    for epoch, line in zip((2, 3, 4), warnings, strict=True):
        assert re.fullmatch(f"WARNING: checkpoint {epoch} {problem}; {kept}", line)
    remedy = r"make room and --resume from \[1\]"
    assert re.fullmatch(f"checkpoint 5 {problem}; {remedy}", error)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"1", "5"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no such key", "no such key"),
        ("a: b [source='x']\nmore", "a: b"),
        (f'Error writing "{"x" * 160}": write: disk full [src]', "write: disk full"),
        ("y" * 200, "y" * 160),
        ("", "ValueError"),
    ],
)
def test_the_reason_is_made_of_whole_clauses(text, expected):
    assert reason(ValueError(text)) == expected
