"""Probabilities made of scores, by a scale that held-out requests fix; and how far they hold.

What a probability means here, for every model that ranks: a shopper comes at a moment, and P is the
chance that the product is among what is held out for that request. That is the next event
(`leave_one_out`), some item of the next basket (`next_basket`), or some item of the held-out time
(`time`) or of the held-out pairs (`ratio`). It says nothing of whether the shopper comes. The sum
of the probabilities of a list is the expected number of its products that are taken. The scale is
fitted on validation requests of a model that knows the training events; it is taken to hold for
later requests, and on test it is judged.

What it is made of are the odds of the softmax. With the scores s of the eligible items,

    share_i = exp(s_i) / sum over j of exp(s_j),    odds_i = log(share_i / (1 - share_i)),
    P_i = sigmoid(slope * odds_i + offset).

A model trained by softmax on single events predicts the share itself: slope 1 and offset 0. The
slope mends scores that differ too much or too little, the offset the number of items in a basket.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

NEAREST_TO_ALL = 1e-5  # what a share lacks to 1 at least; float32 scores tell no less

BINS = 10


class Calibration(NamedTuple):
    """The scale that makes probabilities of log odds.

    Attributes:
        slope: at least 0, so that a higher score is never less probable.
        offset: the log odds of a probability where those of the softmax are 0.
    """

    slope: float
    offset: float

    def probability(self, log_odds: np.ndarray) -> np.ndarray:
        """sigmoid(slope * log_odds + offset), float64 of the same shape."""
        return expit(self.slope * log_odds + self.offset)


def softmax_log_odds(score: np.ndarray, log_total: np.ndarray) -> np.ndarray:
    """log(share / (1 - share)) of share = exp(score - log_total), float64.

    Args:
        score: finite scores.
        log_total: the log of the sum of exp(score) over all eligible items, of the same shape.
    """
    log_share = np.asarray(score, np.float64) - log_total
    log_share = np.minimum(log_share, -NEAREST_TO_ALL)
    return log_share - np.log(-np.expm1(log_share))


def fit_calibration(log_odds: np.ndarray, is_hit: np.ndarray) -> Calibration:
    """The scale of highest likelihood, with the targets that keep it finite.

    It minimises, over slope >= 0 and offset, the cross entropy of P against the target
    (n+ + 1) / (n+ + 2) for hits and 1 / (n- + 2) for others, n+ and n- being their numbers. It is
    convex.

    Source: Platt, Probabilistic Outputs for Support Vector Machines (1999); Lin, Lin and Weng, A
    Note on Platt's Probabilistic Outputs (2007).

    Args:
        log_odds: [E] of entries of lists, E at least 1.
        is_hit: bool [E] which of them are among what was held out.
    """
    hits = np.count_nonzero(is_hit)
    others = len(is_hit) - hits
    target = np.where(is_hit, (hits + 1) / (hits + 2), 1 / (others + 2))
    # Centred and of unit spread, so that the search takes few steps on any scale of scores.
    centre = log_odds.mean()
    spread = max(log_odds.std(), 1e-9)
    standard = (log_odds - centre) / spread

    def cross_entropy(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offset = parameters
        logit = slope * standard + offset
        loss = np.logaddexp(0, logit) - target * logit
        error = expit(logit) - target
        gradient = np.array([(error * standard).mean(), error.mean()])
        return loss.mean(), gradient

    base_rate = target.mean()
    start = np.array([0.0, np.log(base_rate / (1 - base_rate))])
    bounds = [(0, None), (None, None)]
    found = minimize(cross_entropy, start, jac=True, method="L-BFGS-B", bounds=bounds)
    slope = found.x[0] / spread
    offset = found.x[1] - slope * centre
    return Calibration(float(slope), float(offset))


class Reliability(NamedTuple):
    """Probabilities beside what happened, in bins of about equally many entries.

    Attributes:
        predicted: float64 [bins] mean probability of the entries of a bin, ascending.
        observed: float64 [bins] share of hits among them.
        count: int64 [bins] how many they are.
        by_chance: float64 [bins] mean distance between the two that luck alone makes where all
            probabilities hold: sqrt(2 / pi * sum of p (1 - p)) / count.
    """

    predicted: np.ndarray
    observed: np.ndarray
    count: np.ndarray
    by_chance: np.ndarray


def reliability(
    probability: np.ndarray, is_hit: np.ndarray, bins: int = BINS
) -> Reliability:
    """The reliability table of entries [E], the least probable first.

    Bins hold equally many entries, as nearly all probabilities of a shop are small: bins of equal
    width would leave them all in one.

    Source: Nguyen and O'Connor, Posterior calibration and exploratory analysis (2015).
    """
    order = np.argsort(probability, kind="stable")
    bins = min(bins, len(order))
    parts = np.array_split(order, bins)
    rows = [_bin(probability[part], is_hit[part]) for part in parts]
    columns = zip(*rows, strict=True)
    return Reliability(*map(np.array, columns))


def _bin(
    probability: np.ndarray, is_hit: np.ndarray
) -> tuple[float, float, int, float]:
    """A row of `Reliability`."""
    count = len(probability)
    variance = (probability * (1 - probability)).sum()
    by_chance = np.sqrt(2 / np.pi * variance) / count
    return probability.mean(), is_hit.mean(), count, by_chance


def calibration_error(table: Reliability) -> float:
    """Expected calibration error: sum over bins of count / E * |observed - predicted|.

    Source: Naeini, Cooper and Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian
    Binning (2015).
    """
    distance = np.abs(table.observed - table.predicted)
    return _mean_over_entries(table, distance)


def error_by_chance(table: Reliability) -> float:
    """The calibration error on so few entries where probabilities hold, hits being independent."""
    return _mean_over_entries(table, table.by_chance)


def _mean_over_entries(table: Reliability, value: np.ndarray) -> float:
    return float(np.average(value, weights=table.count))
