"""A preset with the two commands of its header: what is run, and where it is kept."""

from __future__ import annotations

import hashlib
import json
import shlex
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ancf_jax.errors import UserError

DATA_FOLDER = "PATH-TO"  # stands for the data folder in the header of a preset


class Trial(NamedTuple):
    """One training with one seed: a preset, and flags added to it under the name of a variant."""

    preset: str
    seed: int
    variant: str = ""
    extra: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """The row that it belongs to."""
        return f"{self.preset}-{self.variant}" if self.variant else self.preset

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.row}-seed-{self.seed}"


class Preset(NamedTuple):
    """The flags of a preset, and the words that its header adds to them in the two commands."""

    path: Path
    flags: list[str]
    train: list[str]
    evaluate: list[str]


@dataclass(frozen=True)
class Place:
    """Where presets and data are found and results kept."""

    presets: Path
    data: Path
    out: Path

    def of(self, trial: Trial, ending: str = "") -> Path:
        """The file of a trial with that ending; without one, its run folder."""
        return self.out / f"{trial.name}{ending}"

    def preset_of(self, trial: Trial) -> Path:
        """The preset's file."""
        return self.presets / f"{trial.preset}.flags"

    def filled_in(self, words: Sequence[str]) -> list[str]:
        """Words of a header with the data folder put in."""
        return [word.replace(DATA_FOLDER, str(self.data)) for word in words]


def read_preset(path: Path) -> Preset:
    """The preset and the commands of its header.

    Without a line for evaluate.py the whole catalogue is ranked.
    """
    text = path.read_text(encoding="utf-8")
    commands: dict[str, list[str]] = {"evaluate.py": []}
    for line in text.splitlines():
        if line.startswith("# python "):
            _, _, script, *words = shlex.split(line)
            commands[script] = _settings(words)
    if "train.py" not in commands:
        raise UserError(f"{path.name} has no line that begins with # python train.py")
    return Preset(
        path,
        shlex.split(text, comments=True),
        commands["train.py"],
        commands["evaluate.py"],
    )


def _settings(words: list[str]) -> list[str]:
    """The words of a command without the preset and the run folder."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--run")
    return [
        word for word in parser.parse_known_args(words)[1] if not word.startswith("@")
    ]


def missing(trial: Trial, place: Place) -> str:
    """Which file a trial lacks; empty if it can be made."""
    path = place.preset_of(trial)
    if not path.exists():
        return f"there is no {path.parent.name}/{path.name}"
    needed = [word for word in read_preset(path).train if word.startswith(DATA_FOLDER)]
    absent = [word for word in needed if not Path(*place.filled_in([word])).exists()]
    return f"there is no {place.filled_in(absent)[0]}" if absent else ""


def digest(trial: Trial, preset: Preset) -> str:
    """Stands for all that a trial was asked to do; comments in the preset do not count."""
    asked = [preset.flags, preset.train, preset.evaluate, trial.extra, trial.seed]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
