"""Counts of training events: what tends to be repeated, and what tends to follow an item.

Such habits are too rare for embeddings to hold. They are counted once, on the host.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

LOOKAHEAD = 5  # how many events ahead count as soon after
LOOKAHEAD_DECAY = 0.7  # weight of each of them relative to the one before
UNFOLLOWED_EVENTS = 10.0  # pseudo-events of every item that nothing followed
LEVEL_ITEMS = (
    200.0  # pseudo-items of every value of a level, which sell as the level above
)


def count_repeats(
    levels: Iterable[np.ndarray], item: np.ndarray, repeated: np.ndarray
) -> np.ndarray:
    """Events, and repeats among them, of all items that share a level with each item.

    Args:
        levels: int [I] each, the value of every item at a level of the hierarchy; -1 for
            items without a value, which share the level with none.
        item: [N] of training events.
        repeated: bool [N] whether the event repeats an earlier one of the same user.

    Returns:
        float32 [I, levels, 2].
    """
    counts = [_count_level(value, item, repeated) for value in levels]
    return np.stack(counts, axis=1).astype(np.float32)


def _count_level(
    value: np.ndarray, item: np.ndarray, repeated: np.ndarray
) -> np.ndarray:
    """Events and repeats of all items with the same value: [I, 2]."""
    code = value + 1  # 0 stands for no value
    size = code.max() + 1
    events = np.bincount(code[item], minlength=size)
    repeats = np.bincount(code[item], weights=repeated, minlength=size)
    counts = np.stack([events, repeats], axis=-1)
    counts[0] = 0
    return counts[code]


def count_values(ids: np.ndarray, values: int, item: np.ndarray) -> np.ndarray:
    """Events of the items that have each value of a feature: float32 [V].

    Args:
        ids: int [I, M] the values of every item, -1 where there are fewer than M.
        values: V.
        item: [N] of training events.
    """
    value = ids[item]
    counts = np.bincount(value[value >= 0], minlength=values)
    return counts.astype(np.float32)


def log_events_of_unsold(
    levels: Iterable[np.ndarray], events: np.ndarray, new_events: float = 0.0
) -> np.ndarray:
    """The logarithm of how many events to expect of each item that has none.

    By Good and Turing, all items without events together are as likely as all items with
    exactly one. That holds for the items of each value of a level, too: one of the value v has

        rate_v = (items of v with one event + P rate_w) / (items of v without events + P)

    events in as long a time as was counted, where w is the value of the level above and
    P = LEVEL_ITEMS; above all levels stand all items, with 1 in place of P rate_w and P. No rate
    is above one event, which is what an item has that was sold. Where all rates together are
    below `new_events`, they are multiplied up to them: a shop that often has new products.

    Source: Good, The Population Frequencies of Species and the Estimation of Population
    Parameters, Biometrika 40 (1953).

    Args:
        levels: int [I] each, the value of every item at a level of the hierarchy, the widest
            level first; -1 for none, where the rate is that of the level above.
        events: [I] how many known events each item has.
        new_events: events to expect of all these items together, where more is known of that
            than Good and Turing know.

    Returns:
        float32 [I], 0 for items that have events.
    """
    is_unsold = events == 0
    rate = _events_of_unsold(levels, is_unsold, events == 1)
    rate = np.minimum(rate, 1)
    together = rate[is_unsold].sum()
    if 0 < together < new_events:
        rate = rate * new_events / together
    return np.where(is_unsold, np.log(rate), 0).astype(np.float32)


def _events_of_unsold(
    levels: Iterable[np.ndarray], is_unsold: np.ndarray, is_single: np.ndarray
) -> np.ndarray:
    """Good and Turing's estimate at the narrowest level of each item: float64 [I]."""
    rate = np.full(len(is_unsold), (is_single.sum() + 1) / (is_unsold.sum() + 1))
    for value in levels:
        code = value + 1  # 0 stands for no value
        unsold = np.bincount(code, weights=is_unsold)[code]
        single = np.bincount(code, weights=is_single)[code]
        of_value = (single + LEVEL_ITEMS * rate) / (unsold + LEVEL_ITEMS)
        rate = np.where(value >= 0, of_value, rate)
    return rate


def count_followers(
    user: np.ndarray, item: np.ndarray, items: int, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """The items that most often came soon after each item.

    weight[a, b] = sum over d = 1 .. LOOKAHEAD of LOOKAHEAD_DECAY^(d - 1) times how often b
    came d events after a, another item of the same user.

    Args:
        user: [N] of training events, sorted by user and time.
        item: [N].
        items: I.
        limit: K, how many followers of an item are kept.

    Returns:
        Followers int32 [I, K], the heaviest first, I for none; and their weights
        float32 [I, K].
    """
    pairs = _pairs_soon_after(user, item)
    weights = pairs.groupby(["item", "follower"], as_index=False).sum()
    weights = weights.sort_values("weight", ascending=False, kind="stable")
    heaviest = weights.groupby("item").head(limit)
    rank = heaviest.groupby("item").cumcount()
    place = (heaviest["item"], rank)
    follower = np.full((items, limit), items, np.int32)
    weight = np.zeros((items, limit), np.float32)
    follower[place] = heaviest["follower"]
    weight[place] = heaviest["weight"]
    return follower, weight


def _pairs_soon_after(user: np.ndarray, item: np.ndarray) -> pd.DataFrame:
    """Every pair of different items of one user at most LOOKAHEAD events apart."""
    at_distance = []
    for distance in range(1, LOOKAHEAD + 1):
        pairs = pd.DataFrame(
            {
                "item": item[:-distance],
                "follower": item[distance:],
                "weight": LOOKAHEAD_DECAY ** (distance - 1),
            }
        )
        same_user = user[:-distance] == user[distance:]
        at_distance.append(pairs[same_user])
    pairs = pd.concat(at_distance)
    return pairs[pairs["item"] != pairs["follower"]]
