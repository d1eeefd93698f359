"""What settings may depend on, counted on the training events of a data set."""

import numpy as np

from ancf_jax.data.baskets import repeats_of
from ancf_jax.data.dataset import Dataset
from ancf_jax.data.interactions import TRAIN
from ancf_jax.data.selection import pair_ids
from ancf_jax.types import Facts

LONG = 0.9  # the share of users whose histories are no longer than `Facts.history`


def facts(dataset: Dataset) -> Facts:
    """The facts of a data set; see `types.Facts`."""
    log = dataset.interactions
    is_train = dataset.part == TRAIN
    lengths = np.bincount(log.user[is_train])
    return Facts(
        users=len(log.users),
        items=len(log.items),
        events=int(is_train.sum()),
        history=int(np.quantile(lengths[lengths > 0], LONG)),
        repeats=_share_of_repeats(dataset),
    )


def _share_of_repeats(dataset: Dataset) -> float:
    """Share of the training events whose user has an earlier one with the item."""
    is_train = dataset.part == TRAIN
    pairs = pair_ids(dataset.interactions)[is_train]
    place = dataset.basket_place
    repeats = repeats_of(pairs, None if place is None else place[is_train])
    return float(repeats.mean())
