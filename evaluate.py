"""Evaluate a run on its held-out events: `python evaluate.py --run DIR`."""

import os
import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    # Ctrl-C during the imports below, which take seconds, leaves without a traceback.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ancf_jax import cli, report
from ancf_jax.config import CORNER_STORE
from ancf_jax.data import audits, known_parts, share_of_new
from ancf_jax.evaluation import (
    ONE_CLASS,
    PARTS,
    Evaluation,
    Explored,
    Group,
    calibration_figures,
    evaluate,
    explored_evaluation,
    groups_by_events,
    judged_calibration,
    truth_metrics,
    value_objective,
)
from ancf_jax.machine.parallel import ranking_devices
from ancf_jax.objective import intervals
from ancf_jax.objective.calibration import Reliability
from ancf_jax.objective.intervals import Intervals
from ancf_jax.output import check_ending, write_table
from ancf_jax.ranking.explore import Explore, share_in_words
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
    explore: str = "0"
    """Judge also lists that keep this share of their places for products without events, or
    `auto`, see recommend.py; with `full` alone."""
    strict: bool = False
    """Refuse a run whose best checkpoint is damaged, instead of taking the next best."""
    json: bool = False
    """Print one JSON object."""
    per_user: Path | None = None
    """Write each user's figures to this .csv, .jsonl or .parquet file."""


class Judged(NamedTuple):
    """All that was found out.

    Attributes:
        found: figures over all users.
        groups: figures by known events.
        explored: figures of lists that explore; None without.
        reliability: how far probabilities hold; None where there are none.
    """

    found: Evaluation
    groups: list[Group]
    explored: Explored | None
    reliability: Reliability | None


def parse(argv: list[str]) -> Command:
    """The command that `argv` gives."""
    return cli.parse(Command, None, argv, "Evaluate a run on held-out events.")


def main(argv: list[str], screen: cli.Screen) -> None:
    """Loads the run, ranks, and shows the figures."""
    command = parse(argv)
    if command.per_user is not None:
        check_ending(command.per_user)
    explore = share_in_words(command.explore)
    part = PARTS[command.split]
    devices = ranking_devices()
    run = load(command.run, known_parts(part), screen, devices, command.strict)
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
    groups, explored = by_novelty(run, part, keep_seen, found, explore)
    judged = Judged(found, groups, explored, table)
    if command.json:
        print(as_json(run, command, keep_seen, judged))
        return
    screen.say(describe(run, command.split, keep_seen, found))
    title = f"{run.config.model}, {command.split}, {command.protocol}"
    cli.show(to_rows(found.metrics, found.intervals), title)
    if groups:
        cli.show(group_rows(groups), "by known events of held-out items and of users")
    if explored is not None:
        cli.show(to_rows(explored.metrics, explored.intervals), title_of(explored))


def by_novelty(
    run: LoadedRun, part: int, keep_seen: bool, found: Evaluation, explore: Explore
) -> tuple[list[Group], Explored | None]:
    """Figures by known events, and of lists that explore, where the whole catalogue was ranked."""
    ranked = found.ranked
    if ranked is None:
        return [], None
    groups = groups_by_events(run.ranker, ranked, found.per_user)
    share = explore
    if share == "auto":
        share = share_of_new(run.dataset, known_parts(part))
    if not share:
        return groups, None
    seed = run.config.seed
    explored = explored_evaluation(
        run.ranker, ranked.held, keep_seen, found.per_user, share, seed
    )
    return groups, explored


def title_of(explored: Explored) -> str:
    """What the lists that explore hold, beside what is bought."""
    return (
        f"explored: {explored.share_of_places:.1%} of the places are for products without "
        f"events, which are {explored.share_of_purchases:.1%} of the purchases"
    )


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
    judged: Judged,
) -> str:
    """The figures and what they are about, as the text of a JSON object."""
    found = judged.found
    explored = judged.explored
    told: dict[str, Any] = {
        "model": run.config.model,
        "split": command.split,
        "protocol": command.protocol,
        "keep_seen": keep_seen,
        "users": found.judged,
        "users_without_hits_to_find": len(found.user) - found.judged,
        "already_had": found.left_out,
        **_figures(found),
        "groups": [_with_figures(group) for group in judged.groups],
        "explored": None if explored is None else _with_figures(explored),
        "reliability": _bins(judged.reliability),
        "audit": run.dataset.audit,
    }
    return json.dumps(told)


def _bins(reliability: Reliability | None) -> dict[str, list[float]] | None:
    """The columns of a reliability table."""
    if reliability is None:
        return None
    columns = reliability._asdict()
    return {name: column.tolist() for name, column in columns.items()}


def _figures(found: Evaluation | Group | Explored) -> dict[str, Any]:
    """Metrics and intervals, as JSON knows them."""
    bounds = {name: found.intervals.get(name, NO_INTERVAL) for name in found.metrics}
    return {
        "metrics": {name: _number(value) for name, value in found.metrics.items()},
        "intervals": {
            name: [_number(x) for x in ends] for name, ends in bounds.items()
        },
    }


def _with_figures(found: Group | Explored) -> dict[str, Any]:
    """All fields, as JSON knows them."""
    fields = found._asdict()
    fields.update(_figures(found))
    return fields


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
    if found.judged < len(run.dataset.interactions.users):
        lines.append(
            f"means are over {found.of_users(run.dataset)}; the others have no {split} events "
            "that could be found"
        )
    if found.metrics.get("auc", 0) is None:
        lines.append(ONE_CLASS)
    if config.data == CORNER_STORE:
        lines.append(report.SIMULATED)
    best = truth_metrics(run.dataset, PARTS[split], keep_seen)
    if best is not None:
        lines.append(f"best possible ndcg@10: {intervals.mean(best)['ndcg@10']:.4f}")
    return "\n".join(lines)


def to_rows(
    figures: Mapping[str, float | None], bounds: Intervals
) -> list[dict[str, Any]]:
    """A table of every metric with its interval."""
    rows = []
    for name, value in figures.items():
        low, high = bounds.get(name, NO_INTERVAL)
        rows.append({"metric": name, "value": value, "95 % from": low, "to": high})
    return rows


def group_rows(groups: list[Group]) -> list[dict[str, Any]]:
    """A table of the groups."""
    rows = []
    for group in groups:
        low, high = group.intervals["ndcg@10"]
        rows.append(
            {
                "group": group.name,
                "count": group.count,
                "share": group.share,
                "of places": group.share_of_places,
                "recall@10": group.metrics["recall@10"],
                "hit_rate@10": group.metrics["hit_rate@10"],
                "at random": group.metrics.get("random"),
                "ndcg@10": group.metrics["ndcg@10"],
                "95 % from": low,
                "to": high,
            }
        )
    return rows


if __name__ == "__main__":
    cli.run(main)
