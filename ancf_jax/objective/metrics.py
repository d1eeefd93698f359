"""Ranking and prediction metrics on the host (NumPy, float64): one place to import them from.

What is computed where: `full_ranking` among all candidates, `sampled_ranking` among drawn
negatives, `value_metrics` of predicted values; `ties` groups positives of equal score.
"""

import numpy as np

from ancf_jax.objective.full_ranking import ranking_metrics
from ancf_jax.objective.sampled_ranking import sampled_metrics
from ancf_jax.objective.ties import Ranks
from ancf_jax.objective.value_metrics import auc_binary, log_loss, mae, rmse

__all__ = [
    "Ranks",
    "auc_binary",
    "coverage",
    "log_loss",
    "mae",
    "ranking_metrics",
    "rmse",
    "sampled_metrics",
]


def coverage(top_ids: np.ndarray, items: int) -> float:
    """Share of a catalogue of `items` that stands in at least one list.

    Args:
        top_ids: item numbers of any shape; -1 is an empty place.
        items: size of the catalogue.
    """
    return len(np.unique(top_ids[top_ids >= 0])) / items
