"""Which events count: by kind, by duplicates and by numbers of events."""

import dataclasses
from typing import Literal

import numpy as np
import pandas as pd

from ancf_jax.config import SplitConfig
from ancf_jax.data.interactions import Feature, Interactions
from ancf_jax.errors import UserError, nearest

EVENT_COLUMNS = (
    "user",
    "item",
    "time",
    "kind",
    "rating",
    "clicked",
    "dwell",
    "hover",
    "quantity",
    "given_part",
)


def keep_events(
    interactions: Interactions, keep: np.ndarray, reason: str
) -> Interactions:
    """The events of `keep` (bool [N]) alone.

    The others are counted in `left_out` under `reason`.
    """
    if keep.all():
        return interactions
    columns = {}
    for name in EVENT_COLUMNS:
        column = getattr(interactions, name)
        if column is not None:
            columns[name] = column[keep]
    left_out = dict(interactions.left_out)
    left_out[reason] = left_out.get(reason, 0) + int((~keep).sum())
    return dataclasses.replace(interactions, left_out=left_out, **columns)


def drop_idle_users(interactions: Interactions) -> Interactions:
    """Drops users without events, with their features and negatives; items all stay."""
    events = np.bincount(interactions.user, minlength=len(interactions.users))
    keep = events > 0
    new_number = np.cumsum(keep) - 1
    features = {
        name: Feature(feature.values, feature.ids[keep])
        for name, feature in interactions.user_features.items()
    }
    negatives = interactions.given_negatives
    return dataclasses.replace(
        interactions,
        user=new_number[interactions.user].astype(np.int32),
        users=interactions.users[keep],
        user_features=features,
        given_negatives=None if negatives is None else negatives[keep],
    )


def select(interactions: Interactions, split: SplitConfig) -> Interactions:
    """The events that count, by kind, duplicates and least numbers of events.

    The others are counted in `left_out`. Items stay in the vocabulary.

    Raises:
        UserError: for an unknown kind of event, and where no event remains.
    """
    kept = _keep_kinds(interactions, split.events)
    kept = _drop_duplicates(kept, split.duplicates)
    kept = _drop_rare(kept, split.min_user_events, split.min_item_events)
    if not len(kept.user):
        remedy = (
            "widen --split.events, or lower --split.min-user-events "
            "or --split.min-item-events"
        )
        raise UserError(
            f"none of the {len(interactions.user)} events remains "
            f"(left out: {kept.left_out}); {remedy}"
        )
    return drop_idle_users(kept)


def _keep_kinds(interactions: Interactions, wanted: tuple[str, ...]) -> Interactions:
    """The events of the `wanted` kinds; all events where none is named."""
    kinds = interactions.kinds
    unknown = [name for name in wanted if name not in kinds]
    if unknown:
        there = f"the kinds of event in the data are {', '.join(kinds)}"
        guess = nearest(unknown[0], kinds)
        raise UserError(
            f'--split.events names "{unknown[0]}", but {there}{guess}; '
            "choose among these"
        )
    if not wanted:
        return interactions
    is_wanted = np.isin(kinds, wanted)
    return keep_events(interactions, is_wanted[interactions.kind], "other_kind")


def _drop_duplicates(
    interactions: Interactions, policy: Literal["keep", "first", "last"]
) -> Interactions:
    """One event of each user with each item, the "first" or the "last"; "keep": all."""
    if policy == "keep":
        return interactions
    pairs = pd.Series(pair_ids(interactions))
    duplicated = pairs.duplicated(policy).to_numpy()
    return keep_events(interactions, ~duplicated, "duplicate")


def _drop_rare(
    interactions: Interactions, min_user_events: int, min_item_events: int
) -> Interactions:
    """Drops events of users and of items with too few, in turn, until all have enough."""
    kept = interactions
    before = -1
    while len(kept.user) != before:
        before = len(kept.user)
        enough = np.bincount(kept.user)[kept.user] >= min_user_events
        kept = keep_events(kept, enough, "few_user_events")
        enough = np.bincount(kept.item)[kept.item] >= min_item_events
        kept = keep_events(kept, enough, "few_item_events")
    return kept


def pair_ids(interactions: Interactions) -> np.ndarray:
    """int64 [N], equal for the events of one user with one item."""
    user = interactions.user.astype(np.int64)
    return user * len(interactions.items) + interactions.item
