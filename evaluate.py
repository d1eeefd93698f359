"""Evaluate a run on its held-out events: `python evaluate.py --run DIR`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from ancf_jax import cli, report
from ancf_jax.data.dataset import known_parts
from ancf_jax.evaluation import PARTS, evaluate, value_loss_of
from ancf_jax.output import check_ending, write_table
from ancf_jax.runs import load


@dataclass(frozen=True)
class Command:
    """What evaluate.py is asked to do."""

    run: str
    """Folder of the run."""
    split: Literal["validation", "test"] = "test"
    """Which held-out events."""
    protocol: Literal["full", "sampled", "given"] = "full"
    """Rank against the whole catalogue, the exact expectation over 99 random items, or the items of the files."""
    keep_seen: bool | None = None
    """Items that the user already had can be hits, too; by default as the run was trained."""
    json: bool = False
    """Print one JSON object."""
    per_user: Path | None = None
    """Write each user's figures to this .csv, .jsonl or .parquet file."""


def main(argv: list[str], screen: cli.Screen) -> None:
    """Loads the run, ranks, and shows the figures."""
    command = cli.parse(Command, None, argv, "Evaluate a run on held-out events.")
    if command.per_user is not None:
        check_ending(command.per_user)
    run = load(command.run, known_parts(PARTS[command.split]), screen.say)
    keep_seen = bool(run.config.keep_seen if command.keep_seen is None else command.keep_seen)

    def progress(done: int, total: int) -> None:
        screen.progress("ranking", done, total)

    part, loss = PARTS[command.split], value_loss_of(run.config, run.ranker.model)
    found = evaluate(run.ranker, run.dataset, part, command.protocol, keep_seen, loss, progress=progress)
    if command.per_user is not None:
        users = run.dataset.interactions.users[found.user]
        write_table(command.per_user, [pd.DataFrame({"user_id": users} | found.per_user)])
    if command.json:
        print(json.dumps(report.to_json(run, command.split, command.protocol, keep_seen, found)))
    else:
        screen.say(report.describe(run, command.split, keep_seen, found))
        cli.show(report.to_rows(found), f"{run.config.model}, {command.split}, {command.protocol}")


if __name__ == "__main__":
    cli.run(main)
