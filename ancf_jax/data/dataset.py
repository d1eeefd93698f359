"""From a config to the events of a run: read, selected, split, labelled, audited; and back from disk."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ancf_jax.config import CORNER_STORE, Config, SplitConfig
from ancf_jax.data import corner_store, readers, splits
from ancf_jax.data.corner_store import Truth
from ancf_jax.data.engagement import Scales, compress_dwell, engagement_score, fit_scales, prior_means
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION, Feature, Interactions
from ancf_jax.data.storage import read_columns, write_columns
from ancf_jax.errors import UserError
from ancf_jax.types import Catalogue, EventLog, Sizes


@dataclass(frozen=True)
class Dataset:
    """The events of a run and all that was decided about them on the host.

    Attributes:
        part: int8 [N] TRAIN / VALIDATION / TEST / UNUSED.
        audit: figures on the split, see `splits.audit`.
        scales: seconds that count as full engagement, fitted on training events; None without traces.
        value: float32 [N], the label: rating, engagement score, or 1.
        truth: true purchase probabilities, where the simulated shop tests purchases; None elsewhere.
    """

    interactions: Interactions
    part: np.ndarray
    audit: dict[str, Any]
    scales: Scales | None
    value: np.ndarray
    truth: Truth | None = None


class Heldout(NamedTuple):
    """One query per user with held-out events, and what the user took, in order, each item once."""

    user: np.ndarray  # int32 [Q] ascending
    minute: np.ndarray  # int32 [Q] of the user's first held-out event
    item: np.ndarray  # int32 [E]
    value: np.ndarray  # float32 [E] of the first held-out event with the item
    start: np.ndarray  # int32 [Q + 1] the items of query q are start[q] .. start[q + 1] - 1


def resolve(config: Config) -> Config:
    """`config` with what its data and model imply: the run folder, and the corner store's own rules.

    The corner store recommends what people buy again; all models but `engagement` learn from its
    purchases unless --split.events says otherwise.
    """
    changes: dict[str, Any] = {}
    if not config.run:
        changes["run"] = f"runs/{Path(config.data).resolve().stem}-{config.model}"
    if config.data == CORNER_STORE:
        changes["keep_seen"] = True
        if config.model != "engagement" and not config.split.events:
            changes["split"] = dataclasses.replace(config.split, events=("purchase",))
    return dataclasses.replace(config, **changes)


def build(config: Config) -> Dataset:
    """Reads or simulates the events, selects, labels, splits and audits them.

    Raises UserError where the data does not fit the model or a part of the split would be empty.
    """
    config = resolve(config)
    simulated = config.data == CORNER_STORE
    source, truth = corner_store.simulate(config.seed) if simulated else (readers.read(config), None)
    _refuse_oversize(source)
    interactions = _labelled(splits.select(source, config.split), config)
    split = splits.resolve_kind(interactions, config.split, engagement=config.model == "engagement")
    part = splits.assign(interactions, split, config.seed)
    scales = _fit(interactions, part)
    return Dataset(
        interactions=interactions,
        part=part,
        audit=splits.audit(interactions, part, split.kind),
        scales=scales,
        value=_value(interactions, scales if config.model == "engagement" else None),
        truth=_truth_of(truth, source, interactions, split),
    )


def _refuse_oversize(interactions: Interactions) -> None:
    for name, column in (("events", "user"), ("users", "users"), ("items", "items")):
        if (size := len(getattr(interactions, column))) >= 2**31:
            raise UserError(f"the data has {size:,} {name}, but at most {2**31 - 1:,} fit; give a part of them")


def _labelled(interactions: Interactions, config: Config) -> Interactions:
    """The events that carry the label which the model learns; the others are counted in `left_out`."""
    if config.model == "engagement":
        columns = [interactions.hover, interactions.dwell, interactions.clicked]
        known = [~np.isnan(column) for column in columns if column is not None]
        if not known:
            table = config.table
            raise UserError(
                "the engagement model needs the traces that shoppers leave, but the data has none of the columns "
                f'"{table.hover}", "{table.dwell}" and "{table.clicked}"; map one with --table.hover, --table.dwell '
                "or --table.clicked, or use --table.dwell-gap-cap"
            )
        interactions = splits.keep_events(interactions, np.logical_or.reduce(known), "no_trace")
    elif config.objective.loss == "mse" and interactions.rating is not None:
        interactions = splits.keep_events(interactions, ~np.isnan(interactions.rating), "no_rating")
    if not len(interactions.user):
        raise UserError(f"no event carries a label for --model {config.model}: {interactions.left_out} left out")
    return splits.drop_idle_users(interactions)


def _fit(interactions: Interactions, part: np.ndarray) -> Scales | None:
    hover, dwell, train = interactions.hover, interactions.dwell, part == TRAIN
    if hover is None and dwell is None and interactions.clicked is None:
        return None
    return fit_scales(None if hover is None else hover[train], None if dwell is None else dwell[train])


def _value(interactions: Interactions, scales: Scales | None) -> np.ndarray:
    if scales is not None:
        return engagement_score(interactions.hover, interactions.dwell, interactions.clicked, scales)
    if interactions.rating is not None:
        return np.nan_to_num(interactions.rating, nan=1.0).astype(np.float32)
    return np.ones(len(interactions.user), np.float32)


def _truth_of(truth: Truth | None, source: Interactions, kept: Interactions, split: SplitConfig) -> Truth | None:
    """The rows of the remaining users, where the split holds out exactly the purchases the truth speaks of."""
    speaks = split.kind == "leave_one_out" and split.events == ("purchase",) and split.duplicates == "keep"
    if truth is None or not speaks or split.min_item_events > 1:
        return None
    rows = np.isin(source.users, kept.users)
    return Truth(validation=truth.validation[rows], test=truth.test[rows])


def known_parts(part: int) -> tuple[int, ...]:
    """The parts that a model may see as history while `part` is scored."""
    return (TRAIN, VALIDATION, UNUSED) if part == TEST else (TRAIN,)


def _minutes(interactions: Interactions) -> np.ndarray:
    return (interactions.time // 60 if interactions.clock else interactions.time).astype(np.int32)


def _offsets(rows: np.ndarray, count: int) -> np.ndarray:
    """int32 [count + 1]: where each of the ascending row numbers starts."""
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int32)


def event_log(dataset: Dataset, parts: tuple[int, ...]) -> EventLog:
    """The events of `parts` alone, as NumPy columns; nothing of any other event is in it.

    A dwell that is unknown is 0 in `dwell` and takes no part in the means of `prior_dwell`.
    """
    source = dataset.interactions
    keep = np.isin(dataset.part, parts)
    user, item, kind = source.user[keep], source.item[keep], source.kind[keep].astype(np.int32)
    dwell = np.full(len(user), np.nan, np.float32)
    if source.dwell is not None and dataset.scales is not None:
        dwell = compress_dwell(source.dwell[keep], dataset.scales.dwell)
    prior_dwell, prior_kind = prior_means(user, dwell, kind)
    users, items = len(source.users), len(source.items)
    pairs = np.sort(splits.pair_ids(source)[keep])  # np.unique hashes, ten times slower here
    seen_user, seen_item = np.divmod(pairs[np.diff(pairs, prepend=-1) > 0], items)
    return EventLog(
        user=user,
        item=item,
        minute=_minutes(source)[keep],
        value=dataset.value[keep],
        kind=kind,
        dwell=np.nan_to_num(dwell),
        prior_kind=prior_kind,
        prior_dwell=prior_dwell,
        start=_offsets(user, users),
        seen_item=seen_item.astype(np.int32),
        seen_start=_offsets(seen_user, users),
    )


def heldout(dataset: Dataset, part: int, limit: int | None = None, seed: int = 0) -> Heldout:
    """The queries of `part`, sorted by user; with `limit`, at most so many users, drawn by `seed`."""
    source = dataset.interactions
    event = np.flatnonzero(dataset.part == part)
    if limit is not None:
        users = np.unique(source.user[event])
        drawn = np.random.default_rng(seed).permutation(users)[:limit]
        event = event[np.isin(source.user[event], drawn)]
    first = np.sort(np.unique(splits.pair_ids(source)[event], return_index=True)[1])
    event = event[first]
    user, place, count = np.unique(source.user[event], return_index=True, return_counts=True)
    return Heldout(
        user=user.astype(np.int32),
        minute=_minutes(source)[event[place]],
        item=source.item[event],
        value=dataset.value[event],
        start=np.concatenate([[0], np.cumsum(count)]).astype(np.int32),
    )


class HeldoutEvents(NamedTuple):
    """Every held-out event as a query of its own, at the moment of the event, repeats included."""

    user: np.ndarray  # int32 [E] ascending
    minute: np.ndarray  # int32 [E]
    item: np.ndarray  # int32 [E]
    value: np.ndarray  # float32 [E]


def heldout_events(dataset: Dataset, part: int) -> HeldoutEvents:
    """The events of `part`, one by one."""
    source, event = dataset.interactions, np.flatnonzero(dataset.part == part)
    return HeldoutEvents(source.user[event], _minutes(source)[event], source.item[event], dataset.value[event])


def catalogue(dataset: Dataset) -> Catalogue:
    """Features of items and users, and the number of training events of every item."""
    source = dataset.interactions
    popularity = np.bincount(source.item[dataset.part == TRAIN], minlength=len(source.items))
    return Catalogue(
        item_features={name: feature.ids for name, feature in source.item_features.items()},
        user_features={name: feature.ids for name, feature in source.user_features.items()},
        popularity=popularity.astype(np.float32),
    )


def sizes(dataset: Dataset) -> Sizes:
    """The numbers that fix the shapes of a model's parameters."""
    source = dataset.interactions
    return Sizes(
        users=len(source.users),
        items=len(source.items),
        kinds=len(source.kinds),
        item_features=tuple((name, len(feature.values)) for name, feature in source.item_features.items()),
        user_features=tuple((name, len(feature.values)) for name, feature in source.user_features.items()),
    )


