"""The best possible ranking of a simulated shop, whose true probabilities are known."""

import numpy as np

from ancf_jax.data import TEST, Dataset, event_log, heldout, known_parts
from ancf_jax.evaluation.places import keep_items, ranks_within
from ancf_jax.objective import metrics


def truth_metrics(
    dataset: Dataset, part: int, keep_seen: bool
) -> dict[str, np.ndarray] | None:
    """Figures of ranking by the simulation's true probabilities: the best possible.

    Args:
        dataset: all events.
        part: whose held-out events are ranked.
        keep_seen: whether items that the user already has are eligible.

    Returns:
        float64 [R] by metric; None without truth.
    """
    truth = dataset.truth
    if truth is None:
        return None
    probability = truth.test if part == TEST else truth.validation
    scores = probability.astype(np.float64)
    if not keep_seen:
        log = event_log(dataset, known_parts(part))
        user = np.repeat(np.arange(len(scores)), np.diff(log.seen_start))
        scores[user, log.seen_item] = -np.inf
    held = heldout(dataset, part)
    user = np.repeat(held.user, np.diff(held.start))
    held = keep_items(held, scores[user, held.item] > -np.inf)
    ranks = ranks_within(scores[held.user], held.start, held.item)
    return metrics.ranking_metrics(ranks)
