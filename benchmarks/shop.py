"""The events that both programs of a comparison get.

They are real ones where they lie at hand, else made to the same size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ancf_jax import data
from ancf_jax.config import override
from ancf_jax.data import TEST, TRAIN, Dataset, Interactions
from ancf_jax.models.registry import default_config

USERS = 6_040  # MovieLens 1M as the NCF paper has it
ITEMS = 3_706
MOST_TEXTS = 1_000_000  # ids of larger tables stay numbers


def dataset_of(
    user: np.ndarray, item: np.ndarray, part: np.ndarray, users: int, items: int
) -> Dataset:
    """A dataset without times, from rows sorted by user and then by order."""
    begin = np.searchsorted(user, user, side="left")
    item_ids = ids(items)
    events = Interactions(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        time=np.arange(len(user)) - begin,
        clock=False,
        users=ids(users),
        items=item_ids,
        names=item_ids,
        kind=np.zeros(len(user), np.int8),
    )
    value = np.ones(len(user), np.float32)
    return Dataset(events, part.astype(np.int8), {}, None, value)


def ids(count: int) -> np.ndarray:
    """The ids 0, 1 ..., as texts where they are not too many."""
    numbers = np.arange(count)
    return numbers.astype(str) if count <= MOST_TEXTS else numbers


def synthetic(events: int, users: int, items: int, seed: int = 0) -> dict[str, Any]:
    """Events as skewed as real ones in users and items; one held-out item per user."""
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0.0, 1.0, users)
    user = np.sort(rng.choice(users, events, p=activity / activity.sum()))
    item = (items * rng.random(events) ** 2).astype(np.int32)
    return {
        "user": user,
        "item": item,
        "test": rng.integers(0, items, users),
        "users": users,
        "items": items,
    }


def real(folder: Path, events: int | None) -> dict[str, Any]:
    """Training events of a known data set, at most `events`, and every user's test item."""
    dataset = data.build(override(default_config("neumf"), {"data": str(folder)}))
    source = dataset.interactions
    train = np.flatnonzero(dataset.part == TRAIN)
    if events is not None and events < len(train):
        train = np.sort(np.random.default_rng(0).choice(train, events, replace=False))
    test = np.zeros(len(source.users), np.int64)
    tested = dataset.part == TEST
    test[source.user[tested]] = source.item[tested]
    return {
        "user": source.user[train],
        "item": source.item[train],
        "test": test,
        "users": len(source.users),
        "items": len(source.items),
    }


def latest(shop: dict[str, Any], length: int) -> dict[str, Any]:
    """The same with the latest `length` events of every user alone."""
    user = shop["user"]
    from_end = np.searchsorted(user, user, side="right") - np.arange(len(user))
    keep = from_end <= length
    return {**shop, "user": user[keep], "item": shop["item"][keep]}


def write_all(folder: Path, source: Path, quick: bool) -> dict[str, str]:
    """Writes the files that workers read; returns what stands in each, for people."""
    share = 20 if quick else 1
    events = 886_000 // share
    neumf, neumf_text = shop_of(source / "ncf-ml-1m", events, ITEMS)
    ancf, ancf_text = shop_of(source / "gsasrec-ml-1m", None, 3_416)
    ancf = latest(ancf, 200)
    np.savez(folder / "neumf.npz", **neumf)
    np.savez(folder / "ancf.npz", **ancf)
    return {
        "neumf": f"{neumf_text}: {sizes_of(neumf)}",
        "ancf": f"{ancf_text}: {sizes_of(ancf)}",
    }


def shop_of(folder: Path, events: int | None, items: int) -> tuple[dict[str, Any], str]:
    """The data set in `folder` and its name, or synthetic events where it is absent."""
    if folder.is_dir():
        return real(folder, events), folder.name
    return synthetic(events or 980_000, USERS, items), "synthetic"


def sizes_of(shop: dict[str, Any]) -> str:
    """Its sizes in words."""
    events = len(shop["user"])
    return f"{events:,} events, {shop['users']:,} users, {shop['items']:,} items"


def read(path: str) -> tuple[dict[str, Any], Dataset]:
    """The events of a file, as they are and as a dataset with its held-out items."""
    shop = dict(np.load(path))
    users = int(shop["users"])
    user = np.concatenate([shop["user"], np.arange(users)])
    item = np.concatenate([shop["item"], shop["test"]])
    part = np.repeat([TRAIN, TEST], [len(shop["user"]), users])
    order = np.argsort(user, kind="stable")
    dataset = dataset_of(
        user[order], item[order], part[order], users, int(shop["items"])
    )
    return shop, dataset
