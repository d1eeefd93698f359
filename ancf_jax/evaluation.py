"""How good a model is on held-out events: figures per user, their means and intervals."""

from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ancf_jax.config import VALUE_LOSSES, Config
from ancf_jax.data.dataset import (
    Dataset,
    Heldout,
    event_log,
    heldout,
    heldout_events,
    known_parts,
)
from ancf_jax.data.interactions import TEST, TRAIN, VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.models.protocol import Model, NeuralModel, predictions
from ancf_jax.objective import intervals, metrics
from ancf_jax.objective.intervals import Interval
from ancf_jax.ranking import Progress, Ranker, unwatched

Protocol = Literal["full", "sampled", "given"]
Figures = dict[str, float | None]
PARTS = {"validation": VALIDATION, "test": TEST}
TOP = 10  # length of the lists that coverage counts


class Evaluation(NamedTuple):
    """Figures of one model on one part of the data."""

    metrics: Figures
    intervals: dict[str, Interval]
    per_user: dict[str, np.ndarray]  # float64 [Q] per metric
    user: np.ndarray  # int32 [Q] row numbers of the users
    left_out: (
        int  # held-out items that could not be ranked, as the user already had them
    )


def value_loss_of(config: Config, model: Model) -> str | None:
    """The loss by which a model predicts values; None for rankers."""
    return (
        config.objective.loss
        if isinstance(model, NeuralModel) and config.objective.loss in VALUE_LOSSES
        else None
    )


def given_ranks(ranker: Ranker, dataset: Dataset, held: Heldout) -> metrics.Ranks:
    """Places of each user's held-out item among the negatives of the files; itself as a negative does not count."""
    negatives = dataset.interactions.given_negatives
    if negatives is None:
        raise UserError(
            'the data holds no given negatives; use --protocol full or sampled, or the format "ncf"'
        )
    if np.any(np.diff(held.start) != 1):
        raise UserError(
            "--protocol given needs exactly one held-out item per user; use --protocol full"
        )
    rows, own = negatives[held.user], held.item[:, None]
    candidates = np.where(rows == own, -1, rows)
    items = np.concatenate([own, np.maximum(candidates, 0)], axis=1).astype(np.int32)
    scores = ranker.candidate_scores(held.user, held.minute, items)
    scores[:, 1:][candidates < 0] = -np.inf
    return _ranks_within(scores, held.start, np.zeros(len(held.item), np.int32))


def _ranks_within(
    scores: np.ndarray, start: np.ndarray, column: np.ndarray
) -> metrics.Ranks:
    """Places of the positives, the columns [E] of the scores [Q, C] of their queries; -inf is no candidate."""
    rows = np.repeat(scores, np.diff(start), axis=0)
    own = rows[np.arange(len(rows)), column][:, None]
    return metrics.Ranks(
        start,
        (rows > own).sum(1),
        (rows == own).sum(1) - 1,
        (scores > -np.inf).sum(1),
        own[:, 0],
    )


def evaluate(
    ranker: Ranker,
    dataset: Dataset,
    part: int,
    protocol: Protocol = "full",
    keep_seen: bool = False,
    value_loss: str | None = None,
    negatives: int = 99,
    progress: Progress = unwatched,
) -> Evaluation:
    """Ranking figures with 95 % bootstrap intervals over users, and value figures where values were learned.

    Args:
        protocol: rank against the whole catalogue, `negatives` random items of it, or the items of the files.
        value_loss: "mse" adds rmse and mae, "log_loss" adds auc and log_loss over held-out events; then
            only held-out items of at least the median training value count as hits.
    """
    held = (
        only_liked(heldout(dataset, part), dataset)
        if value_loss
        else heldout(dataset, part)
    )
    if not len(held.user):
        raise UserError(
            "no held-out events to judge by; after --split.validation 0, only --split test has any"
        )
    ranks = (
        given_ranks(ranker, dataset, held)
        if protocol == "given"
        else ranker.ranks(held, keep_seen, progress)[0]
    )
    per_user = (
        metrics.sampled_metrics(ranks, negatives)
        if protocol == "sampled"
        else metrics.ranking_metrics(ranks)
    )
    figures: Figures = dict(intervals.mean(per_user))
    bounds = intervals.bootstrap(per_user, seed=0)
    if value_loss:
        pairs = judged(ranker, dataset, part, value_loss)
        figures |= value_figures(*pairs)
        bounds |= _value_intervals(heldout_events(dataset, part).user, *pairs)
    if protocol == "full":
        top = ranker.top_n(held.user, held.minute, TOP, keep_seen)
        figures[f"coverage@{TOP}"] = metrics.coverage(
            np.concatenate([ids for ids, _ in top]), ranker.items
        )
    return Evaluation(
        figures, bounds, per_user, held.user, len(held.item) - len(ranks.score)
    )


