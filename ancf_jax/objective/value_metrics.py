"""Metrics of predicted values: of ratings, and of probabilities against labels."""

import numpy as np
from scipy.stats import rankdata


def rmse(prediction: np.ndarray, target: np.ndarray) -> float:
    """Root of the mean squared error, sqrt(mean((prediction - target)^2)), of arrays [N]."""
    error = _errors(prediction, target)
    mean_square = np.mean(np.square(error))
    return float(np.sqrt(mean_square))


def mae(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error, mean(|prediction - target|), of arrays [N]."""
    error = _errors(prediction, target)
    return float(np.mean(np.abs(error)))


def _errors(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.subtract(prediction, target, dtype=np.float64)


def log_loss(probability: np.ndarray, label: np.ndarray, eps: float = 1e-7) -> float:
    """Mean of -y ln p - (1 - y) ln(1 - p), in nats.

    Args:
        probability: p [N], clipped to [eps, 1 - eps].
        label: y [N] in [0, 1].
        eps: bounds the cost of a certain error.
    """
    p = np.asarray(probability, np.float64)
    p = np.clip(p, eps, 1 - eps)
    y = np.asarray(label, np.float64)
    of_positive = y * np.log(p)
    of_negative = (1 - y) * np.log1p(-p)
    return float(-np.mean(of_positive + of_negative))


def auc_binary(score: np.ndarray, label: np.ndarray) -> float | None:
    """Share of (positive, negative) pairs that scores put in the right order, ties half.

    With n positives, (sum of their ranks - n (n + 1) / 2) / pairs (Mann and Whitney 1947).

    Args:
        score: [N].
        label: [N], positive where above 0.

    Returns:
        None where one of the classes is absent.
    """
    is_positive = label > 0
    positives = np.count_nonzero(is_positive)
    negatives = len(label) - positives
    pairs = positives * negatives
    if pairs == 0:
        return None
    rank = rankdata(score)
    rank_sum = rank[is_positive].sum()
    lowest_sum = positives * (positives + 1) / 2  # with every positive at the bottom
    return float((rank_sum - lowest_sum) / pairs)
