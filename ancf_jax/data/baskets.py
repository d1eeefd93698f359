"""What is bought together: the events of one user at one moment, or close to it, as a basket."""

import numpy as np
import pandas as pd

from ancf_jax.data.interactions import Interactions


def basket_numbers(interactions: Interactions, minutes: float = 0.0) -> np.ndarray:
    """The number of each event's basket, ascending: int64 [N].

    An event belongs to the basket of the event before it if both are of one user and at most
    `minutes` apart: with 0, at the same moment. Where the data has no clock, times are numbers
    of moments, and `minutes` counts for nothing.
    """
    tolerance = 60 * minutes if interactions.clock else 0
    user_change = np.diff(interactions.user, prepend=-1)
    elapsed = np.diff(interactions.time, prepend=0)
    is_later = elapsed > tolerance
    begins = (user_change != 0) | is_later
    return np.cumsum(begins) - 1


def basket_places(basket: np.ndarray) -> np.ndarray | None:
    """How many events of its basket come before each event; None where all stand alone.

    Args:
        basket: int64 [N] numbers as `basket_numbers` gives them.

    Returns:
        int32 [N], or None.
    """
    events = pd.Series(basket).groupby(basket)
    place = events.cumcount().to_numpy(np.int32)
    return place if place.any() else None


def basket_sizes(place: np.ndarray) -> np.ndarray:
    """How many events the basket of each event has.

    Args:
        place: int32 [N] as `basket_places` gives it.

    Returns:
        int32 [N].
    """
    begin = np.flatnonzero(place == 0)
    size = np.diff(np.append(begin, len(place)))
    return np.repeat(size, size).astype(np.int32)


def share_in_baskets(interactions: Interactions, minutes: float = 0.0) -> float:
    """Share of the events that are in one basket with the event before."""
    basket = basket_numbers(interactions, minutes)
    baskets = basket[-1] + 1
    return 1 - float(baskets) / len(basket)


def repeats_of(pair: np.ndarray, place: np.ndarray | None) -> np.ndarray:
    """Whether each event's user had its item in an earlier basket: bool [N].

    Args:
        pair: int64 [N], equal for events of one user with one item; sorted by user and time.
        place: as `basket_places` gives it.
    """
    number = np.arange(len(pair))
    basket = number if place is None else number - place
    baskets_of_pair = pd.Series(basket).groupby(pair)
    first_basket = baskets_of_pair.transform("min")
    return basket > first_basket.to_numpy()
