"""How good a model is on held-out events: figures per user, their means and intervals."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd

from ancf_jax.config import Config
from ancf_jax.data.dataset import Dataset, Heldout, event_log, heldout, heldout_events, known_parts
from ancf_jax.data.interactions import TEST, TRAIN, VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.models.protocol import Model, NeuralModel, link
from ancf_jax.objective import intervals, metrics
from ancf_jax.objective.losses import VALUE_LOSSES
from ancf_jax.objective.metrics import Ranks
from ancf_jax.ranking import Progress, Ranker
from ancf_jax.types import HeldoutEvents

Protocol = Literal["full", "sampled", "given"]
PARTS = {"validation": VALIDATION, "test": TEST}
TOP = 10  # length of the lists that coverage counts


class Evaluation(NamedTuple):
    """Figures of one model on one part of the data."""

    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    per_user: dict[str, np.ndarray]  # float64 [Q] per metric
    user: np.ndarray  # int32 [Q] row numbers of the users
    left_out: int  # held-out items that could not be ranked, as the user already had them


def value_loss_of(config: Config, model: Model) -> tuple[str | None, str]:
    """The loss by which a model predicts values (None for rankers), and its link."""
    if not isinstance(model, NeuralModel):
        return None, "identity"
    return (config.objective.loss if config.objective.loss in VALUE_LOSSES else None), model.link


def given_ranks(ranker: Ranker, dataset: Dataset, held: Heldout) -> Ranks:
    """Places of each user's held-out item among the negatives of the files; itself as a negative does not count."""
    negatives = dataset.interactions.given_negatives
    if negatives is None:
        raise UserError('the data holds no given negatives; use --protocol full or sampled, or the format "ncf"')
    if np.any(np.diff(held.start) != 1):
        raise UserError("--protocol given needs exactly one held-out item per user; use --protocol full")
    rows = negatives[held.user]
    candidates = np.concatenate([held.item[:, None], np.maximum(rows, 0)], axis=1).astype(np.int32)
    scores = ranker.candidate_scores(held.user, held.minute, candidates)
    valid = (rows >= 0) & (rows != held.item[:, None])
    own, others = scores[:, :1], np.where(valid, scores[:, 1:], -np.inf)
    greater, equal, size = np.array([(others > own).sum(1), (others == own).sum(1), 1 + valid.sum(1)], np.int64)
    return Ranks(held.start, greater, equal, size, own[:, 0])


