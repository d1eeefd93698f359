"""The events of a run with all that was decided about them, in memory and on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ancf_jax.data.corner_store import Truth
from ancf_jax.data.engagement import Scales
from ancf_jax.data.interactions import Feature, Interactions
from ancf_jax.data.storage import read_tree, write_tree

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
        UserError: it is missing or damaged.
    """
    tree = read_tree(folder / FILE)
    return Dataset(
        interactions=_interactions(tree["interactions"]),
        part=tree["part"],
        audit=tree["audit"],
        scales=Scales(**tree["scales"]) if tree["scales"] else None,
        value=tree["value"],
        truth=Truth(*tree["truth"]) if tree["truth"] else None,
        basket_place=tree.get("basket_place"),
    )


def _interactions(columns: dict[str, Any]) -> Interactions:
    for name in ("item_features", "user_features"):
        features = columns[name].items()
        columns[name] = {feature: Feature(**value) for feature, value in features}
    columns["kinds"] = tuple(columns["kinds"])
    columns["remarks"] = tuple(columns.get("remarks", ()))
    return Interactions(**columns)
