"""Figures of predicted values (ratings, engagement), and of the simplest predictions."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ancf_jax.data import TRAIN, Dataset, event_log, heldout_events, known_parts
from ancf_jax.evaluation.places import keep_items
from ancf_jax.models.protocol import NeuralModel, predictions
from ancf_jax.objective import metrics
from ancf_jax.objective.intervals import Intervals
from ancf_jax.objective.objective import Objective, objective_of
from ancf_jax.prepared import Prepared
from ancf_jax.ranking import Ranker
from ancf_jax.types import Array, Heldout

Figures = dict[str, float | None]
ONE_CLASS = (
    "no auc: all held-out values are at least the median of training, or all are below"
)
Judged = tuple[np.ndarray, np.ndarray, str, float]


def value_objective(prepared: Prepared) -> Objective | None:
    """The objective of a model that learns values; None for one that ranks."""
    if not isinstance(prepared.model, NeuralModel):
        return None
    items = len(prepared.dataset.interactions.items)
    objective = objective_of(prepared.config.objective, items)
    return objective if objective.predicts_values else None


def value_figures(
    prediction: np.ndarray, value: np.ndarray, value_loss: str, threshold: float
) -> Figures:
    """Figures of predictions [E] against values [E].

    Args:
        prediction: what the model says.
        value: what was observed.
        value_loss: the name of the objective: "mse" or "log_loss".
        threshold: auc tells events of at least so much from the others.

    Returns:
        rmse and mae for "mse"; auc and log_loss for "log_loss". auc is None when one class is
        absent.
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


def judged(ranker: Ranker, dataset: Dataset, part: int, value_loss: str) -> Judged:
    """What `value_figures` takes, of the held-out events of `part`.

    The threshold is the median training value.
    """
    held = heldout_events(dataset, part)
    own = held.item[:, None]
    scores = ranker.candidate_scores(held.user, held.minute, own, block=1024)
    prediction = predictions(ranker.model, scores[:, 0])
    return prediction, held.value, value_loss, _median(dataset)


def value_intervals(user: np.ndarray, events: Judged, draws: int = 200) -> Intervals:
    """95 % bootstrap intervals of `value_figures`, by draws of users with all their events.

    Args:
        user: int32 [E] whose event it is.
        events: what `judged` returned.
        draws: how often users are drawn.
    """
    prediction, value, value_loss, threshold = events
    found = [
        value_figures(
            np.repeat(prediction, times), np.repeat(value, times), value_loss, threshold
        )
        for times in _draws_of_users(user, draws)
    ]
    bounds = pd.DataFrame(found, dtype=float).quantile([0.025, 0.975])
    return {str(name): (low, high) for name, (low, high) in bounds.items()}


def _draws_of_users(user: np.ndarray, draws: int) -> Iterator[np.ndarray]:
    """How often each event [E] stands in a bootstrap sample of users, sample by sample."""
    rng = np.random.default_rng(0)
    distinct, row = np.unique(user, return_inverse=True)
    users = len(distinct)
    for _ in range(draws):
        drawn = rng.integers(users, size=users)
        yield np.bincount(drawn, minlength=users)[row]


def mean_baselines(dataset: Dataset, part: int, value_loss: str) -> dict[str, Figures]:
    """Value figures of predicting each item's, and each user's, mean training value.

    The overall mean stands for what has no training value.
    """
    held = heldout_events(dataset, part)
    log = event_log(dataset, known_parts(part))
    of_item = _mean_of_group(log.value, log.item, held.item)
    of_user = _mean_of_group(log.value, log.user, held.user)
    threshold = _median(dataset)
    return {
        "item mean": value_figures(of_item, held.value, value_loss, threshold),
        "user mean": value_figures(of_user, held.value, value_loss, threshold),
    }


def _mean_of_group(value: Array, group: Array, asked: np.ndarray) -> np.ndarray:
    """The mean value of each asked group; the overall mean where the group has no value."""
    values = pd.Series(np.asarray(value, float))
    means = values.groupby(np.asarray(group)).mean()
    overall = np.mean(np.asarray(value))
    return means.reindex(asked, fill_value=overall).to_numpy()


def only_liked(held: Heldout, dataset: Dataset) -> Heldout:
    """The held-out items whose value is at least the median of the training values."""
    return keep_items(held, held.value >= _median(dataset))


def _median(dataset: Dataset) -> float:
    return float(np.median(dataset.value[dataset.part == TRAIN]))
