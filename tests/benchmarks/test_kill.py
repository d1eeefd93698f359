"""Killing: what ends otherwise than the straight run is counted; a small run passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.kill import killed

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """One that ends at once with a code."""

    def __init__(self, code: int):
        self.exitcode = code

    def join(self, seconds: float | None = None) -> None:
        pass

    def kill(self) -> None:
        pass

    terminate = kill


class Work:
    """Work that leaves what it is told to, beside what is expected of it."""

    seconds = 0.0
    expected = ("last", "metrics")

    def __init__(self, left: object, code: int = 0):
        self.left = left
        self.code = code
        self.resumed: list[bool] = []

    def start(self, folder: Path, resume: bool = False) -> Process:
        self.resumed.append(resume)
        return Process(self.code)

    def left_in(self, folder: Path) -> object:
        return self.left


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (Work(("last", "metrics")), "equal"),
        (Work(("last", "other metrics")), "differs"),
        (Work(("last", "metrics"), code=1), "exit 1"),
        (Work(("last", "metrics"), code=-9), "exit -9"),
    ],
)
def test_outcomes(work, expected, tmp_path):
    assert killed(work, tmp_path, np.random.default_rng(0)) == expected
    assert work.resumed[0] is False
    assert 1 <= sum(work.resumed) <= 3


def test_a_killed_run_ends_like_the_straight_one():
    found = subprocess.run(
        [sys.executable, "benchmarks/kill.py", "--kills", "1", "--kinds", "dense"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "| dense | 1 |" in found.stdout
    assert "1 in all, 0 wrong (differs)" in found.stdout
    assert "s a kill" in found.stdout
