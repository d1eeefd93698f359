"""What it costs, and what it finds, to keep places of lists for products without events."""

from typing import NamedTuple

import numpy as np

from ancf_jax.evaluation.groups import random_hit_rate
from ancf_jax.evaluation.places import keep_items
from ancf_jax.objective import intervals, metrics
from ancf_jax.objective.metrics import Ranks
from ancf_jax.ranking import Ranker
from ancf_jax.ranking.explore import explored_places, unsold_items
from ancf_jax.types import Heldout

TOP = 10  # length of the lists
COSTS = ("recall@10", "ndcg@10", "hit_rate@10")


class Explored(NamedTuple):
    """Figures of lists with places for products without events.

    Attributes:
        share: of the places of all lists that were asked for such products.
        share_of_places: those that hold one, of the evaluated users.
        share_of_purchases: held-out items that are such products.
        metrics: means over users: of the lists; what that is above plain lists ("change in");
            and of such products alone, the share of users who took one of the one to ten in
            the list ("new: hit_rate"), the same of as many drawn at random ("new: random"), and
            how often one stands above another that was not taken ("new: auc").
        intervals: 95 % bootstrap intervals of these.
    """

    share: float
    share_of_places: float
    share_of_purchases: float
    metrics: dict[str, float]
    intervals: intervals.Intervals


def explored_evaluation(
    ranker: Ranker,
    held: Heldout,
    keep_seen: bool,
    plain: dict[str, np.ndarray],
    share: float,
    seed: int,
) -> Explored:
    """Figures of the lists that `ranking.explore.top_n` would give.

    Places within each part are exact expectations over ties, as everywhere.

    Args:
        ranker: knows the events before those that are held out.
        held: requests and their held-out items.
        keep_seen: whether items that the user already has are eligible.
        plain: figures [R] of lists without such places.
        share: of the places.
        seed: of `explored_places`.
    """
    is_unsold = unsold_items(ranker)
    is_new = is_unsold[held.item]
    sold, _ = ranker.among(~is_unsold).ranks(keep_items(held, ~is_new), keep_seen)
    unsold, _ = ranker.among(is_unsold).ranks(keep_items(held, is_new), keep_seen)
    places = explored_places(held.user, TOP, share, seed)
    places = np.minimum(places, unsold.candidates)
    per_user = explored_figures(sold, unsold, places)
    per_user["new: auc"] = metrics.ranking_metrics(unsold, ks=(1,))["auc"]
    for name in COSTS:
        per_user[f"change in {name}"] = per_user[name] - plain[name]
    return Explored(
        share=share,
        share_of_places=float(places.mean() / TOP),
        share_of_purchases=float(is_new.mean()),
        metrics=intervals.mean(per_user),
        intervals=intervals.bootstrap(per_user, seed=0),
    )


def explored_figures(
    sold: Ranks, unsold: Ranks, places: np.ndarray
) -> dict[str, np.ndarray]:
    """Figures of lists of 10 whose last places [R] are for items without events.

    Args:
        sold: where the held-out items with events stand among such items.
        unsold: where those without events stand among such items.
        places: int64 [R].

    Returns:
        float64 [R] by metric, NaN where a user has no such held-out items.
    """
    depth = np.minimum(TOP - places, sold.candidates)
    of_sold = _by_depth(sold)
    of_unsold = _by_depth(unsold)
    request = np.arange(len(places))
    positives = np.diff(sold.start) + np.diff(unsold.start)
    found = of_sold.found[depth, request] + of_unsold.found[places, request]
    gain = of_sold.gain[depth, request] + _gain_from(of_unsold.found, depth, places)
    missed_sold = 1 - of_sold.hit[depth, request]
    missed_unsold = 1 - of_unsold.hit[places, request]
    new_positives = np.diff(unsold.start)
    has_new = new_positives > 0
    figures = {
        "recall@10": found / np.maximum(positives, 1),
        "ndcg@10": gain / _ideal_gain(positives),
        "hit_rate@10": 1 - missed_sold * missed_unsold,
    }
    figures = {
        name: np.where(positives > 0, values, np.nan)
        for name, values in figures.items()
    }
    figures["new: hit_rate"] = np.where(has_new, 1 - missed_unsold, np.nan)
    figures["new: random"] = random_hit_rate(new_positives, unsold.candidates, places)
    return figures


class _ByDepth(NamedTuple):
    """Expectations [TOP + 1, R] of the first 0 .. TOP places.

    Attributes:
        found: positives in them.
        gain: discounted gain of them.
        hit: the chance of some positive.
    """

    found: np.ndarray
    gain: np.ndarray
    hit: np.ndarray


def _by_depth(ranks: Ranks) -> _ByDepth:
    figures = metrics.ranking_metrics(ranks, ks=range(1, TOP + 1))
    nothing = np.zeros(len(ranks.candidates))

    def of(name: str) -> np.ndarray:
        rows = [figures[f"{name}@{k}"] for k in range(1, TOP + 1)]
        return np.nan_to_num(np.stack([nothing, *rows]))

    found = of("recall") * np.diff(ranks.start)
    expected = np.diff(found, axis=0)
    discount = 1 / np.log2(np.arange(2, TOP + 2))
    gain = np.cumsum(expected * discount[:, None], axis=0)
    return _ByDepth(found, np.vstack([nothing, gain]), of("hit_rate"))


def _gain_from(found: np.ndarray, depth: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Discounted gain [R] of the first `places` of a part that begins after `depth` places."""
    expected = np.diff(found, axis=0)
    number = np.arange(TOP)[:, None]
    discount = 1 / np.log2(depth + number + 2)
    return (expected * discount * (number < places)).sum(0)


def _ideal_gain(positives: np.ndarray) -> np.ndarray:
    """The gain [R] of lists that begin with the positives."""
    gain = np.cumsum(1 / np.log2(np.arange(2, TOP + 2)))
    return gain[np.clip(positives, 1, TOP) - 1]
