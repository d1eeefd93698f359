"""Figures by how many events of a product, or of a shopper, are known."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ancf_jax.evaluation.places import Ranked, keep_ranks
from ancf_jax.objective import intervals, metrics
from ancf_jax.objective.intervals import Interval
from ancf_jax.objective.metrics import Ranks
from ancf_jax.ranking import Ranker

GROUPS = ("0 events", "1-5 events", "6-20 events", "more events")
FROM = (0, 1, 6, 21)  # the fewest events of each group
SHOWN = ("recall@10", "ndcg@10", "hit_rate@10")
TOP = 10  # length of the lists whose places are counted


class Group(NamedTuple):
    """Figures of one group of items or of users.

    Attributes:
        name: "items" or "users", and one of `GROUPS`.
        count: held-out items that are of the group; or users of the group.
        share: that, as a share of all held-out items, or of all evaluated users.
        share_of_places: of the places in the top 10 of the evaluated users, those that hold
            items of the group; None of users.
        metrics: means over the users that have such figures, by name; of items also "random",
            the hit rate of 10 items drawn from all.
        intervals: 95 % bootstrap intervals of these.
    """

    name: str
    count: int
    share: float
    share_of_places: float | None
    metrics: dict[str, float]
    intervals: dict[str, Interval]


def group_of(events: np.ndarray) -> np.ndarray:
    """The number in `GROUPS` of who or what has so many events: int64, in the same shape."""
    return np.searchsorted(FROM, events, side="right") - 1


def groups_by_events(
    ranker: Ranker, ranked: Ranked, per_user: dict[str, np.ndarray]
) -> list[Group]:
    """Figures by known events of the held-out items, then by those of the users.

    Args:
        ranker: knows the events before those that are held out.
        ranked: what was ranked.
        per_user: figures [R] of all held-out items.
    """
    of_item = group_of(np.asarray(ranker.catalogue.popularity))
    of_user = group_of(np.diff(np.asarray(ranker.log.start)))
    user_group = of_user[ranked.held.user]
    held_group = of_item[ranked.held.item]
    listed = ranked.lists[ranked.lists >= 0]
    columns = item_columns(ranked.ranks, held_group)
    columns.update(user_columns(per_user, user_group))
    return [
        *_described("items", held_group, columns, _shares(of_item[listed])),
        *_described("users", user_group, columns, None),
    ]


def item_columns(ranks: Ranks, group: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of the held-out items of each group: float64 [R] by name, NaN for none.

    All items are ranked as before; only what counts as found differs.

    Args:
        ranks: where the held-out items [E] stand.
        group: int64 [E] the group of each of them.
    """
    columns = {}
    for number, name in enumerate(GROUPS):
        kept = keep_ranks(ranks, group == number)
        found = metrics.ranking_metrics(kept, ks=(TOP,))
        for metric in (*SHOWN, "auc"):
            columns[f"items, {name}: {metric}"] = found[metric]
        columns[f"items, {name}: random"] = random_hit_rate(
            np.diff(kept.start), kept.candidates, TOP
        )
    return columns


def user_columns(
    per_user: dict[str, np.ndarray], group: np.ndarray
) -> dict[str, np.ndarray]:
    """Figures of the users of each group: float64 [R] by name, NaN for all others.

    Args:
        per_user: [R] by metric.
        group: int64 [R] the group of each user.
    """
    columns = {}
    for number, name in enumerate(GROUPS):
        for metric in (*SHOWN, "auc"):
            own = np.where(group == number, per_user[metric], np.nan)
            columns[f"users, {name}: {metric}"] = own
    return columns


def random_hit_rate(
    positives: np.ndarray, candidates: np.ndarray, places: int | np.ndarray
) -> np.ndarray:
    """The chance that some positive is among `places` candidates drawn at random: float64 [R].

    1 - C(candidates - positives, places) / C(candidates, places)

    Args:
        positives: [R].
        candidates: [R], positives included.
        places: how many are drawn, of each request where it is [R].

    Returns:
        NaN where there are no positives.
    """
    places = np.broadcast_to(places, positives.shape)
    none = np.ones(positives.shape)
    for drawn in range(int(places.max(initial=0))):
        left = np.maximum(candidates - drawn, 1)
        others_left = np.maximum(candidates - positives - drawn, 0)
        none *= np.where(drawn < places, others_left / left, 1.0)
    return np.where(positives > 0, 1 - none, np.nan)


def _shares(group: np.ndarray) -> np.ndarray:
    """What share of all is of each group: float64 [GROUPS]."""
    return np.bincount(group, minlength=len(GROUPS)) / max(len(group), 1)


def _described(
    kind: str,
    group: np.ndarray,
    columns: dict[str, np.ndarray],
    share_of_places: np.ndarray | None,
) -> Iterator[Group]:
    """The groups of a kind ("items" or "users") that are there."""
    count = np.bincount(group, minlength=len(GROUPS))
    share = _shares(group)
    for number, name in enumerate(GROUPS):
        prefix = f"{kind}, {name}: "
        own = {
            column.removeprefix(prefix): values
            for column, values in columns.items()
            if column.startswith(prefix)
        }
        of_places = None if share_of_places is None else float(share_of_places[number])
        if not count[number] and not of_places:
            continue
        yield Group(
            name=f"{kind}, {name}",
            count=int(count[number]),
            share=float(share[number]),
            share_of_places=of_places,
            metrics=intervals.mean(own),
            intervals=intervals.bootstrap(own, seed=0),
        )
