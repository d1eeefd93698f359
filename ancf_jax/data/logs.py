"""The events that a model may see, as a log, and the held-out ones, as requests."""

import numpy as np
import pandas as pd

from ancf_jax.data.baskets import basket_sizes
from ancf_jax.data.dataset import Dataset
from ancf_jax.data.engagement import compress_dwell, mean_dwell, previous
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION, Interactions
from ancf_jax.data.selection import pair_ids
from ancf_jax.types import EventLog, Heldout


def known_parts(part: int) -> tuple[int, ...]:
    """The parts that a model may see as history while `part` is scored."""
    return (TRAIN, VALIDATION, UNUSED) if part == TEST else (TRAIN,)


def event_log(dataset: Dataset, parts: tuple[int, ...]) -> EventLog:
    """The events of `parts` alone, as NumPy columns; nothing of any other event is in it."""
    source = dataset.interactions
    users = len(source.users)
    keep = np.isin(dataset.part, parts)
    user = source.user[keep]
    kind = source.kind[keep].astype(np.int32)
    mean_dwells = mean_dwell(user, _compressed_dwell(dataset, keep))
    place = None if dataset.basket_place is None else dataset.basket_place[keep]
    seen_user, seen_item = _distinct_pairs(source, keep)
    return EventLog(
        user=user,
        item=source.item[keep],
        minute=_of_basket(_minutes(source)[keep], place),
        value=dataset.value[keep],
        kind=kind,
        mean_dwell=mean_dwells,
        prior_kind=_of_basket(previous(user, kind, -1), place),
        prior_dwell=_of_basket(previous(user, mean_dwells, 0), place),
        start=_offsets(user, users),
        seen_item=seen_item.astype(np.int32),
        seen_start=_offsets(seen_user, users),
        number=np.arange(users, dtype=np.int32),
        basket_place=place,
        basket_size=None if place is None else basket_sizes(place),
    )


def _of_basket(column: np.ndarray, place: np.ndarray | None) -> np.ndarray:
    """The column [N] with the value of the first event of the basket at each event."""
    if place is None:
        return column
    return column[np.arange(len(column)) - place]


def heldout(
    dataset: Dataset, part: int, limit: int | None = None, seed: int = 0
) -> Heldout:
    """One request per user of `part`, sorted by user.

    With `limit`, there are at most so many users, drawn by `seed`.
    """
    source = dataset.interactions
    event = np.flatnonzero(dataset.part == part)
    users = np.unique(source.user[event])
    drawn = np.random.default_rng(seed).permutation(users)[:limit]
    event = event[np.isin(source.user[event], drawn)]
    is_again = pd.Series(pair_ids(source)[event]).duplicated().to_numpy()
    event = event[~is_again]
    user, place = np.unique(source.user[event], return_index=True)
    return Heldout(
        user=user,
        minute=_minutes(source)[event[place]],
        item=source.item[event],
        value=dataset.value[event],
        start=np.append(place, len(event)).astype(np.int32),
    )


def heldout_events(dataset: Dataset, part: int) -> Heldout:
    """Every event of `part` as a request of its own, at the moment of the event."""
    source = dataset.interactions
    event = np.flatnonzero(dataset.part == part)
    return Heldout(
        user=source.user[event],
        minute=_minutes(source)[event],
        item=source.item[event],
        value=dataset.value[event],
        start=np.arange(len(event) + 1, dtype=np.int32),
    )


def _minutes(interactions: Interactions) -> np.ndarray:
    time = interactions.time // 60 if interactions.clock else interactions.time
    return time.astype(np.int32)


def _offsets(rows: np.ndarray, count: int) -> np.ndarray:
    """int32 [count + 1]: where each of the ascending row numbers starts."""
    return np.searchsorted(rows, np.arange(count + 1)).astype(np.int32)


def _compressed_dwell(dataset: Dataset, keep: np.ndarray) -> np.ndarray:
    """float32 of the events to keep, NaN where the dwell is unknown."""
    dwell = dataset.interactions.dwell
    if dwell is None or dataset.scales is None:
        return np.full(int(keep.sum()), np.nan, np.float32)
    return compress_dwell(dwell[keep], dataset.scales.dwell)


def _distinct_pairs(
    source: Interactions, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The distinct (user, item) of the events to keep, ascending: two arrays."""
    pairs = np.sort(
        pair_ids(source)[keep]
    )  # np.unique hashes, which takes ten times as long
    distinct = pairs[np.diff(pairs, prepend=-1) > 0]
    return np.divmod(distinct, len(source.items))
