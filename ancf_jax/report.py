"""Figures side by side, as people and programs read them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ancf_jax import evaluation
from ancf_jax.config import CORNER_STORE, default_config
from ancf_jax.data import splits
from ancf_jax.data.dataset import known_parts
from ancf_jax.data.interactions import TEST
from ancf_jax.objective import intervals
from ancf_jax.ranking import Progress, unwatched
from ancf_jax.runs import LoadedRun, build_model, load

SHOWN = ("ndcg@10", "hit_rate@10", "mrr@10", "recall@20")
NONE = (None, None)  # of a figure over all users together, such as coverage
SIMULATED = "simulated data: figures say how well the simulation is understood, not how a real shop would do"
Rows = list[dict[str, Any]]


def report_on_test(path: str, say: Callable[[str], None], progress: Progress = unwatched) -> tuple[Rows, str]:
    """The table after training and its title: the model on test events, between the simplest and the best there are."""
    run = load(path, known_parts(TEST), say)
    if loss := evaluation.value_loss_of(run.config, run.ranker.model):
        found = evaluation.mean_baselines(run.dataset, TEST, loss)
        found[run.config.model] = evaluation.value_metrics(run.ranker, run.dataset, TEST, loss)
        return [{"model": name} | figures for name, figures in found.items()], f"Test events of {run.config.data}"
    protocol: evaluation.Protocol = "full" if run.dataset.interactions.given_negatives is None else "given"
    note = f"; {SIMULATED}" if run.dataset.truth is not None else ""
    title = f"Test: {run.config.data}, {len(run.dataset.interactions.users)} users, {protocol} ranking, "
    return _ranking_rows(run, protocol, progress), title + _seen(bool(run.config.keep_seen)) + note


def _seen(keep_seen: bool) -> str:
    return f"items already had are {'kept in' if keep_seen else 'left out of'} the ranking"


def _ranking_rows(run: LoadedRun, protocol: evaluation.Protocol, progress: Progress) -> Rows:
    """Figures of popularity, the model and, where it is known, the best possible with shares of the gap to it."""
    keep_seen, ranker = bool(run.config.keep_seen), run.ranker
    model, variables = build_model(default_config("popularity"), run.dataset), {"count": ranker.catalogue.popularity}
    found: dict[str, Any] = {"popularity": replace(ranker, model=model, variables={"params": variables})}
    for name, one in (found | {run.config.model: ranker}).items():
        found[name] = evaluation.evaluate(one, run.dataset, TEST, protocol, keep_seen, progress=progress).metrics
    if (best := evaluation.truth_metrics(run.dataset, TEST, keep_seen)) is not None:
        found["best possible"] = intervals.mean(best)
    rows: Rows = [{"model": name} | {x: figures[x] for x in SHOWN} for name, figures in found.items()]
    low, high = rows[0]["ndcg@10"], rows[-1]["ndcg@10"]
    for row in rows if best is not None else ():
        row["share of the gap"] = f"{(row['ndcg@10'] - low) / (high - low):.1%}"
    return rows


def to_json(run: LoadedRun, split: str, protocol: str, keep_seen: bool, found: evaluation.Evaluation) -> dict[str, Any]:
    """The object that `evaluate.py --json` prints."""
    unjudged = int(np.isnan(next(iter(found.per_user.values()))).sum())
    return {
        "model": run.config.model,
        "split": split,
        "protocol": protocol,
        "keep_seen": keep_seen,
        "users": len(found.user) - unjudged,
        "users_without_hits_to_find": unjudged,
        "already_had": found.left_out,
        "metrics": {name: _number(value) for name, value in found.metrics.items()},
        "intervals": {name: [_number(x) for x in found.intervals.get(name, NONE)] for name in found.metrics},
        "audit": run.dataset.audit,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def describe(run: LoadedRun, split: str, keep_seen: bool, found: evaluation.Evaluation) -> str:
    """What the figures are about, in a few lines."""
    lines = [f"{run.config.model} on {run.config.data}, checkpoint {run.epoch}; {_seen(keep_seen)}"]
    lines.append(splits.describe(run.dataset.audit))
    if found.left_out:
        lines.append(f"{found.left_out} held-out items were already had and cannot be ranked; --keep-seen ranks them")
    if run.config.data == CORNER_STORE:
        lines.append(SIMULATED)
    if (best := evaluation.truth_metrics(run.dataset, evaluation.PARTS[split], keep_seen)) is not None:
        lines.append(f"best possible ndcg@10: {intervals.mean(best)['ndcg@10']:.4f}")
    return "\n".join(lines)


def to_rows(found: evaluation.Evaluation) -> Rows:
    """A table of every metric with its interval."""
    rows = ((name, value, *found.intervals.get(name, NONE)) for name, value in found.metrics.items())
    return [dict(zip(("metric", "value", "95 % from", "to"), row, strict=True)) for row in rows]
