"""Entries of the lists of requests: what probabilities are fitted on, and judged by."""

from typing import NamedTuple

import numpy as np

from ancf_jax.data import Dataset, heldout
from ancf_jax.evaluation.values import Figures
from ancf_jax.objective.calibration import (
    Calibration,
    Reliability,
    calibration_error,
    error_by_chance,
    fit_calibration,
    reliability,
    softmax_log_odds,
)
from ancf_jax.ranking import Ranker
from ancf_jax.types import Heldout

FITTED_TOP = 20  # places that a scale is fitted on: those shown, and as many again
JUDGED_TOP = 10  # places that it is judged by


class Entries(NamedTuple):
    """The entries of all lists, one after the other.

    Attributes:
        log_odds: float64 [E] of the softmax over the eligible items.
        is_hit: bool [E] whether the item is among what was held out for its request.
    """

    log_odds: np.ndarray
    is_hit: np.ndarray


def list_entries(ranker: Ranker, held: Heldout, n: int, keep_seen: bool) -> Entries:
    """The entries of the top n of every request; fewer where fewer items are eligible.

    Args:
        ranker: the model, knowing the events before those that are held out.
        held: requests and their held-out items.
        n: length of the lists.
        keep_seen: whether items that the user already has are eligible.
    """
    found = ranker.top_n_with_totals(held.user, held.minute, n, keep_seen)
    columns = zip(*found, strict=True)
    items, scores, log_total = map(np.concatenate, columns)
    request, place = np.nonzero(items >= 0)
    log_odds = softmax_log_odds(scores[request, place], log_total[request])
    every_request = np.arange(len(held.user))
    of_heldout = np.repeat(every_request, np.diff(held.start))
    listed = request * ranker.items + items[request, place]
    is_hit = np.isin(listed, of_heldout * ranker.items + held.item)
    return Entries(log_odds, is_hit)


def fitted_calibration(
    ranker: Ranker, held: Heldout, keep_seen: bool
) -> Calibration | None:
    """The scale that the lists of requests fix; None where there is no entry.

    See `list_entries` for the arguments.
    """
    if not len(held.user):
        return None
    entries = list_entries(ranker, held, FITTED_TOP, keep_seen)
    return fit_calibration(*entries) if len(entries.is_hit) else None


def judged_calibration(
    ranker: Ranker,
    dataset: Dataset,
    part: int,
    keep_seen: bool,
    calibration: Calibration,
) -> Reliability:
    """Probabilities of the entries of the top 10 of all requests of `part`, beside the hits.

    Args:
        ranker: the model, knowing the events before those of `part`.
        dataset: all events.
        part: whose held-out events count as hits.
        keep_seen: whether items that the user already has are eligible.
        calibration: makes the probabilities.
    """
    held = heldout(dataset, part)
    entries = list_entries(ranker, held, JUDGED_TOP, keep_seen)
    probability = calibration.probability(entries.log_odds)
    return reliability(probability, entries.is_hit)


def calibration_figures(table: Reliability) -> Figures:
    """The calibration error of the top 10, and the one that luck alone makes."""
    return {
        f"ece@{JUDGED_TOP}": calibration_error(table),
        f"ece@{JUDGED_TOP} by chance": error_by_chance(table),
    }