_FILE = "dataset.npz"
_SIDES = ("item_features", "user_features")
_PLAIN = ("clock", "kinds", "left_out", "digest")


def save(dataset: Dataset, folder: Path) -> None:
    """Writes the dataset to `folder`/dataset.npz, whole or not at all; raises UserError where it cannot."""
    source = dataset.interactions
    columns = {"part": dataset.part, "value": dataset.value}
    arrays = {f.name: getattr(source, f.name) for f in dataclasses.fields(source) if f.name not in _SIDES + _PLAIN}
    columns |= {f"events.{name}": column for name, column in arrays.items() if column is not None}
    for side in _SIDES:
        for number, feature in enumerate(getattr(source, side).values()):
            columns |= {f"{side}.{number}.values": feature.values, f"{side}.{number}.ids": feature.ids}
    if dataset.truth is not None:
        columns |= {f"truth.{name}": column for name, column in dataset.truth._asdict().items()}
    meta = {name: getattr(source, name) for name in _PLAIN} | {side: list(getattr(source, side)) for side in _SIDES}
    scales = None if dataset.scales is None else dataclasses.asdict(dataset.scales)
    write_columns(folder / _FILE, columns, meta | {"audit": dataset.audit, "scales": scales})


def load(folder: Path) -> Dataset:
    """The dataset that `save` wrote to `folder`; raises UserError where it is missing or damaged."""
    columns, meta = read_columns(folder / _FILE)

    def group(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}

    plain: dict[str, Any] = {name: meta[name] for name in _PLAIN} | {"kinds": tuple(meta["kinds"])}
    features: dict[str, Any] = {
        side: {
            name: Feature(columns[f"{side}.{number}.values"], columns[f"{side}.{number}.ids"])
            for number, name in enumerate(meta[side])
        }
        for side in _SIDES
    }
    truth, scales = group("truth."), meta["scales"]
    return Dataset(
        interactions=Interactions(**group("events."), **plain, **features),
        part=columns["part"],
        audit=meta["audit"],
        scales=None if scales is None else Scales(**scales),
        value=columns["value"],
        truth=Truth(**truth) if truth else None,
    )
