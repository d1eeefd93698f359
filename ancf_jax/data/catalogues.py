"""What is known of items and users besides their events, and how many of them there are."""

import numpy as np

from ancf_jax.data.baskets import repeats_of
from ancf_jax.data.counts import (
    count_followers,
    count_repeats,
    count_values,
    log_events_of_unsold,
)
from ancf_jax.data.dataset import Dataset
from ancf_jax.data.interactions import TRAIN, Feature, Interactions
from ancf_jax.data.novelty import share_of_new
from ancf_jax.data.selection import pair_ids
from ancf_jax.types import Array, Catalogue, Sizes


def catalogue(
    dataset: Dataset, parts: tuple[int, ...] = (TRAIN,), followers: int = 0
) -> Catalogue:
    """Features of items and users, and what known events tell of every item.

    Args:
        dataset: the events and features.
        parts: whose events are known, and counted.
        followers: how many followers of each item to name.
    """
    source = dataset.interactions
    is_known = np.isin(dataset.part, parts)
    items = len(source.items)
    item = source.item[is_known]
    place = None if dataset.basket_place is None else dataset.basket_place[is_known]
    is_repeat = repeats_of(pair_ids(source)[is_known], place)
    popularity = np.bincount(item, minlength=items).astype(np.float32)
    levels = [feature.ids[:, 0] for feature in source.item_features.values()]
    value_events: dict[str, Array] = {
        name: count_values(feature.ids, len(feature.values), item)
        for name, feature in source.item_features.items()
    }
    new_events = 0.0
    if _lists_what_is_to_come(source):
        new_events = share_of_new(dataset, parts) * len(item)
    found = Catalogue(
        item_features=_ids_of(source.item_features),
        user_features=_ids_of(source.user_features),
        popularity=popularity,
        total_events=popularity.sum(),
        total_repeats=np.asarray(is_repeat.sum(), np.float32),
        repeat_counts=count_repeats([*levels, np.arange(items)], item, is_repeat),
        value_events=value_events,
        log_unsold=log_events_of_unsold(levels, popularity, new_events),
    )
    if not followers:
        return found
    follower, weight = count_followers(source.user[is_known], item, items, followers)
    return found._replace(follower=follower, follower_weight=weight)


def sizes(dataset: Dataset) -> Sizes:
    """The numbers that fix the shapes of a model's parameters."""
    source = dataset.interactions
    return Sizes(
        users=len(source.users),
        items=len(source.items),
        kinds=len(source.kinds),
        item_features=_numbers_of_values(source.item_features),
        user_features=_numbers_of_values(source.user_features),
        baskets=dataset.basket_place is not None,
    )


def _lists_what_is_to_come(source: Interactions) -> bool:
    """Whether there is an item table, kept whole, so that items in it may have no event at all.

    Elsewhere an item without known events is there because of an event that is held out, and so
    many are sold as nobody could know.
    """
    is_whole = "items without events" not in source.left_out
    return source.clock and is_whole and bool(source.item_features)


def _ids_of(features: dict[str, Feature]) -> dict[str, Array]:
    return {name: feature.ids for name, feature in features.items()}


def _numbers_of_values(features: dict[str, Feature]) -> tuple[tuple[str, int], ...]:
    return tuple((name, len(feature.values)) for name, feature in features.items())
