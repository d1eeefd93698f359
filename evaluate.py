"""Evaluate a run on its held-out events: `python evaluate.py --run DIR`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ancf_jax import cli, report
from ancf_jax.config import CORNER_STORE
from ancf_jax.data import audits, known_parts
from ancf_jax.evaluation import (
    PARTS,
    Evaluation,
    calibration_figures,
    evaluate,
    judged_calibration,
    truth_metrics,
    value_objective,
)
from ancf_jax.machine.parallel import ranking_devices
from ancf_jax.objective import intervals
from ancf_jax.objective.calibration import Reliability
from ancf_jax.output import check_ending, write_table
from ancf_jax.runs import LoadedRun, load

NO_INTERVAL = (None, None)  # of a figure over all users together, such as coverage


@dataclass(frozen=True)
class Command:
    """What evaluate.py is asked to do."""

    run: str
    """Folder of the run."""
    split: Literal["validation", "test"] = "test"
    """Which held-out events."""
    protocol: Literal["full", "sampled", "given"] = "full"
    """Rank against the whole catalogue, the exact expectation over 99 random items, or the items
    of the files."""
    keep_seen: bool | None = None
    """Items that the user already had can be hits, too; by default as the run was trained."""
    json: bool = False
    """Print one JSON object."""
    per_user: Path | None = None
    """Write each user's figures to this .csv, .jsonl or .parquet file."""


def parse(argv: list[str]) -> Command:
    """The command that `argv` gives."""
    return cli.parse(Command, None, argv, "Evaluate a run on held-out events.")


def main(argv: list[str], screen: cli.Screen) -> None:
    """Loads the run, ranks, and shows the figures."""
    command = parse(argv)
    if command.per_user is not None:
        check_ending(command.per_user)
    part = PARTS[command.split]
    run = load(command.run, known_parts(part), screen, ranking_devices())
    keep_seen = command.keep_seen
    if keep_seen is None:
        keep_seen = bool(run.config.keep_seen)
    found = evaluate(
        run.ranker,
        run.dataset,
        part,
        command.protocol,
        keep_seen,
        value_objective(run.prepared),
        view=screen,
    )
    table = probabilities_of(run, command, keep_seen)
    if table is not None:
        found.metrics.update(calibration_figures(table))
    if command.per_user is not None:
        write_per_user(command.per_user, run, found)
    if command.json:
        print(as_json(run, command, keep_seen, found, table))
    else:
        screen.say(describe(run, command.split, keep_seen, found))
        title = f"{run.config.model}, {command.split}, {command.protocol}"
        cli.show(to_rows(found), title)


def probabilities_of(
    run: LoadedRun, command: Command, keep_seen: bool
) -> Reliability | None:
    """How far the probabilities of the top 10 hold; None where lists have none."""
    as_fitted = keep_seen == bool(run.config.keep_seen)
    if run.calibration is None or command.protocol != "full" or not as_fitted:
        return None
    part = PARTS[command.split]
    return judged_calibration(run.ranker, run.dataset, part, keep_seen, run.calibration)


def write_per_user(path: Path, run: LoadedRun, found: Evaluation) -> None:
    """Writes a table of the figures of every user."""
    users = run.dataset.interactions.users[found.user]
    table = pd.DataFrame({"user_id": users, **found.per_user})
    write_table(path, [table])


def as_json(
    run: LoadedRun,
    command: Command,
    keep_seen: bool,
    found: Evaluation,
    table: Reliability | None,
) -> str:
    """The figures and what they are about, as the text of a JSON object."""
    any_figure = next(iter(found.per_user.values()))
    unjudged = int(np.isnan(any_figure).sum())
    bounds = {name: found.intervals.get(name, NO_INTERVAL) for name in found.metrics}
    bins = None
    if table is not None:
        bins = {name: column.tolist() for name, column in table._asdict().items()}
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
            name: [_number(x) for x in ends] for name, ends in bounds.items()
        },
        "reliability": bins,
        "audit": run.dataset.audit,
    }
    return json.dumps(told)


def _number(value: float | None) -> float | None:
    """A value that JSON knows; None for NaN and infinity."""
    return None if value is None or not np.isfinite(value) else float(value)


def describe(run: LoadedRun, split: str, keep_seen: bool, found: Evaluation) -> str:
    """What the figures are about, in a few lines."""
    config = run.config
    fate = report.seen(keep_seen)
    lines = [
        f"{config.model} on {config.data}, checkpoint {run.epoch}; {fate}",
        audits.describe(run.dataset.audit),
    ]
    if found.left_out:
        lines.append(
            f"{found.left_out} held-out items were already had and cannot be ranked; "
            "--keep-seen ranks them"
        )
    if config.data == CORNER_STORE:
        lines.append(report.SIMULATED)
    best = truth_metrics(run.dataset, PARTS[split], keep_seen)
    if best is not None:
        lines.append(f"best possible ndcg@10: {intervals.mean(best)['ndcg@10']:.4f}")
    return "\n".join(lines)


def to_rows(found: Evaluation) -> list[dict[str, Any]]:
    """A table of every metric with its interval."""
    rows = []
    for name, value in found.metrics.items():
        low, high = found.intervals.get(name, NO_INTERVAL)
        rows.append({"metric": name, "value": value, "95 % from": low, "to": high})
    return rows


if __name__ == "__main__":
    cli.run(main)
