"""The flag for the same bits on a GPU reaches XLA before JAX starts a backend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ancf_jax.machine.determinism import FLAG, make_deterministic

REPOSITORY = Path(__file__).resolve().parents[2]

# XLA ends a process whose flags it does not know: so what it says shows when it reads them, and
# that it knows ours.
CODE = """
import os, sys
import jax
import train

def work(command, undecided, screen):
    print(os.environ.get("XLA_FLAGS"), flush=True)
    os.environ["XLA_FLAGS"] += " --xla_no_such_flag=true"
    jax.devices()

train.train = work
train.main(sys.argv[1:], None)
"""


def after(*flags: str) -> subprocess.CompletedProcess[str]:
    """What train.py leaves for the first use of a device, and what XLA says to it."""
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=3",
    }
    command = [sys.executable, "-c", CODE, *flags]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )


def test_the_flag_reaches_xla_before_a_backend_starts():
    done = after("--deterministic")
    before = "--xla_force_host_platform_device_count=3"
    assert done.stdout == f"{before} {FLAG}\n"
    assert done.returncode != 0
    (line,) = [text for text in done.stderr.splitlines() if "Unknown flag" in text]
    assert "--xla_no_such_flag=true" in line
    assert FLAG not in line


def test_without_it_the_flags_stay_as_they_are():
    assert after().stdout == "--xla_force_host_platform_device_count=3\n"


@pytest.mark.parametrize(
    ("flags", "expected"), [("", FLAG), ("--xla_a=1", f"--xla_a=1 {FLAG}")]
)
def test_other_flags_stay_in_front(monkeypatch, flags, expected):
    monkeypatch.setenv("XLA_FLAGS", flags)
    make_deterministic()
    assert os.environ["XLA_FLAGS"] == expected