def evaluate(
    ranker: Ranker,
    dataset: Dataset,
    part: int,
    *,
    protocol: Protocol = "full",
    keep_seen: bool = False,
    value_loss: str | None = None,
    link_kind: str = "identity",
    negatives: int = 99,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Ranking figures with 95 % bootstrap intervals over users, and value figures where values were learned.

    Args:
        protocol: rank against the whole catalogue, `negatives` random items of it, or the items of the files.
        value_loss: "mse" adds rmse and mae, "log_loss" adds auc and log_loss over held-out events; then
            only held-out items of at least the median training value count as hits.
    """
    held, left_out = heldout(dataset, part), 0
    held = only_liked(held, dataset) if value_loss else held
    if protocol == "given":
        ranks = given_ranks(ranker, dataset, held)
    else:
        ranks, eligible = ranker.ranks(held, keep_seen, progress)
        left_out = int((~eligible).sum())
    sampled = protocol == "sampled"
    per_user = metrics.sampled_metrics(ranks, negatives) if sampled else metrics.ranking_metrics(ranks)
    figures: dict[str, float | None] = dict(intervals.mean(per_user))
    bounds = intervals.bootstrap(per_user, seed=seed)
    if value_loss:
        events, threshold = heldout_events(dataset, part), _median(dataset)
        prediction = _predict(ranker, events, link_kind)
        figures |= value_figures(prediction, events.value, value_loss, threshold)
        bounds |= _value_intervals(prediction, events, value_loss, threshold, seed)
    if protocol == "full":
        top = ranker.top_n(held.user, held.minute, TOP, keep_seen)
        figures[f"coverage@{TOP}"] = metrics.coverage(np.concatenate([ids for ids, _ in top]), ranker.items)
    return Evaluation(figures, bounds, per_user, held.user, left_out)


def only_liked(held: Heldout, dataset: Dataset) -> Heldout:
    """The held-out items whose value is at least the median of the training values."""
    return _kept(held, held.value >= _median(dataset))


def _kept(held: Heldout, keep: np.ndarray) -> Heldout:
    start = np.append(0, np.cumsum(keep))[held.start].astype(np.int32)
    return held._replace(item=held.item[keep], value=held.value[keep], start=start)


def _median(dataset: Dataset) -> float:
    return float(np.median(dataset.value[dataset.part == TRAIN]))


def value_metrics(
    ranker: Ranker, dataset: Dataset, part: int, value_loss: str, link_kind: str
) -> dict[str, float | None]:
    """`value_figures` of the held-out events of `part`, split at the median training value."""
    held = heldout_events(dataset, part)
    return value_figures(_predict(ranker, held, link_kind), held.value, value_loss, _median(dataset))


def value_figures(
    prediction: np.ndarray, value: np.ndarray, value_loss: str, threshold: float
) -> dict[str, float | None]:
    """rmse and mae ("mse"), or auc and log_loss ("log_loss"), of predictions [E] against values [E].

    auc tells events of at least `threshold` from the others; None when one class is absent.
    """
    if value_loss == "mse":
        return {"rmse": metrics.rmse(prediction, value), "mae": metrics.mae(prediction, value)}
    auc = metrics.auc_binary(prediction, value >= threshold)
    return {"auc": auc, "log_loss": metrics.log_loss(prediction, value)}


def _predict(ranker: Ranker, held: HeldoutEvents, link_kind: str) -> np.ndarray:
    scores = ranker.candidate_scores(held.user, held.minute, held.item[:, None], block=1024)[:, 0]
    return np.asarray(link(link_kind, jnp.asarray(scores)))


def _value_intervals(
    prediction: np.ndarray, held: HeldoutEvents, value_loss: str, threshold: float, seed: int, draws: int = 200
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of the value figures; users are drawn, each with all their events."""
    rng, (users, row) = np.random.default_rng(seed), np.unique(held.user, return_inverse=True)
    times = (np.bincount(rng.integers(len(users), size=len(users)), minlength=len(users))[row] for _ in range(draws))
    drawn = (np.repeat(np.arange(len(row)), count) for count in times)
    found = [value_figures(prediction[rows], held.value[rows], value_loss, threshold) for rows in drawn]
    bounds = pd.DataFrame(found, dtype=float).quantile([0.025, 0.975])
    return {str(name): (low, high) for name, (low, high) in bounds.items()}


def mean_baselines(dataset: Dataset, part: int, value_loss: str) -> dict[str, dict[str, float | None]]:
    """Value figures of predicting each item's, and each user's, mean training value (the overall mean if it has none)."""
    held, log, found = heldout_events(dataset, part), event_log(dataset, known_parts(part)), {}
    for side in ("item", "user"):
        mean = pd.Series(np.asarray(log.value, float)).groupby(getattr(log, side)).mean()
        prediction = mean.reindex(getattr(held, side), fill_value=np.mean(log.value)).to_numpy()
        found[f"{side} mean"] = value_figures(prediction, held.value, value_loss, _median(dataset))
    return found


def truth_metrics(dataset: Dataset, part: int, keep_seen: bool) -> dict[str, np.ndarray] | None:
    """Figures float64 [Q] of ranking by the simulation's true probabilities: the best possible; None without truth."""
    if dataset.truth is None:
        return None
    held, log = heldout(dataset, part), event_log(dataset, known_parts(part))
    scores = (dataset.truth.test if part == TEST else dataset.truth.validation).astype(np.float64)
    if not keep_seen:
        scores[np.repeat(np.arange(len(scores)), np.diff(log.seen_start)), log.seen_item] = -np.inf
    held = _kept(held, scores[np.repeat(held.user, np.diff(held.start)), held.item] > -np.inf)
    rows = scores[np.repeat(held.user, np.diff(held.start))]
    own = rows[np.arange(len(rows)), held.item]
    greater, equal = (rows > own[:, None]).sum(1), (rows == own[:, None]).sum(1) - 1
    return metrics.ranking_metrics(Ranks(held.start, greater, equal, (scores[held.user] > -np.inf).sum(1), own))
