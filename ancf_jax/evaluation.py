"""How good a model is on held-out events: figures per user, their means and intervals."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Config
from ancf_jax.data.dataset import Dataset, Heldout, event_log, heldout, heldout_events, known_parts
from ancf_jax.data.interactions import TEST, TRAIN, VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.models.protocol import Model, NeuralModel, link
from ancf_jax.objective import intervals, metrics
from ancf_jax.objective.losses import VALUE_LOSSES
from ancf_jax.objective.metrics import Ranks
from ancf_jax.ranking import Progress, Ranker
from ancf_jax.types import EventLog, HeldoutEvents

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
    loss = config.objective.loss
    if isinstance(model, NeuralModel):
        return (loss if loss in VALUE_LOSSES else None), model.link
    return None, "identity"


def rank_heldout(
    ranker: Ranker,
    dataset: Dataset,
    held: Heldout,
    protocol: Protocol,
    keep_seen: bool,
    progress: Progress | None = None,
) -> tuple[Ranks, int]:
    """Places of the held-out items by one protocol, and how many could not be ranked.

    `full` and `sampled` rank against the whole catalogue; `given` against the items of the files.
    """
    if protocol == "given":
        return given_ranks(ranker, dataset, held), 0
    ranks, eligible = ranker.ranks(held, keep_seen, progress)
    return ranks, int((~eligible).sum())


def given_ranks(ranker: Ranker, dataset: Dataset, held: Heldout) -> Ranks:
    """Places of each user's held-out item among the negatives that the files give.

    A negative that is the held-out item itself does not count.
    """
    negatives = dataset.interactions.given_negatives
    if negatives is None:
        raise UserError(
            'the data holds no given negatives; use --protocol full or sampled, or data in the "ncf" format'
        )
    if np.any(np.diff(held.start) != 1):
        raise UserError("--protocol given needs exactly one held-out item per user; use --protocol full")
    rows = negatives[held.user]
    candidates = np.concatenate([held.item[:, None], np.maximum(rows, 0)], axis=1).astype(np.int32)
    scores = ranker.candidate_scores(held.user, held.minute, candidates)
    valid = (rows >= 0) & (rows != held.item[:, None])
    own, others = scores[:, :1], np.where(valid, scores[:, 1:], -np.inf)
    counts = [(others > own).sum(1), (others == own).sum(1), 1 + valid.sum(1)]
    greater, equal, size = (count.astype(np.int64) for count in counts)
    return Ranks(held.start, greater, equal, size, own[:, 0])


def per_user_metrics(ranks: Ranks, protocol: Protocol, negatives: int) -> dict[str, np.ndarray]:
    """Ranking figures float64 [Q] of every user."""
    if protocol == "sampled":
        return metrics.sampled_metrics(ranks, negatives)
    return metrics.ranking_metrics(ranks)


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
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Ranking figures with 95 % bootstrap intervals over users, and value figures where values were learned.

    Args:
        value_loss: "mse" adds rmse and mae, "log_loss" adds auc and log_loss over held-out events; then
            only held-out items of at least the median training value count as hits.
        negatives: items that the sampled protocol ranks against.
        limit: at most so many users, drawn by `seed`.
    """
    held = heldout(dataset, part, limit, seed)
    liked = only_liked(held, dataset) if value_loss else held
    ranks, left_out = rank_heldout(ranker, dataset, liked, protocol, keep_seen, progress)
    per_user = per_user_metrics(ranks, protocol, negatives)
    figures: dict[str, float | None] = dict(intervals.mean(per_user))
    bounds = intervals.bootstrap(per_user, seed=seed)
    if value_loss:
        events, threshold = heldout_events(dataset, part), _median(dataset)
        prediction = predict_events(ranker, events, link_kind)
        found = value_figures(prediction, events.value, value_loss, threshold)
        figures |= found
        bounds |= value_intervals(prediction, events, value_loss, threshold, seed)
    if protocol == "full":
        top = ranker.top_n(liked.user, liked.minute, TOP, keep_seen)
        figures[f"coverage@{TOP}"] = metrics.coverage(np.concatenate([ids for ids, _ in top]), ranker.items)
    return Evaluation(figures, bounds, per_user, liked.user, left_out)


def only_liked(held: Heldout, dataset: Dataset) -> Heldout:
    """The held-out items whose value is at least the median of the training values."""
    keep = held.value >= _median(dataset)
    query = np.repeat(np.arange(len(held.user)), np.diff(held.start))[keep]
    start = np.concatenate([[0], np.cumsum(np.bincount(query, minlength=len(held.user)))]).astype(np.int32)
    return held._replace(item=held.item[keep], value=held.value[keep], start=start)