def only_liked(held: Heldout, dataset: Dataset) -> Heldout:
    """The held-out items whose value is at least the median of the training values."""
    return _kept(held, held.value >= _median(dataset))


def _kept(held: Heldout, keep: np.ndarray) -> Heldout:
    start = np.append(0, np.cumsum(keep))[held.start].astype(np.int32)
    return held._replace(item=held.item[keep], value=held.value[keep], start=start)


def _median(dataset: Dataset) -> float:
    return float(np.median(dataset.value[dataset.part == TRAIN]))


def value_figures(
    prediction: np.ndarray, value: np.ndarray, value_loss: str, threshold: float
) -> Figures:
    """rmse and mae ("mse"), or auc and log_loss ("log_loss"), of predictions [E] against values [E].

    auc tells events of at least `threshold` from the others; None when one class is absent.
    """
    if value_loss == "mse":
        return {
            "rmse": metrics.rmse(prediction, value),
            "mae": metrics.mae(prediction, value),
        }
    return {
        "auc": metrics.auc_binary(prediction, value >= threshold),
        "log_loss": metrics.log_loss(prediction, value),
    }


def judged(
    ranker: Ranker, dataset: Dataset, part: int, value_loss: str
) -> tuple[np.ndarray, np.ndarray, str, float]:
    """What `value_figures` takes, of the held-out events of `part`; the threshold is the median training value."""
    held = heldout_events(dataset, part)
    scores = ranker.candidate_scores(
        held.user, held.minute, held.item[:, None], block=1024
    )[:, 0]
    return predictions(ranker.model, scores), held.value, value_loss, _median(dataset)


def _value_intervals(
    user: np.ndarray, prediction: np.ndarray, value: np.ndarray, *how: Any
) -> dict[str, Interval]:
    """95 % bootstrap intervals of `value_figures` by 200 draws of users, each with all their events [E]."""
    rng, (users, row) = np.random.default_rng(0), np.unique(user, return_inverse=True)
    times = (
        np.bincount(rng.integers(len(users), size=len(users)), minlength=len(users))[
            row
        ]
        for _ in range(200)
    )
    found = [
        value_figures(np.repeat(prediction, n), np.repeat(value, n), *how)
        for n in times
    ]
    bounds = pd.DataFrame(found, dtype=float).quantile([0.025, 0.975])
    return {str(name): (low, high) for name, (low, high) in bounds.items()}


def mean_baselines(dataset: Dataset, part: int, value_loss: str) -> dict[str, Figures]:
    """Value figures of predicting each item's, and each user's, mean training value (the overall mean if it has none)."""
    held, log, found = (
        heldout_events(dataset, part),
        event_log(dataset, known_parts(part)),
        {},
    )
    for side in ("item", "user"):
        mean = (
            pd.Series(np.asarray(log.value, float)).groupby(getattr(log, side)).mean()
        )
        prediction = mean.reindex(
            getattr(held, side), fill_value=np.mean(log.value)
        ).to_numpy()
        found[f"{side} mean"] = value_figures(
            prediction, held.value, value_loss, _median(dataset)
        )
    return found


def truth_metrics(
    dataset: Dataset, part: int, keep_seen: bool
) -> dict[str, np.ndarray] | None:
    """Figures float64 [Q] of ranking by the simulation's true probabilities: the best possible; None without truth."""
    if dataset.truth is None:
        return None
    held, log = heldout(dataset, part), event_log(dataset, known_parts(part))
    scores = (dataset.truth.test if part == TEST else dataset.truth.validation).astype(
        np.float64
    )
    if not keep_seen:
        scores[
            np.repeat(np.arange(len(scores)), np.diff(log.seen_start)), log.seen_item
        ] = -np.inf
    held = _kept(
        held, scores[np.repeat(held.user, np.diff(held.start)), held.item] > -np.inf
    )
    return metrics.ranking_metrics(
        _ranks_within(scores[held.user], held.start, held.item)
    )
