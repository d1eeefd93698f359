"""Figures side by side, as people read them."""

from dataclasses import replace
from typing import Any

from ancf_jax import data, evaluation
from ancf_jax.data import TEST
from ancf_jax.evaluation import Figures
from ancf_jax.models.baselines.counting import MostBought, Popularity
from ancf_jax.objective import intervals
from ancf_jax.objective.objective import Objective
from ancf_jax.ranking import Ranker
from ancf_jax.runs import LoadedRun
from ancf_jax.view import SILENT, View

SHOWN = ("ndcg@10", "hit_rate@10", "mrr@10", "recall@20")
SIMULATED = (
    "simulated data: figures say how well the simulation is understood, "
    "not how a real shop would do"
)
Rows = list[dict[str, Any]]


def report_on_test(run: LoadedRun, view: View = SILENT) -> tuple[Rows, str]:
    """The table after training and its title.

    It has the figures of the model on test events, between the simplest and the best there are.
    """
    objective = evaluation.value_objective(run.prepared)
    if objective is not None:
        rows = _value_rows(run, objective)
        if rows[-1].get("auc", 0) is None:
            view.say(evaluation.ONE_CLASS)
        return rows, f"Test events of {run.config.data}"
    has_negatives = run.dataset.interactions.given_negatives is not None
    protocol: evaluation.Protocol = "given" if has_negatives else "full"
    rows, judged = _ranking_rows(run, protocol, view)
    users = judged.of_users(run.dataset)
    title = f"Test: {run.config.data}, {users}, {protocol} ranking, "
    title += seen(bool(run.config.keep_seen))
    if run.dataset.truth is not None:
        title += f"; {SIMULATED}"
    return rows, title


def seen(keep_seen: bool) -> str:
    """What becomes of items already had, in words."""
    fate = "kept in" if keep_seen else "left out of"
    return f"items already had are {fate} the ranking"


def _value_rows(run: LoadedRun, objective: Objective) -> Rows:
    """Figures of the mean of each item, of each user, and of the model."""
    value_loss = objective.name
    found = evaluation.mean_baselines(run.dataset, TEST, value_loss)
    events = evaluation.judged(run.ranker, run.dataset, TEST, value_loss)
    found[run.config.model] = evaluation.value_figures(*events)
    return [_row(name, figures) for name, figures in found.items()]


def _ranking_rows(
    run: LoadedRun, protocol: evaluation.Protocol, view: View
) -> tuple[Rows, evaluation.Evaluation]:
    """Figures of popularity, of the model and, where it is known, of the best possible.

    Beside them stands all that was found out of the model.

    Where repeats count, also of what each user bought most: beside popularity alone every model
    flatters.
    With the latter, each row has its share of the gap between the first and the last.
    """
    keep_seen = bool(run.config.keep_seen)
    rankers = {"popularity": _counting(run, Popularity)}
    if keep_seen:
        rankers["most_bought"] = _counting(run, MostBought)
    rankers[run.config.model] = run.ranker
    found = {
        name: evaluation.evaluate(
            ranker, run.dataset, TEST, protocol, keep_seen, view=view
        )
        for name, ranker in rankers.items()
    }
    rows = [_row(name, _shown(each.metrics)) for name, each in found.items()]
    best = evaluation.truth_metrics(run.dataset, TEST, keep_seen)
    if best is not None:
        rows.append(_row("best possible", _shown(dict(intervals.mean(best)))))
        _add_shares(rows)
    return rows, found[run.config.model]


def _counting(run: LoadedRun, kind: type[Popularity]) -> Ranker:
    """The ranker of a baseline that every model has to beat."""
    model = kind(data.sizes(run.dataset))
    ranker = run.ranker
    variables = model.fit(ranker.log, ranker.catalogue, run.config.seed)
    return replace(ranker, model=model, variables=variables)


def _shown(figures: Figures) -> Figures:
    return {name: figures[name] for name in SHOWN}


def _row(name: str, figures: Figures) -> dict[str, Any]:
    return {"model": name, **figures}


def _add_shares(rows: Rows) -> None:
    low = rows[0]["ndcg@10"]
    high = rows[-1]["ndcg@10"]
    for row in rows:
        share = (row["ndcg@10"] - low) / (high - low)
        row["share of the gap"] = f"{share:.1%}"
