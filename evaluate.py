"""Evaluate a run on its held-out events: `python evaluate.py --run DIR`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ancf_jax import cli, report
from ancf_jax.config import CORNER_STORE
from ancf_jax.data import splits
from ancf_jax.data.dataset import known_parts
from ancf_jax.evaluation import (
    PARTS,
    Evaluation,
    evaluate,
    truth_metrics,
    value_loss_of,
)
from ancf_jax.objective import intervals
from ancf_jax.output import check_ending, write_table
from ancf_jax.runs import LoadedRun, load
from ancf_jax.training.parallel import everywhere

NONE = (None, None)  # of a figure over all users together, such as coverage


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


def as_json(
    run: LoadedRun, command: Command, keep_seen: bool, found: Evaluation
) -> str:
    """The figures and what they are about, as the text of a JSON object."""
    unjudged = int(np.isnan(next(iter(found.per_user.values()))).sum())
    told: dict[str, Any] = {
        "model": run.config.model,
        "split": command.split,
        "protocol": command.protocol,
        "keep_seen": keep_seen,
        "users": len(found.user) - unjudged,
        "users_without_hits_to_find": unjudged,
        "already_had": found.left_out,
        "metrics": {name: _number(value) for name, value in found.metrics.items()},
        "intervals": {
            name: [_number(x) for x in found.intervals.get(name, NONE)]
            for name in found.metrics
        },
        "audit": run.dataset.audit,
    }
    return json.dumps(told)


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def describe(run: LoadedRun, split: str, keep_seen: bool, found: Evaluation) -> str:
    """What the figures are about, in a few lines."""
    lines = [
        f"{run.config.model} on {run.config.data}, checkpoint {run.epoch}; {report.seen(keep_seen)}"
    ]
    lines.append(splits.describe(run.dataset.audit))
    if found.left_out:
        lines.append(
            f"{found.left_out} held-out items were already had and cannot be ranked; --keep-seen ranks them"
        )
    if run.config.data == CORNER_STORE:
        lines.append(report.SIMULATED)
    if (best := truth_metrics(run.dataset, PARTS[split], keep_seen)) is not None:
        lines.append(f"best possible ndcg@10: {intervals.mean(best)['ndcg@10']:.4f}")
    return "\n".join(lines)


def to_rows(found: Evaluation) -> list[dict[str, Any]]:
    """A table of every metric with its interval."""
    rows = (
        (name, value, *found.intervals.get(name, NONE))
        for name, value in found.metrics.items()
    )
    return [
        dict(zip(("metric", "value", "95 % from", "to"), row, strict=True))
        for row in rows
    ]


def main(argv: list[str], screen: cli.Screen) -> None:
    """Loads the run, ranks, and shows the figures."""
    command = cli.parse(Command, None, argv, "Evaluate a run on held-out events.")
    if command.per_user is not None:
        check_ending(command.per_user)
    run = load(command.run, known_parts(PARTS[command.split]), screen.say, everywhere())
    keep_seen = bool(
        run.config.keep_seen if command.keep_seen is None else command.keep_seen
    )

    def progress(done: int, total: int) -> None:
        screen.progress("ranking", done, total)

    part, loss = PARTS[command.split], value_loss_of(run.config, run.ranker.model)
    found = evaluate(
        run.ranker,
        run.dataset,
        part,
        command.protocol,
        keep_seen,
        loss,
        progress=progress,
    )
    if command.per_user is not None:
        users = run.dataset.interactions.users[found.user]
        write_table(
            command.per_user, [pd.DataFrame({"user_id": users} | found.per_user)]
        )
    if command.json:
        print(as_json(run, command, keep_seen, found))
    else:
        screen.say(describe(run, command.split, keep_seen, found))
        cli.show(
            to_rows(found), f"{run.config.model}, {command.split}, {command.protocol}"
        )


if __name__ == "__main__":
    cli.run(main)
