"""Kills training and scoring at random moments: what is resumed ends like what was never killed.

    python benchmarks/kill.py --kills 200

Runs of several kinds (dense tables, tables by row, streamed, ancf, several devices) are killed by
SIGKILL, or stopped by SIGTERM, at a moment drawn from the time that a straight run takes, and
resumed until they end. Then the digests of all arrays of the last checkpoint and metrics.jsonl must
be those of the straight run; of scoring, the bytes of the file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ancf_jax.checkpoint import open_run
from ancf_jax.checkpoint.record import read_record
from ancf_jax.cli import Screen
from benchmarks.harm import leave, show_outcomes, write_shop

ROOT = Path(__file__).resolve().parents[1]
MOST_RESUMES = 3
SMALL = "--network.embedding-size 4 --loop.batch-size 4 --epochs 4 --split.kind leave_one_out"
KINDS = {
    "dense": f"--model mf {SMALL} --loop.tables dense",
    "by row": f"--model mf {SMALL} --loop.tables sparse",
    "streamed": f"--model mf {SMALL} --loop.stream 50",
    "ancf": f"--model ancf {SMALL} --network.mlp-size 4 --network.heads 2 --network.layers 1",
    "4 devices": f"--model mf {SMALL} --loop.tables divided",
    "scoring": "",
}


@dataclass(frozen=True)
class Command:
    """How often, and from which seed."""

    kills: int = 200
    """Kills in all, one after the other."""
    seed: int = 0
    """Of the moments."""


class Work:
    """Work of one kind that can be killed: its command, and what it leaves.

    Attributes:
        kind: of `KINDS`.
        shop: the data.
        run: a trained run, which scoring reads.
        straight: the folder of the work that is never killed.
        seconds: what that took.
        expected: what it left.
    """

    def __init__(self, kind: str, shop: Path, run: Path, straight: Path):
        self.kind = kind
        self.shop = shop
        self.run = run
        begin = time.monotonic()
        done = self.start(straight)
        done.wait()
        self.seconds = time.monotonic() - begin
        self.expected = self.left_in(straight)

    def start(self, folder: Path, resume: bool = False) -> subprocess.Popen[bytes]:
        """Begins the work in `folder`, or goes on with it."""
        words = [
            "train.py",
            "--data",
            self.shop,
            "--run",
            folder,
            *KINDS[self.kind].split(),
        ]
        if self.kind == "scoring":
            folder.mkdir(exist_ok=True)
            words = ["recommend.py", "--run", self.run, "--out", folder / "lists.csv"]
        elif resume:
            words.append("--resume")
        devices = 4 if self.kind == "4 devices" else 1
        flags = f"--xla_force_host_platform_device_count={devices}"
        return subprocess.Popen(
            [sys.executable, *map(str, words)],
            cwd=ROOT,
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def left_in(self, folder: Path) -> object:
        """What the work left: the bytes of the lists, or digests and metrics of a run."""
        if self.kind == "scoring":
            return (folder / "lists.csv").read_bytes()
        last = open_run(folder).epochs()[-1]
        leaves = read_record(folder / "checkpoints" / str(last)).leaves
        return last, leaves, (folder / "metrics.jsonl").read_bytes()


def killed(work: Work, folder: Path, rng: np.random.Generator) -> str:
    """The outcome of work that is killed up to `MOST_RESUMES` times and then left to end."""
    process = work.start(folder)
    for _ in range(int(rng.integers(1, MOST_RESUMES + 1))):
        signal_sent = signal.SIGKILL if rng.random() < 0.7 else signal.SIGTERM
        try:
            process.wait(work.seconds * rng.random())
        except subprocess.TimeoutExpired:
            process.send_signal(signal_sent)
            process.wait()
        process = work.start(folder, resume=True)
    code = process.wait()
    if code != 0:
        return f"exit {code}"
    return "equal" if work.left_in(folder) == work.expected else "differs"


def main() -> None:
    command = tyro.cli(Command, description=__doc__)
    rng = np.random.default_rng(command.seed)
    outcomes: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as place, Screen() as screen:
        folder = Path(place)
        shop = folder / "shop"
        write_shop(shop)
        run = folder / "straight dense"
        works = [Work(kind, shop, run, folder / f"straight {kind}") for kind in KINDS]
        for number in range(command.kills):
            work = works[number % len(works)]
            found = killed(work, folder / f"killed {number}", rng)
            outcomes[work.kind, found] += 1
            screen.progress("kills", number + 1, command.kills)
            if found != "equal":
                print(f"kill {number}: {work.kind}, {found}")
    bad = sorted({found for _, found in outcomes if found != "equal"}) or ["differs"]
    leave(show_outcomes(f"{command.kills} kills, seed {command.seed}", outcomes, bad))


if __name__ == "__main__":
    main()
