"""From a config to the events of a run: read, selected, labelled, split and audited."""

import dataclasses
from pathlib import Path

import numpy as np

from ancf_jax.config import CORNER_STORE, Config, SplitConfig
from ancf_jax.data import corner_store, readers, splits
from ancf_jax.data.audits import audit
from ancf_jax.data.corner_store import Truth
from ancf_jax.data.dataset import Dataset
from ancf_jax.data.engagement import Scales, engagement_score, fit_scales
from ancf_jax.data.interactions import TRAIN, Interactions
from ancf_jax.data.selection import drop_idle_users, keep_events, select
from ancf_jax.errors import UserError

_OF_VALUES = ("mse", "log_loss")  # losses that need a value of each event


def resolve(config: Config) -> Config:
    """`config` with what its data and model imply.

    That is the run folder, and in the corner store, unless flags say otherwise, that only
    purchases are learned from (unless engagement is).

    Raises:
        UserError: the data is not named by a text.
    """
    if not isinstance(config.data, str):
        kind = type(config.data).__name__
        raise UserError(
            f"data is a {kind}, expected the path of a file or folder as text; write a table "
            'by frame.to_parquet("events.parquet"), and pass that path'
        )
    in_store = config.data == CORNER_STORE
    events = config.split.events
    if in_store and not events and config.objective.label != "engagement":
        events = ("purchase",)
    return dataclasses.replace(
        config,
        run=config.run or f"runs/{Path(config.data).resolve().stem}-{config.model}",
        split=dataclasses.replace(config.split, events=events),
    )


def build(config: Config) -> Dataset:
    """Reads or simulates the events, selects, labels, splits and audits them.

    Raises:
        UserError: the events do not do.
    """
    config = resolve(config)
    by_engagement = config.objective.label == "engagement"
    source, truth = _source(config)
    interactions = _labelled(select(source, config.split), config)
    split = splits.resolve_kind(interactions, config.split, by_engagement)
    part = splits.assign(interactions, split, config.seed)
    scales = _scales(interactions, part == TRAIN)
    return Dataset(
        interactions=interactions,
        part=part,
        audit=audit(interactions, part, split),
        scales=scales,
        value=_engagement(interactions, scales)
        if by_engagement
        else _rating(interactions),
        truth=_truth_of(truth, source, interactions, split),
        basket_place=splits.places_in_baskets(interactions, split),
    )


def _source(config: Config) -> tuple[Interactions, Truth | None]:
    if config.data == CORNER_STORE:
        return corner_store.simulate(config.seed)
    return readers.read(config), None


def _traces(interactions: Interactions) -> list[np.ndarray]:
    traces = (interactions.hover, interactions.dwell, interactions.clicked)
    return [trace for trace in traces if trace is not None]


def _labelled(interactions: Interactions, config: Config) -> Interactions:
    """The events that carry the label which the model learns; the others are counted."""
    rating = interactions.rating
    loss = config.objective.loss
    if config.objective.label == "engagement":
        traces = _required_traces(interactions, config)
        has_trace = ~np.all(np.isnan(traces), axis=0)
        interactions = keep_events(interactions, has_trace, "no_trace")
    elif loss in _OF_VALUES and rating is None:
        raise UserError(
            f"--objective.loss {loss} learns the values of ratings, but the data has none; name "
            "their column with --table.rating, or choose another loss, such as softmax"
        )
    elif loss == "log_loss" and rating is not None and _largest(rating) > 1:
        raise UserError(
            f"--objective.loss log_loss learns values from 0 to 1, found ratings of up to "
            f"{_largest(rating):g}; choose another loss, such as mse"
        )
    elif loss == "mse" and rating is not None:
        interactions = keep_events(interactions, ~np.isnan(rating), "no_rating")
    if not len(interactions.user):
        raise UserError(
            f"no event carries a label for --model {config.model}: "
            f"{interactions.left_out} left out"
        )
    return drop_idle_users(interactions)


def _largest(rating: np.ndarray) -> float:
    """The largest rating; 0 where there is none."""
    return float(np.nan_to_num(rating).max(initial=0))


def _required_traces(interactions: Interactions, config: Config) -> list[np.ndarray]:
    """The traces of engagement that the data has; UserError where it has none."""
    traces = _traces(interactions)
    if not traces:
        columns = config.table
        raise UserError(
            f'the engagement model needs one of the columns "{columns.hover}", '
            f'"{columns.dwell}" and "{columns.clicked}", but the data has none; map one with '
            "--table.hover, --table.dwell or --table.clicked, or use --table.dwell-gap-cap"
        )
    return traces


def _scales(interactions: Interactions, is_train: np.ndarray) -> Scales | None:
    if not _traces(interactions):
        return None
    hover = interactions.hover
    dwell = interactions.dwell
    return fit_scales(
        hover=None if hover is None else hover[is_train],
        dwell=None if dwell is None else dwell[is_train],
    )


def _engagement(interactions: Interactions, scales: Scales | None) -> np.ndarray:
    return engagement_score(
        interactions.hover, interactions.dwell, interactions.clicked, scales or Scales()
    )


def _rating(interactions: Interactions) -> np.ndarray:
    """The ratings float32 [N], 1 where there is none."""
    if interactions.rating is None:
        return np.ones(len(interactions.user), np.float32)
    return np.nan_to_num(interactions.rating, nan=1.0).astype(np.float32)


def _truth_of(
    truth: Truth | None, source: Interactions, kept: Interactions, split: SplitConfig
) -> Truth | None:
    """The truth of the remaining users, where the split holds out what it speaks of."""
    speaks_of_split = (
        split.kind == "leave_one_out"
        and split.events == ("purchase",)
        and split.duplicates == "keep"
        and split.min_item_events <= 1
    )
    if truth is None or not speaks_of_split:
        return None
    is_kept = np.isin(source.users, kept.users)
    return Truth(*(probability[is_kept] for probability in truth))
