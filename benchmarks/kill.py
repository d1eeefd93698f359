"""Kills training and scoring at random moments: what is resumed ends like what was never killed.

    python benchmarks/kill.py --kills 200
    python benchmarks/kill.py --kills 12 --kinds ancf scoring

Runs of several kinds (dense tables, tables by row, streamed, every neural model, several devices)
are killed by SIGKILL, or stopped by SIGTERM, at a moment drawn from the time that a straight run
takes, and resumed until they end. Then the digests of all arrays of the last checkpoint and
metrics.jsonl must be those of the straight run; of scoring, the bytes of the file.

Processes are forked from one that has imported the library and begun nothing, so that moments fall
into work and not into imports. Curves are not drawn, which would take longer than training here.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ancf_jax import cli
from ancf_jax.checkpoint import open_run
from ancf_jax.checkpoint.record import read_record
from ancf_jax.training import fit
from benchmarks.harm import leave, show_outcomes, write_shop

ROOT = Path(__file__).resolve().parents[1]
MOST_RESUMES = 3
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["train", "recommend", "jax", "orbax.checkpoint"])
SMALL = "--network.embedding-size 4 --loop.batch-size 4 --epochs 4 --split.kind leave_one_out"
Kind = Literal[
    "dense",
    "by row",
    "streamed",
    "neumf",
    "linear",
    "engagement",
    "ancf",
    "4 devices",
    "scoring",
]
KINDS: dict[Kind, str] = {
    "dense": f"--model mf {SMALL} --loop.tables dense",
    "by row": f"--model mf {SMALL} --loop.tables sparse",
    "streamed": f"--model mf {SMALL} --loop.stream 50",
    "neumf": f"--model neumf {SMALL} --network.hidden 5 3",
    "linear": f"--model linear {SMALL}",
    "engagement": f"--model engagement {SMALL} --network.hidden 5 3",
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
    kinds: tuple[Kind, ...] = get_args(Kind)
    """Which work is killed; each in its turn."""


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

    def __init__(self, kind: Kind, shop: Path, run: Path, straight: Path):
        self.kind = kind
        self.shop = shop
        self.run = run
        self.start(straight).join()  # compiles what the next one finds compiled
        self.expected = self.left_in(straight)
        begin = time.monotonic()
        again = straight.with_name(f"{straight.name} again")
        self.start(again).join()
        self.seconds = time.monotonic() - begin

    def start(self, folder: Path, resume: bool = False) -> ForkServerProcess:
        """Begins the work in `folder`, or goes on with it."""
        words = ["train", "--data", self.shop, "--run", folder]
        words += KINDS[self.kind].split()
        if self.kind == "scoring":
            folder.mkdir(exist_ok=True)
            words = ["recommend", "--run", self.run, "--out", folder / "lists.csv"]
        elif resume:
            words.append("--resume")
        devices = 4 if self.kind == "4 devices" else 1
        started = PROCESSES.Process(target=run_script, args=(devices, *map(str, words)))
        started.start()
        return started

    def left_in(self, folder: Path) -> object:
        """What the work left: the bytes of the lists, or digests and metrics of a run."""
        if self.kind == "scoring":
            return (folder / "lists.csv").read_bytes()
        last = open_run(folder).epochs()[-1]
        leaves = read_record(folder / "checkpoints" / str(last)).leaves
        return last, leaves, (folder / "metrics.jsonl").read_bytes()


def run_script(devices: int, script: str, *words: str) -> None:
    """Runs a script with these words in this process, unseen."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    os.environ["JAX_PLATFORMS"] = "cpu"
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    fit.draw_curves = lambda rows, path: None
    sys.argv = [script, *words]
    cli.run(import_module(script).main)


def killed(work: Work, folder: Path, rng: np.random.Generator) -> str:
    """The outcome of work that is killed up to `MOST_RESUMES` times and then left to end."""
    process = work.start(folder)
    for _ in range(int(rng.integers(1, MOST_RESUMES + 1))):
        send = process.kill if rng.random() < 0.7 else process.terminate
        process.join(work.seconds * rng.random())
        send()  # nothing happens where it has ended
        process.join()
        process = work.start(folder, resume=True)
    process.join()
    if process.exitcode != 0:
        return f"exit {process.exitcode}"
    return "equal" if work.left_in(folder) == work.expected else "differs"


def main() -> None:
    command = tyro.cli(Command, description=__doc__)
    os.chdir(ROOT)  # where the scripts are found
    rng = np.random.default_rng(command.seed)
    outcomes: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as place, cli.Screen() as screen:
        folder = Path(place)
        shop = folder / "shop"
        write_shop(shop)
        run = folder / "run"
        if "scoring" in command.kinds:
            Work("dense", shop, run, run)
        works = [
            Work(kind, shop, run, folder / f"straight {kind}") for kind in command.kinds
        ]
        begin = time.monotonic()
        for number in range(command.kills):
            work = works[number % len(works)]
            found = killed(work, folder / f"killed {number}", rng)
            outcomes[work.kind, found] += 1
            screen.progress("kills", number + 1, command.kills)
            if found != "equal":
                print(f"kill {number}: {work.kind}, {found}")
    each = (time.monotonic() - begin) / max(1, command.kills)
    print(f"{each:.1f} s a kill, with its resumes")
    bad = sorted({found for _, found in outcomes if found != "equal"}) or ["differs"]
    leave(show_outcomes(f"{command.kills} kills, seed {command.seed}", outcomes, bad))


if __name__ == "__main__":
    main()
