"""Figures side by side, as people and programs read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ancf_jax import models
from ancf_jax.config import CORNER_STORE, Config, default_config
from ancf_jax.data import dataset as data
from ancf_jax.data import splits
from ancf_jax.data.dataset import Dataset, known_parts
from ancf_jax.data.interactions import TEST
from ancf_jax.evaluation import (
    PARTS,
    Evaluation,
    Protocol,
    evaluate,
    mean_baselines,
    truth_metrics,
    value_loss_of,
    value_metrics,
)
from ancf_jax.objective import intervals
from ancf_jax.output import write_table
from ancf_jax.ranking import Progress, Ranker
from ancf_jax.runs import LoadedRun, load

SHOWN = ("ndcg@10", "hit_rate@10", "mrr@10", "recall@20")
NONE = (None, None)  # of a figure over all users together, such as coverage
SIMULATED = "simulated data: figures say how well the simulation is understood, not how a real shop would do"


def evaluate_run(
    run: LoadedRun, split: str, protocol: Protocol, keep_seen: bool, seed: int = 0, progress: Progress | None = None
) -> Evaluation:
    """The figures of a loaded run on `split`, "validation" or "test"."""
    loss, kind = value_loss_of(run.config, run.ranker.model)
    return evaluate(
        run.ranker,
        run.dataset,
        PARTS[split],
        protocol=protocol,
        keep_seen=keep_seen,
        value_loss=loss,
        link_kind=kind,
        seed=seed,
        progress=progress,
    )


def report_on_test(
    path: str, say: Callable[[str], None], progress: Progress | None = None
) -> tuple[list[dict[str, Any]], str]:
    """The table after training: the model on the test events, between the simplest and the best there could be."""
    run = load(path, known_parts(TEST), say)
    protocol: Protocol = "full" if run.dataset.interactions.given_negatives is None else "given"
    loss, kind = value_loss_of(run.config, run.ranker.model)
    if loss:
        rows: list[dict[str, Any]] = [
            {"model": name} | figures for name, figures in mean_baselines(run.dataset, TEST, loss).items()
        ]
        rows.append({"model": run.config.model} | value_metrics(run.ranker, run.dataset, TEST, loss, kind))
        return rows, f"Test events of {run.config.data}"
    found = evaluate_run(run, "test", protocol, bool(run.config.keep_seen), progress=progress)
    return _ranking_rows(run, found, protocol), _title(run, protocol)


def _title(run: LoadedRun, protocol: str) -> str:
    users, seen = len(run.dataset.interactions.users), "kept in" if run.config.keep_seen else "left out of"
    note = f"; {SIMULATED}" if run.dataset.truth is not None else ""
    return f"Test: {run.config.data}, {users} users, {protocol} ranking, items already had are {seen} the ranking{note}"


def _ranking_rows(run: LoadedRun, found: Evaluation, protocol: Protocol) -> list[dict[str, Any]]:
    keep_seen = bool(run.config.keep_seen)
    popularity = evaluate(
        popularity_ranker(run.config, run.dataset, run.ranker),
        run.dataset,
        TEST,
        protocol=protocol,
        keep_seen=keep_seen,
    )
    rows = [_row("popularity", popularity.metrics)]
    if run.config.model != "popularity":
        rows.append(_row(run.config.model, found.metrics))
    if (best := truth_metrics(run.dataset, TEST, keep_seen)) is not None:
        rows.append(_row("best possible", intervals.mean(best)))
        _add_share(rows)
    return rows


def popularity_ranker(config: Config, dataset: Dataset, like: Ranker) -> Ranker:
    """A ranker by popularity that knows the same events as `like`."""
    baseline = default_config("popularity")
    model = models.build(baseline, data.sizes(dataset), dataset.interactions.clock)
    variables = {"params": {"count": like.catalogue.popularity}}
    return Ranker(model, variables, like.log, like.catalogue, 1, like.max_seen)


def _row(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    return {"model": name} | {metric: figures[metric] for metric in SHOWN if metric in figures}


def _add_share(rows: list[dict[str, Any]]) -> None:
    """Adds to each row its share of the way from popularity to the best possible NDCG@10."""
    low, high = rows[0]["ndcg@10"], rows[-1]["ndcg@10"]
    for row in rows:
        row["share of the gap"] = f"{(row['ndcg@10'] - low) / (high - low):.1%}"


def to_json(run: LoadedRun, split: str, protocol: str, keep_seen: bool, found: Evaluation) -> dict[str, Any]:
    """The object that `evaluate.py --json` prints."""
    return {
        "model": run.config.model,
        "split": split,
        "protocol": protocol,
        "keep_seen": keep_seen,
        "users": int(np.sum(~np.isnan(next(iter(found.per_user.values()))))),
        "users_without_hits_to_find": int(np.sum(np.isnan(next(iter(found.per_user.values()))))),
        "already_had": found.left_out,
        "metrics": {name: _number(value) for name, value in found.metrics.items()},
        "intervals": {name: [_number(x) for x in found.intervals.get(name, NONE)] for name in found.metrics},
        "audit": run.dataset.audit,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def describe(run: LoadedRun, split: str, keep_seen: bool, found: Evaluation) -> str:
    """What the figures are about, in a few lines."""
    lines = [
        f"{run.config.model} on {run.config.data}, checkpoint {run.epoch}; "
        f"items already had are {'kept in' if keep_seen else 'left out of'} the ranking",
        splits.describe(run.dataset.audit),
    ]
    if found.left_out:
        lines.append(f"{found.left_out} held-out items were already had and cannot be ranked; --keep-seen ranks them")
    if run.config.data == CORNER_STORE:
        lines.append(SIMULATED)
        best = truth_metrics(run.dataset, PARTS[split], keep_seen)
        if best is not None:
            lines.append(f"best possible ndcg@10: {intervals.mean(best)['ndcg@10']:.4f}")
    return "\n".join(lines)


def to_rows(found: Evaluation) -> list[dict[str, Any]]:
    """A table of every metric with its interval."""
    rows = []
    for name, value in found.metrics.items():
        low, high = found.intervals.get(name, (None, None))
        rows.append({"metric": name, "value": value, "95 % from": low, "to": high})
    return rows


def write_per_user(run: LoadedRun, found: Evaluation, path: Path) -> None:
    """Every user's figures as a CSV or Parquet file, whole or not at all."""
    table = pd.DataFrame({"user_id": run.dataset.interactions.users[found.user]} | found.per_user)
    write_table(path, iter([table]))
