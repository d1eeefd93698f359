"""The memory of reading a clean Parquet file, in a process of its own: at most 5 times the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    sys.platform != "linux", reason="Linux alone tells the peak of memory"
)
@pytest.mark.parametrize("ids", ["numbers", "texts"])
def test_reading_takes_at_most_five_times_the_file(ids):
    words = [
        sys.executable,
        "-m",
        "benchmarks.worker",
        "benchmarks.workloads",
        "reading",
    ]
    words += ["by=ours", f"ids={ids}", "events=2000003"]
    done = subprocess.run(
        words,
        input="go\n",
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert 15 < found["file in MiB"] < 25
    assert found["file in MiB"] < found["growth in MiB"] < 5 * found["file in MiB"]
