"""From a config to the events of a run: read, selected, split, labelled, audited; and back from disk."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ancf_jax.config import CORNER_STORE, Config, SplitConfig
from ancf_jax.data import corner_store, readers, splits
from ancf_jax.data.corner_store import Truth
from ancf_jax.data.engagement import (
    Scales,
    compress_dwell,
    engagement_score,
    fit_scales,
    mean_dwell,
    previous,
)
from ancf_jax.data.interactions import (
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    Feature,
    Interactions,
)
from ancf_jax.data.storage import read_tree, write_tree
from ancf_jax.data.tendencies import count_followers, count_repeats
from ancf_jax.errors import UserError
from ancf_jax.types import Catalogue, EventLog, Heldout, Sizes

_FILE = "dataset.npz"


@dataclass(frozen=True)
class Dataset:
    """The events of a run and all that was decided about them on the host."""

    interactions: Interactions
    part: np.ndarray  # int8 [N] TRAIN / VALIDATION / TEST / UNUSED
    audit: dict[str, Any]  # figures on the split, see `splits.audit`
    scales: (
        Scales | None
    )  # seconds that count as full engagement, fitted on training events; None without traces
    value: np.ndarray  # float32 [N], the label: rating, engagement score, or 1
    truth: Truth | None = (
        None  # true purchase probabilities, where the simulated shop tests purchases
    )


def resolve(config: Config) -> Config:
    """`config` with what its data and model imply: the run folder, and in the corner store, unless flags say otherwise,
    that people buy again and that all models but `engagement` learn from purchases."""
    store = config.data == CORNER_STORE
    purchases = ("purchase",) if store and config.model != "engagement" else ()
    split = dataclasses.replace(config.split, events=config.split.events or purchases)
    run = config.run or f"runs/{Path(config.data).resolve().stem}-{config.model}"
    keep_seen = store if config.keep_seen is None else config.keep_seen
    return dataclasses.replace(config, run=run, keep_seen=keep_seen, split=split)


def build(config: Config) -> Dataset:
    """Reads or simulates the events, selects, labels, splits and audits them; UserError where they do not do."""
    config = resolve(config)
    simulated, engagement = config.data == CORNER_STORE, config.model == "engagement"
    source, truth = (
        corner_store.simulate(config.seed)
        if simulated
        else (readers.read(config), None)
    )
    interactions = _labelled(splits.select(source, config.split), config)
    split = splits.resolve_kind(interactions, config.split, engagement)
    part = splits.assign(interactions, split, config.seed)
    seconds = [
        None if x is None else x[part == TRAIN]
        for x in (interactions.hover, interactions.dwell)
    ]
    scales = fit_scales(*seconds) if _traces(interactions) else None
    value, audit = (
        _value(interactions, scales if engagement else None),
        splits.audit(interactions, part, split.kind),
    )
    return Dataset(
        interactions,
        part,
        audit,
        scales,
        value,
        _truth_of(truth, source, interactions, split),
    )


def _traces(interactions: Interactions) -> list[np.ndarray]:
    return [
        x
        for x in (interactions.hover, interactions.dwell, interactions.clicked)
        if x is not None
    ]


def _labelled(interactions: Interactions, config: Config) -> Interactions:
    """The events that carry the label which the model learns; the others are counted in `left_out`."""
    if config.model == "engagement":
        if not (traces := _traces(interactions)):
            names = f'"{config.table.hover}", "{config.table.dwell}" and "{config.table.clicked}"'
            remedy = "map one with --table.hover, --table.dwell or --table.clicked, or use --table.dwell-gap-cap"
            raise UserError(
                f"the engagement model needs one of the columns {names}, but the data has none; {remedy}"
            )
        interactions = splits.keep_events(
            interactions, ~np.all(np.isnan(traces), axis=0), "no_trace"
        )
    elif config.objective.loss == "mse" and interactions.rating is not None:
        interactions = splits.keep_events(
            interactions, ~np.isnan(interactions.rating), "no_rating"
        )
    if not len(interactions.user):
        raise UserError(
            f"no event carries a label for --model {config.model}: {interactions.left_out} left out"
        )
    return splits.drop_idle_users(interactions)


def _value(interactions: Interactions, scales: Scales | None) -> np.ndarray:
    if scales is not None:
        return engagement_score(
            interactions.hover, interactions.dwell, interactions.clicked, scales
        )
    rating = (
        np.ones(len(interactions.user))
        if interactions.rating is None
        else interactions.rating
    )
    return np.nan_to_num(rating, nan=1.0).astype(np.float32)


def _truth_of(
    truth: Truth | None, source: Interactions, kept: Interactions, split: SplitConfig
) -> Truth | None:
    """The rows of the remaining users, where the split holds out exactly the purchases the truth speaks of."""
    speaks = (
        split.kind == "leave_one_out"
        and split.events == ("purchase",)
        and split.duplicates == "keep"
    )
    if truth is None or not speaks or split.min_item_events > 1:
        return None
    return Truth(*(chance[np.isin(source.users, kept.users)] for chance in truth))


def known_parts(part: int) -> tuple[int, ...]:
    """The parts that a model may see as history while `part` is scored."""
    return (TRAIN, VALIDATION, UNUSED) if part == TEST else (TRAIN,)


def _minutes(interactions: Interactions) -> np.ndarray:
    return (
        interactions.time // 60 if interactions.clock else interactions.time
    ).astype(np.int32)


def _offsets(rows: np.ndarray, count: int) -> np.ndarray:
    """int32 [count + 1]: where each of the ascending row numbers starts."""
    return np.searchsorted(rows, np.arange(count + 1)).astype(np.int32)


def event_log(dataset: Dataset, parts: tuple[int, ...]) -> EventLog:
    """The events of `parts` alone, as NumPy columns; nothing of any other event is in it."""
    source, keep, users = (
        dataset.interactions,
        np.isin(dataset.part, parts),
        len(dataset.interactions.users),
    )
    user, kind = source.user[keep], source.kind[keep].astype(np.int32)
    dwell = np.full(len(user), np.nan, np.float32)
    if source.dwell is not None and dataset.scales is not None:
        dwell = compress_dwell(source.dwell[keep], dataset.scales.dwell)
    means = mean_dwell(user, dwell)
    pairs = np.sort(
        splits.pair_ids(source)[keep]
    )  # np.unique hashes, ten times slower here
    seen_user, seen_item = np.divmod(
        pairs[np.diff(pairs, prepend=-1) > 0], len(source.items)
    )
    events = (
        user,
        source.item[keep],
        _minutes(source)[keep],
        dataset.value[keep],
        kind,
        means,
    )
    prior = previous(user, kind, -1), previous(user, means, 0)
    seen = seen_item.astype(np.int32), _offsets(seen_user, users)
    return EventLog(
        *events,
        *prior,
        _offsets(user, users),
        *seen,
        number=np.arange(users, dtype=np.int32),
    )


def heldout(
    dataset: Dataset, part: int, limit: int | None = None, seed: int = 0
) -> Heldout:
    """One query per user of `part`, sorted by user; with `limit`, at most so many users, drawn by `seed`."""
    source, event = dataset.interactions, np.flatnonzero(dataset.part == part)
    drawn = np.random.default_rng(seed).permutation(np.unique(source.user[event]))[
        :limit
    ]
    event = event[np.isin(source.user[event], drawn)]
    event = event[~pd.Series(splits.pair_ids(source)[event]).duplicated().to_numpy()]
    user, place = np.unique(source.user[event], return_index=True)
    start = np.append(place, len(event)).astype(np.int32)
    return Heldout(
        user,
        _minutes(source)[event[place]],
        source.item[event],
        dataset.value[event],
        start,
    )


def heldout_events(dataset: Dataset, part: int) -> Heldout:
    """Every event of `part` as a query of its own, at the moment of the event, repeats included."""
    source, event = dataset.interactions, np.flatnonzero(dataset.part == part)
    columns = (
        source.user[event],
        _minutes(source)[event],
        source.item[event],
        dataset.value[event],
    )
    return Heldout(*columns, np.arange(len(event) + 1, dtype=np.int32))


def catalogue(dataset: Dataset, followers: int = 0) -> Catalogue:
    """Features of items and users, and what training events tell of every item, so many `followers` among it."""
    source, train = dataset.interactions, dataset.part == TRAIN
    item, again = (
        source.item[train],
        pd.Series(splits.pair_ids(source)[train]).duplicated().to_numpy(),
    )
    features: Any = [
        {n: f.ids for n, f in side.items()}
        for side in (source.item_features, source.user_features)
    ]
    had, levels = (
        np.bincount(item, minlength=len(source.items)).astype(np.float32),
        features[0].values(),
    )
    similar = count_repeats(
        [*(ids[:, 0] for ids in levels), np.arange(len(had))], item, again
    )
    after = (
        count_followers(source.user[train], item, len(had), followers)
        if followers
        else ()
    )
    return Catalogue(
        *features, had, had.sum(), np.float32(again.sum()), similar, *after
    )  # pyrefly: ignore


def sizes(dataset: Dataset) -> Sizes:
    """The numbers that fix the shapes of a model's parameters."""
    source = dataset.interactions
    sides = (source.item_features, source.user_features)
    of_items, of_users = (
        tuple((name, len(feature.values)) for name, feature in side.items())
        for side in sides
    )
    return Sizes(
        len(source.users), len(source.items), len(source.kinds), of_items, of_users
    )


def save(dataset: Dataset, folder: Path) -> None:
    """Writes the dataset to `folder`/dataset.npz, whole or not at all; raises UserError where it cannot."""
    write_tree(folder / _FILE, vars(dataset))


def load(folder: Path) -> Dataset:
    """The dataset that `save` wrote to `folder`; raises UserError where it is missing or damaged."""
    tree = read_tree(folder / _FILE)
    events = tree["interactions"]
    for side in ("item_features", "user_features"):
        events[side] = {
            name: Feature(**feature) for name, feature in events[side].items()
        }
    tree["interactions"] = Interactions(**events | {"kinds": tuple(events["kinds"])})
    tree["scales"] = tree["scales"] and Scales(**tree["scales"])
    tree["truth"] = tree["truth"] and Truth(*tree["truth"])
    return Dataset(**tree)
