"""The events that both sides of a comparison get: real ones where they lie at hand, else made to the same size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ancf_jax.config import default_config, override
from ancf_jax.data import dataset as data
from ancf_jax.data.dataset import Dataset
from ancf_jax.data.interactions import TEST, TRAIN, Interactions

USERS, ITEMS = 6_040, 3_706  # MovieLens 1M as the NCF paper has it


def dataset_of(
    user: np.ndarray, item: np.ndarray, part: np.ndarray, users: int, items: int
) -> Dataset:
    """A dataset without times, from rows sorted by user and then by order."""
    first = np.searchsorted(user, user, side="left")
    names = np.arange(items).astype(str) if items <= 1_000_000 else np.arange(items)
    people = np.arange(users).astype(str) if users <= 1_000_000 else np.arange(users)
    events = Interactions(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        time=np.arange(len(user)) - first,
        clock=False,
        users=people,
        items=names,
        names=names,
        kind=np.zeros(len(user), np.int8),
    )
    return Dataset(
        events, part.astype(np.int8), {}, None, np.ones(len(user), np.float32)
    )


def synthetic(events: int, users: int, items: int, seed: int = 0) -> dict[str, Any]:
    """Events with activity of users and popularity of items as skewed as real ones; one held-out item per user."""
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
    """The training events of a known data set, thinned to `events`, and the test item of every user."""
    dataset = data.build(override(default_config("neumf"), {"data": str(folder)}))
    source, train = dataset.interactions, np.flatnonzero(dataset.part == TRAIN)
    if events is not None and events < len(train):
        train = np.sort(np.random.default_rng(0).choice(train, events, replace=False))
    test = np.zeros(len(source.users), np.int64)
    tested = dataset.part == TEST
    test[source.user[tested]] = source.item[tested]
    sizes = {"users": len(source.users), "items": len(source.items)}
    return {
        "user": source.user[train],
        "item": source.item[train],
        "test": test,
    } | sizes


def latest(shop: dict[str, Any], length: int) -> dict[str, Any]:
    """The same with the latest `length` events of every user alone."""
    user = shop["user"]
    from_end = np.searchsorted(user, user, side="right") - np.arange(len(user))
    keep = from_end <= length
    return shop | {"user": user[keep], "item": shop["item"][keep]}


def write_all(folder: Path, source: Path, quick: bool) -> dict[str, str]:
    """Writes the files that workers read; returns what stands in each, for people."""
    share = 20 if quick else 1
    made = {}
    for name, data_set, events, items in (
        ("neumf", "ncf-ml-1m", 886_000 // share, ITEMS),
        ("ancf", "gsasrec-ml-1m", None, 3_416),
    ):
        there = (source / data_set).is_dir()
        shop = (
            real(source / data_set, events)
            if there
            else synthetic(events or 980_000, USERS, items)
        )
        shop = latest(shop, 200) if name == "ancf" else shop
        np.savez(folder / f"{name}.npz", **shop)
        sizes = f"{len(shop['user']):,} events, {shop['users']:,} users, {shop['items']:,} items"
        made[name] = f"{data_set if there else 'synthetic'}: {sizes}"
    return made


def read(path: str) -> tuple[dict[str, Any], Dataset]:
    """The events of a file, as they are and as a dataset of the library with its held-out items."""
    shop = dict(np.load(path))
    users, items = int(shop["users"]), int(shop["items"])
    user = np.concatenate([shop["user"], np.arange(users)])
    item = np.concatenate([shop["item"], shop["test"]])
    part = np.repeat([TRAIN, TEST], [len(shop["user"]), users])
    order = np.argsort(user, kind="stable")
    return shop, dataset_of(user[order], item[order], part[order], users, items)