def _median(dataset: Dataset) -> float:
    return float(np.median(dataset.value[dataset.part == TRAIN]))


def value_metrics(
    ranker: Ranker, dataset: Dataset, part: int, value_loss: str, link_kind: str
) -> dict[str, float | None]:
    """rmse and mae of predicted ratings, or auc and log_loss of predicted engagement, over held-out events.

    auc tells events of at least the median training value from the others; None when one class is absent.
    """
    held = heldout_events(dataset, part)
    prediction = predict_events(ranker, held, link_kind)
    return value_figures(prediction, held.value, value_loss, _median(dataset))


def predict_events(ranker: Ranker, held: HeldoutEvents, link_kind: str) -> np.ndarray:
    """Predicted values float32 [E] of held-out events."""
    scores = ranker.candidate_scores(held.user, held.minute, held.item[:, None], block=1024)[:, 0]
    return np.asarray(link(link_kind, jnp.asarray(scores)))


def value_intervals(
    prediction: np.ndarray, held: HeldoutEvents, value_loss: str, threshold: float, seed: int, draws: int = 200
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of the value figures; users are drawn, each with all their events."""
    rng, (users, row) = np.random.default_rng(seed), np.unique(held.user, return_inverse=True)
    found = []
    for _ in range(draws):
        times = np.bincount(rng.integers(0, len(users), len(users)), minlength=len(users))[row]
        drawn = np.repeat(np.arange(len(row)), times)
        found.append(value_figures(prediction[drawn], held.value[drawn], value_loss, threshold))
    columns = {name: [x for one in found if (x := one[name]) is not None] for name in found[0]}
    return {
        name: (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
        for name, values in columns.items()
        if values
    }


def value_figures(
    prediction: np.ndarray, value: np.ndarray, value_loss: str, threshold: float
) -> dict[str, float | None]:
    """The figures of predictions [E] against values [E]; see `value_metrics`."""
    if value_loss == "mse":
        return {"rmse": metrics.rmse(prediction, value), "mae": metrics.mae(prediction, value)}
    return {
        "auc": metrics.auc_binary(prediction, value >= threshold),
        "log_loss": metrics.log_loss(prediction, value),
    }


def mean_baselines(dataset: Dataset, part: int, value_loss: str) -> dict[str, dict[str, float | None]]:
    """Value figures of predicting each item's, and each user's, mean training value (the overall mean if it has none)."""
    held, threshold = heldout_events(dataset, part), _median(dataset)
    log = event_log(dataset, known_parts(part))
    found = {}
    for name, train, test, size in (
        ("item mean", log.item, held.item, len(dataset.interactions.items)),
        ("user mean", log.user, held.user, len(dataset.interactions.users)),
    ):
        count = np.bincount(train, minlength=size)
        total = np.bincount(train, weights=log.value, minlength=size)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.mean(log.value))
        found[name] = value_figures(mean[test], held.value, value_loss, threshold)
    return found


def truth_metrics(dataset: Dataset, part: int, keep_seen: bool) -> dict[str, np.ndarray] | None:
    """Figures float64 [Q] of ranking by the simulation's true probabilities: the best possible; None without truth."""
    if dataset.truth is None:
        return None
    held = heldout(dataset, part)
    scores = (dataset.truth.test if part == TEST else dataset.truth.validation)[held.user].astype(np.float64)
    if not keep_seen:
        _hide_seen(scores, held.user, event_log(dataset, known_parts(part)))
    query = np.repeat(np.arange(len(held.user)), np.diff(held.start))
    own = scores[query, held.item]
    eligible = own > -np.inf
    rows = scores[query[eligible]]
    greater = (rows > own[eligible][:, None]).sum(1)
    equal = (rows == own[eligible][:, None]).sum(1) - 1
    counts = np.bincount(query[eligible], minlength=len(held.user))
    start = np.concatenate([[0], np.cumsum(counts)])
    return metrics.ranking_metrics(Ranks(start, greater, equal, (scores > -np.inf).sum(1), own[eligible]))


def _hide_seen(scores: np.ndarray, user: np.ndarray, log: EventLog) -> None:
    for row, one in enumerate(user):
        scores[row, np.asarray(log.seen_item[log.seen_start[one] : log.seen_start[one + 1]])] = -np.inf
