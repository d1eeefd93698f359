"""A share of the places of lists for products that have no event yet.

Each of them is so unlikely that a list of the likeliest products holds none, although together
they are bought often. So they have places of their own, the last ones of some lists.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from ancf_jax.errors import UserError
from ancf_jax.ranking.ranker import Ranker

Explore = float | Literal["auto"]  # a share; "auto" is what the known events say


def share_in_words(text: str) -> Explore:
    """The share that the flag `--explore` gives.

    Raises:
        UserError: it is neither a share nor `auto`.
    """
    if text == "auto":
        return "auto"
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserError(
            f'--explore is "{text}", expected auto or a share from 0 to 1, such as 0.1'
        )
    return share


def unsold_items(ranker: Ranker) -> np.ndarray:
    """Which items have no event that the ranker knows of: bool [I]."""
    return np.asarray(ranker.catalogue.popularity) == 0


def explored_places(user: np.ndarray, n: int, share: float, seed: int) -> np.ndarray:
    """How many places of the list of each user are for products without events: int64 [R].

        places_u = floor(share n (u + 1) + phase) - floor(share n u + phase)

    with a phase in [0, 1) by the seed: systematic sampling. Over all users, and over users in
    any row, the places are `share` of all, but for one; and a list is the same whoever else is
    asked for. An unknown user has none.

    Args:
        user: row numbers [R], -1 for an unknown user.
        n: length of the lists.
        share: from 0 to 1.
        seed: decides which users have a place more.
    """
    phase = np.random.default_rng(seed).random()
    places = share * n
    until = np.floor(places * (user + 1.0) + phase)
    before = np.floor(places * user + phase)
    return np.where(user < 0, 0, until - before).astype(np.int64)


def top_n(
    ranker: Ranker,
    user: np.ndarray,
    minute: np.ndarray,
    n: int,
    keep_seen: bool,
    places: np.ndarray | None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`Ranker.top_n` with the last places [R] of each list for products without events.

    The places before them hold the best of the others, and of them alone. Both parts are exact,
    by falling score. Where there are too few products without events, others take their places;
    where there are too few others, the rest is -1 with score -inf. With None for `places`, or
    where every product has events, the lists are those of the ranker.
    """
    is_unsold = unsold_items(ranker)
    if places is None or not is_unsold.any():
        yield from ranker.top_n(user, minute, n, keep_seen)
        return
    most = max(int(places.max(initial=0)), 1)
    sold = ranker.among(~is_unsold).top_n(user, minute, n, keep_seen)
    unsold = ranker.among(is_unsold).top_n(user, minute, most, keep_seen)
    begin = 0
    for of_sold, of_unsold in zip(sold, unsold, strict=True):
        end = begin + len(of_sold[0])
        yield one_list(of_sold, of_unsold, places[begin:end])
        begin = end


def one_list(
    sold: tuple[np.ndarray, np.ndarray],
    unsold: tuple[np.ndarray, np.ndarray],
    places: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Lists of n from the best n items with events, and the best without, for the last places.

    Args:
        sold: items int32 [b, n], -1 where there are fewer, and their scores.
        unsold: the same of items without events, [b, m].
        places: int64 [b] how many places are for items without events.
    """
    items, scores = sold
    n = items.shape[1]
    there = (unsold[0] >= 0).sum(1)
    places = np.minimum(places, there)[:, None]
    column = np.arange(n)[None, :]
    place = column - (n - places)
    is_unsold = place >= 0
    place = np.clip(place, 0, unsold[0].shape[1] - 1)
    merged = np.where(is_unsold, np.take_along_axis(unsold[0], place, 1), items)
    merged_scores = np.where(is_unsold, np.take_along_axis(unsold[1], place, 1), scores)
    # Where there are too few items with events, the gap goes to the end.
    order = np.argsort(merged < 0, axis=1, kind="stable")
    return (
        np.take_along_axis(merged, order, 1),
        np.take_along_axis(merged_scores, order, 1),
    )
