"""The events of a run with all that was decided about them, in memory and on disk."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ancf_jax.data.corner_store import Truth
from ancf_jax.data.engagement import Scales
from ancf_jax.data.interactions import Feature, Interactions
from ancf_jax.data.soundness import (
    require_column,
    require_fields,
    require_finite,
    require_interactions,
    require_part,
)
from ancf_jax.data.storage import damaged, read_tree, write_tree

FILE = "dataset.npz"


@dataclass(frozen=True)
class Dataset:
    """The events of a run and all that was decided about them on the host.

    Attributes:
        interactions: the events that count.
        part: int8 [N] TRAIN, VALIDATION, TEST or UNUSED.
        audit: figures on the split, see `audits.audit`.
        scales: seconds that count as full engagement, fitted on training events; None without
            traces.
        value: float32 [N] the label: rating, engagement score, or 1.
        truth: true purchase probabilities, where the simulated shop tests purchases.
        basket_place: int32 [N] how many events of its basket come before each event; None where
            an event may know all earlier ones, of its own basket, too.
    """

    interactions: Interactions
    part: np.ndarray
    audit: dict[str, Any]
    scales: Scales | None
    value: np.ndarray
    truth: Truth | None = None
    basket_place: np.ndarray | None = None


def save(dataset: Dataset, folder: Path) -> None:
    """Writes the dataset to `folder`/dataset.npz, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    write_tree(folder / FILE, vars(dataset))


def load(folder: Path) -> Dataset:
    """The dataset that `save` wrote to `folder`.

    Raises:
        UserError: it is missing or damaged, or a number in it is none that can be.
    """
    path = folder / FILE
    tree = read_tree(path)
    try:
        return _sound(_dataset(tree))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(path, error) from error


def _dataset(tree: dict[str, Any]) -> Dataset:
    require_fields(tree, Dataset, "the data")
    return Dataset(
        interactions=_interactions(tree["interactions"]),
        part=tree["part"],
        audit=tree["audit"],
        scales=_scales(tree["scales"]) if tree["scales"] else None,
        value=tree["value"],
        truth=Truth(*tree["truth"]) if tree.get("truth") else None,
        basket_place=tree.get("basket_place"),
    )


def _interactions(columns: dict[str, Any]) -> Interactions:
    require_fields(columns, Interactions, "the events")
    for name in ("item_features", "user_features"):
        columns[name] = _features(columns[name], name)
    columns["kinds"] = tuple(columns["kinds"])
    columns["remarks"] = tuple(columns.get("remarks", ()))
    return Interactions(**columns)


def _features(values: Any, what: str) -> dict[str, Feature]:
    if not isinstance(values, dict):
        raise ValueError(f"{what} is no set of columns")
    for name, columns in values.items():
        require_fields(columns, Feature, f"{what} {name}")
    return {name: Feature(**columns) for name, columns in values.items()}


def _scales(seconds: dict[str, float]) -> Scales:
    require_fields(seconds, Scales, "the scales")
    for name, value in seconds.items():
        if not 0 < value < math.inf:
            raise ValueError(f"the scale of {name} is {value}, expected one above 0")
    return Scales(**seconds)


def _sound(dataset: Dataset) -> Dataset:
    """The dataset, if it can be one; else ValueError."""
    log = dataset.interactions
    require_interactions(log)
    events = len(log.user)
    require_part("part", dataset.part, events)
    require_finite("value", dataset.value, events)
    if np.isnan(dataset.value).any():
        raise ValueError("value holds nan, expected numbers")
    if not isinstance(dataset.audit, dict):
        raise ValueError("audit is no set of figures")
    if dataset.basket_place is not None:
        place = dataset.basket_place
        require_column("basket_place", place, "whole numbers", (events,), 0, events)
    for probability in dataset.truth or ():
        shape = (len(log.users), len(log.items))
        require_column("truth", probability, "numbers", shape, 0, 1)
    return dataset
