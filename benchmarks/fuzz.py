"""Feeds mutated files to the readers: no traceback, no hang, no wrong table.

    python benchmarks/fuzz.py --minutes 20

Sound files of every format, and the bad inputs of tests/badinput, are mutated: bytes flipped,
deleted, doubled, exchanged for others that matter to a format. Reading ends in events or in a
sentence of ours. Events are right where every id stands in a file, and where what the file says in
another order of rows gives as many events. A seed reproduces a finding.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ancf_jax import data
from ancf_jax.config import Config, override
from ancf_jax.data.interactions import Interactions
from ancf_jax.errors import UserError
from ancf_jax.models.registry import default_config
from benchmarks.harm import leave, show_outcomes, write_shop

ROOT = Path(__file__).resolve().parents[1]
HANG = 20  # seconds
BAD = ("traceback", "hang", "wrong table")
TOKENS = (
    b",",
    b'"',
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"NA",
    b"-1",
    b"1e309",
)
TOKENS += (
    b"inf",
    b"2020-02-30",
    b"\xe9",
    b"|",
    b";",
    b"\t",
    b" ",
    b"99999999999999999999",
)


@dataclass(frozen=True)
class Command:
    """How long, and from which seed."""

    minutes: float = 20.0
    """How long inputs are tried."""
    seed: int = 0
    """Of the first input; the next has the next seed."""


class HangError(Exception):
    """Reading took longer than `HANG` seconds."""


def write_seeds(folder: Path) -> tuple[list[Path], list[Path]]:
    """Sound inputs of every format, and the bad ones of the tests: files and folders."""
    write_shop(folder / "shop")
    events = pd.read_csv(folder / "shop" / "interactions.csv", dtype=str)
    events.to_parquet(folder / "events.parquet")
    lines = [
        " ".join([str(number + 1), *(str(1 + item) for item in range(number % 5, 9))])
        for number in range(13)
    ]
    (folder / "sequences.txt").write_text("\n".join(lines) + "\n")
    rows = [
        f"{user}\t{user + place}\t{place % 5 + 1}\t{place}"
        for user in range(7)
        for place in range(6)
    ]
    (folder / "u.data").write_text("\n".join(rows) + "\n")
    shutil.copy(folder / "shop" / "interactions.csv", folder / "events.csv")
    bad = (ROOT / "tests" / "badinput").iterdir()
    return sorted(folder.iterdir()), sorted(bad)


def mutate(text: bytes, rng: np.random.Generator) -> bytes:
    """`text` with one to eight changes."""
    found = bytearray(text)
    for _ in range(int(rng.integers(1, 9))):
        place = int(rng.integers(len(found) + 1))
        end = place + int(rng.integers(1, 40))
        match int(rng.integers(5)):
            case 0 if place < len(found):
                found[place] ^= 1 << int(rng.integers(8))
            case 1:
                del found[place:end]
            case 2:
                found[place:place] = found[place:end]
            case 3:
                found[place:place] = TOKENS[rng.integers(len(TOKENS))]
            case _:
                found[place : place + 1] = TOKENS[rng.integers(len(TOKENS))]
    return bytes(found)


def planted(
    sound: list[Path], bad: list[Path], folder: Path, rng: np.random.Generator
) -> Path:
    """A copy of a sound input, or of a bad one now and then, with one file mutated."""
    seeds = sound if rng.random() < 0.8 else bad
    chosen = seeds[rng.integers(len(seeds))]
    copy = folder / chosen.name
    if chosen.is_dir():
        shutil.copytree(chosen, copy)
    else:
        shutil.copy(chosen, copy)
    files = sorted(path for path in [copy, *copy.rglob("*")] if path.is_file())
    file = files[rng.integers(len(files))]
    file.chmod(0o644)
    file.write_bytes(mutate(file.read_bytes(), rng))
    return copy


def config_of(path: Path, rng: np.random.Generator) -> Config:
    """Settings that any data would do for."""
    kinds = ("auto", "leave_one_out", "ratio", "time")
    changes = {"data": str(path), "split.kind": kinds[rng.integers(len(kinds))]}
    return override(default_config("mf"), changes)


def outcome(path: Path, config: Config) -> str:
    """What comes of reading an input."""

    def stop(*_: object) -> None:
        raise HangError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG)
    try:
        made = data.build(config)
    except UserError as error:
        return "sentence" if str(error).strip() else "traceback"
    except HangError:
        return "hang"
    except Exception as error:  # whatever it is, it is what is looked for
        print(f"traceback: {type(error).__name__}: {str(error)[:200]}")
        return "traceback"
    finally:
        signal.alarm(0)
    return "events" if is_right(made.interactions, path) else "wrong table"


def is_right(found: Interactions, path: Path) -> bool:
    """Whether the numbers are in range and every id stands in a file of the input."""
    in_range = (found.user >= 0).all() and (found.user < len(found.users)).all()
    in_range &= (found.item >= 0).all() and (found.item < len(found.items)).all()
    if not in_range or len(set(found.users)) < len(found.users):
        return False
    files = [file for file in [path, *path.rglob("*")] if file.is_file()]
    if any(file.suffix in (".parquet", ".json") for file in files):
        return True  # text is compressed, or escaped, there
    text = b"\n".join(file.read_bytes() for file in files)
    ids = [*found.users, *found.items]
    return any(
        all(_stands_in(text, name, encoding) for name in ids)
        for encoding in ("utf-8", "utf-16-le", "utf-16-be")
    )


def _stands_in(text: bytes, name: str, encoding: str) -> bool:
    """Whether a name stands in a text, as it is or with its quotes doubled."""
    doubled = name.replace('"', '""')
    return name.encode(encoding) in text or doubled.encode(encoding) in text


def main() -> None:
    command = tyro.cli(Command, description=__doc__)
    outcomes: Counter[tuple[str, str]] = Counter()
    end = time.monotonic() + 60 * command.minutes
    seed = command.seed
    with tempfile.TemporaryDirectory() as folder:
        sound, bad = write_seeds(Path(folder))
        while time.monotonic() < end:
            rng = np.random.default_rng(seed)
            with tempfile.TemporaryDirectory() as place:
                path = planted(sound, bad, Path(place), rng)
                found = outcome(path, config_of(path, rng))
            if found in BAD:
                print(f"seed {seed}: {found}, {path.name}")
            outcomes[path.suffix or "folder", found] += 1
            seed += 1
    title = f"{outcomes.total():,} inputs in {command.minutes} min, seed {command.seed}"
    leave(show_outcomes(title, outcomes, BAD))


if __name__ == "__main__":
    main()
