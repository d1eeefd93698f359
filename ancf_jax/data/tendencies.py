"""What tends to be had again, and what tends to come soon after an item: too rare for embeddings to hold, counted.

Counted once on the host; followers are looked up on the device less what the user at hand added, which would tell what
comes next.
"""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np
import pandas as pd

from ancf_jax.types import Array, Catalogue, Query

REACH, FADE, DOUBT = (
    5,
    0.7,
    10.0,
)  # events looked ahead, each less than the one before; events that nothing followed


def count_repeats(
    levels: Iterable[np.ndarray], item: np.ndarray, again: np.ndarray
) -> np.ndarray:
    """Of each item the events, and those that repeat one, of all items with the same value of a level: [I, levels, 2].

    Levels are int [I], -1 for items without a value, of which nothing is similar. Events [N] are of `item`, and `again`
    says whether they repeat one of their user.
    """
    counts = []
    for code in (value + 1 for value in levels):
        both = np.stack(
            [np.bincount(code[item], x, code.max() + 1) for x in (None, again)], -1
        )
        both[0] = 0
        counts.append(both[code])
    return np.stack(counts, 1).astype(np.float32)


def count_followers(
    user: np.ndarray, item: np.ndarray, items: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each item the `most` that followed it most, int32 [I, most] with I for none, and how often, float32 [I, most].

    times[a, b] = sum over d = 1 .. REACH of FADE^(d - 1) times how often b came d events after a, another item of the
    same user; events [N] are sorted by user and time.
    """
    pairs = (
        pd.DataFrame({"item": item[:-d], "next": item[d:], "times": FADE ** (d - 1)})
        for d in range(1, REACH + 1)
    )
    near = pd.concat(
        pair[user[:-d] == user[d:]] for d, pair in enumerate(pairs, 1)
    ).query("item != next")
    times = (
        near.groupby(["item", "next"], as_index=False)
        .sum()
        .sort_values("times", ascending=False, kind="stable")
    )
    best = times.groupby("item").head(most)
    at = best["item"], best.groupby("item").cumcount()
    follower, often = (
        np.full((items, most), items, np.int32),
        np.zeros((items, most), np.float32),
    )
    follower[at], often[at] = best["next"], best["times"]
    return follower, often


def lifts(catalogue: Catalogue, query: Query, same: Array) -> tuple[Array, Array]:
    """Followers int32 [B, L, K] of each token of a history, and how much likelier they are soon after it than at all.

    lift = (times - own) / (events of the item - own events + DOUBT) / share, where `own` is what this user's tokens
    added, those to come among them, and share is that of the follower in all events. `same` float32 [B, L, L] is 1
    where tokens are of one item.
    """
    item, length, own = jnp.maximum(query.token, 0), query.token.shape[1], 0.0
    follower = jnp.asarray(catalogue.follower)[item]
    token, segment = (
        jnp.pad(x, ((0, 0), (0, REACH)), constant_values=-2)
        for x in (query.token, query.segment)
    )
    for d in range(1, REACH + 1):
        later = jnp.where(
            segment[:, d : d + length] == query.segment, token[:, d : d + length], -1
        )
        own += FADE ** (d - 1) * (follower == later[..., None])
    had, wanted = (jnp.asarray(catalogue.popularity)[x] for x in (item, follower))
    times = jnp.maximum(jnp.asarray(catalogue.times)[item] - same @ own, 0)
    events = jnp.maximum(had - same.sum(-1), 0)[..., None] + DOUBT
    return follower, times / events * (catalogue.events + 1) / (wanted + 1)


def joined(item: Array, lift: Array) -> tuple[Array, Array]:
    """Items and lifts [..., M, K] as [..., M K]: log(1 + sum of lifts of an item) at its first place, 0 at others."""
    item, lift = (x.reshape(*x.shape[:-2], -1) for x in (item, lift))
    equal = item[..., :, None] == item[..., None, :]
    total = jnp.where(equal, lift[..., None, :], 0.0).sum(-1)
    return item, jnp.where(jnp.tril(equal, -1).any(-1), 0.0, jnp.log1p(total))
