"""Flips bits in the files of a run: is every one told, or without any effect?

    python benchmarks/flip.py --flips 500

A flip is `told` where opening the run ends in a sentence or says that it passes over the damage;
`same` where the lists are those of the sound run, for example in curves.png; `silent` where other
lists come without a word; `traceback` where anything but our own error is raised.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ancf_jax.cli import Screen
from ancf_jax.errors import UserError
from ancf_jax.recommender import load_recommender
from ancf_jax.training.fit import fit
from ancf_jax.view import Silent
from benchmarks.harm import leave, show_outcomes, small_config, write_shop

MODELS = ("ancf", "mf", "most_bought")
TOP_N = 5


@dataclass(frozen=True)
class Command:
    """What is flipped."""

    flips: int = 500
    """Bits in all, each in a sound run."""
    seed: int = 0
    """Which bits."""


class Told(Silent):
    """A view that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def lists_of(run: Path) -> tuple[pd.DataFrame, list[str]]:
    """The lists of all users, and what opening the run says."""
    view = Told()
    recommender = load_recommender(run, view)
    users = recommender.users_of(["all"])
    return recommender.recommend(users, TOP_N), view.said


def outcome(run: Path, sound: pd.DataFrame) -> str:
    """What comes of a run with a flipped bit."""
    try:
        lists, said = lists_of(run)
    except UserError:
        return "told"
    except Exception as error:  # whatever it is, it is what is looked for
        print(f"traceback: {type(error).__name__}: {str(error)[:200]}")
        return "traceback"
    if said:
        return "told"
    return "same" if lists.equals(sound) else "silent"


def kind_of(file: Path, run: Path) -> str:
    """The file's name for people: numbers of checkpoints and of array files left out."""
    parts = [part for part in file.relative_to(run).parts if not part.isdecimal()]
    return "/".join(parts[:2])


def main() -> None:
    command = tyro.cli(Command, description=__doc__)
    rng = np.random.default_rng(command.seed)
    outcomes: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder, Screen() as screen:
        shop = Path(folder) / "shop"
        write_shop(shop)
        runs = {}
        for model in MODELS:
            run = Path(folder) / model
            fit(small_config(model, shop, run, epochs=2))
            runs[run] = lists_of(run)[0]
        for number in range(command.flips):
            run = list(runs)[number % len(runs)]
            files = sorted(file for file in run.rglob("*") if file.is_file())
            files = [file for file in files if file.stat().st_size]
            file = files[rng.integers(len(files))]
            sound = file.read_bytes()
            harmed = bytearray(sound)
            place = int(rng.integers(len(sound)))
            harmed[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(bytes(harmed))
            found = outcome(run, runs[run])
            file.write_bytes(sound)
            if found in ("silent", "traceback"):
                print(
                    f"flip {number}: {found}, {file.relative_to(folder)}, byte {place}"
                )
            outcomes[kind_of(file, run), found] += 1
            screen.progress("flips", number + 1, command.flips)
    title = f"{command.flips} flips, seed {command.seed}"
    leave(show_outcomes(title, outcomes, ("silent", "traceback")))


if __name__ == "__main__":
    main()
