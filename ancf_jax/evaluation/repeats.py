"""Figures of what users take again, and of what they take for the first time."""

import numpy as np

from ancf_jax.evaluation.places import keep_ranks
from ancf_jax.objective import metrics
from ancf_jax.objective.metrics import Ranks
from ancf_jax.types import Array, EventLog, Heldout

SHOWN = ("recall@10", "ndcg@10")


def had_before(held: Heldout, log: EventLog) -> np.ndarray:
    """Which held-out items [E] their users have in the log: bool [E].

    Args:
        held: requests and their held-out items.
        log: the events before the requests, of all users.
    """
    every_user = np.arange(len(log.number))
    seen_user = np.repeat(every_user, np.diff(log.seen_start))
    user = np.repeat(held.user, np.diff(held.start))
    seen = _pair_numbers(seen_user, log.seen_item)
    return np.isin(_pair_numbers(user, held.item), seen)


def _pair_numbers(user: np.ndarray, item: Array) -> np.ndarray:
    """A number for each pair of user and item, equal for equal pairs: int64."""
    return (user.astype(np.int64) << 32) + np.asarray(item)


def figures_apart(ranks: Ranks, is_repeat: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of the held-out items that are repeats, and of those that are not.

    All items are ranked as before; only what counts as found differs.

    Args:
        ranks: where the held-out items [E] stand.
        is_repeat: bool [E] whether the user had the item before.

    Returns:
        float64 [R] by metric; NaN where a user has no such items.
    """
    groups = {
        "repeats": is_repeat,
        "first-time": ~is_repeat,
    }
    figures = {}
    for group, keep in groups.items():
        kept = keep_ranks(ranks, keep)
        found = metrics.ranking_metrics(kept, ks=(10,))
        for name in SHOWN:
            figures[f"{group}: {name}"] = found[name]
    return figures
