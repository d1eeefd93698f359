"""Figures side by side, as people read them."""

from dataclasses import replace
from typing import Any

from ancf_jax import evaluation
from ancf_jax.config import default_config
from ancf_jax.data.interactions import TEST
from ancf_jax.objective import intervals
from ancf_jax.ranking import Progress, unwatched
from ancf_jax.runs import LoadedRun, build_model

SHOWN = ("ndcg@10", "hit_rate@10", "mrr@10", "recall@20")
SIMULATED = "simulated data: figures say how well the simulation is understood, not how a real shop would do"
Rows = list[dict[str, Any]]


def report_on_test(run: LoadedRun, progress: Progress = unwatched) -> tuple[Rows, str]:
    """The table after training and its title: the model on test events, between the simplest and the best there are."""
    if loss := evaluation.value_loss_of(run.config, run.ranker.model):
        found = evaluation.mean_baselines(run.dataset, TEST, loss)
        found[run.config.model] = evaluation.value_figures(
            *evaluation.judged(run.ranker, run.dataset, TEST, loss)
        )
        return [
            {"model": name} | figures for name, figures in found.items()
        ], f"Test events of {run.config.data}"
    protocol: evaluation.Protocol = (
        "full" if run.dataset.interactions.given_negatives is None else "given"
    )
    note = f"; {SIMULATED}" if run.dataset.truth is not None else ""
    title = f"Test: {run.config.data}, {len(run.dataset.interactions.users)} users, {protocol} ranking, "
    return _ranking_rows(run, protocol, progress), title + seen(
        bool(run.config.keep_seen)
    ) + note


def seen(keep_seen: bool) -> str:
    """What becomes of items already had, in words."""
    return (
        f"items already had are {'kept in' if keep_seen else 'left out of'} the ranking"
    )


def _ranking_rows(
    run: LoadedRun, protocol: evaluation.Protocol, progress: Progress
) -> Rows:
    """Figures of popularity, the model and, where it is known, the best possible with shares of the gap to it."""
    keep_seen, ranker = bool(run.config.keep_seen), run.ranker
    model, variables = (
        build_model(default_config("popularity"), run.dataset),
        {"count": ranker.catalogue.popularity},
    )
    found: dict[str, Any] = {
        "popularity": replace(ranker, model=model, variables={"params": variables})
    }
    for name, one in (found | {run.config.model: ranker}).items():
        found[name] = evaluation.evaluate(
            one, run.dataset, TEST, protocol, keep_seen, progress=progress
        ).metrics
    if (best := evaluation.truth_metrics(run.dataset, TEST, keep_seen)) is not None:
        found["best possible"] = intervals.mean(best)
    rows: Rows = [
        {"model": name} | {x: figures[x] for x in SHOWN}
        for name, figures in found.items()
    ]
    low, high = rows[0]["ndcg@10"], rows[-1]["ndcg@10"]
    for row in rows if best is not None else ():
        row["share of the gap"] = f"{(row['ndcg@10'] - low) / (high - low):.1%}"
    return rows
