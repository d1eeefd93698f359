"""When the corner store's shoppers come, decided before what they buy."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from ancf_jax.data.corner_store.calendar import DAY, OPENING, weekday

OPENS = 6.0  # the earliest hour of a visit
CLOSES = 22.5  # the latest

# A visit comes at the shopper's rush hour 0 or rush hour 1, or else at any hour (2).
RUSH_HOURS = 2
ANY_HOUR = 2
HOUR_SHARES = (0.4, 0.25, 0.35)


class Visits(NamedTuple):
    """When purchases happen; one row per purchase, sorted by shopper and time.

    Attributes:
        time: int64 [N] unix seconds.
        gap: int64 [N] seconds since the purchase before, or since entering the shop.
        start: int64 [U + 1] the rows of shopper u are start[u] .. start[u + 1] - 1.
    """

    time: np.ndarray
    gap: np.ndarray
    start: np.ndarray


def plan_visits(
    rng: Generator, traffic: dict[str, list[float]], shoppers: int, days: int
) -> Visits:
    """Days and hours of every shopper's visits, and the seconds of every purchase in them.

    Args:
        rng: the source of randomness.
        traffic: `hours` of the day with their `shares` of visits, and `weekdays`, how busy
            Monday to Sunday are.
        shoppers: U.
        days: days from the opening.
    """
    joined, left = _draw_membership(rng, shoppers, days)
    shopper, day = _draw_days(rng, traffic["weekdays"], joined, left, days)
    hour = _draw_hours(rng, traffic, shopper, shoppers)
    purchases = 1 + rng.binomial(5, 0.22, len(shopper))
    entered = OPENING + day * DAY + (hour * 3600).astype(np.int64)
    time, gap = _draw_times(rng, entered, purchases)
    buyer = np.repeat(shopper, purchases)
    start = np.searchsorted(buyer, np.arange(shoppers + 1))
    return Visits(time, gap, start)


def _draw_membership(
    rng: Generator, shoppers: int, days: int
) -> tuple[np.ndarray, np.ndarray]:
    """The days on which each shopper first comes and comes no more: two float [U]."""
    # Above 1, a shopper stays until the end.
    end = rng.uniform(0.25, 1.1, shoppers).clip(max=1.0)
    left = np.floor(end * days)
    stay = days * rng.uniform(0.2, 0.6, shoppers)
    joined = np.floor((left - stay).clip(0))
    return joined, left


def _draw_days(
    rng: Generator,
    busy: list[float],
    joined: np.ndarray,
    left: np.ndarray,
    days: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Shopper and day of every visit, sorted by both: two int64 [V].

    The largest of log weights plus Gumbel noise are a draw without replacement.
    """
    shoppers = len(joined)
    day = np.arange(days)
    preference = rng.normal(0, 0.4, (shoppers, 7))
    by_weekday = np.log(busy) + preference
    noise = rng.gumbel(size=(shoppers, days))
    priority = by_weekday[:, weekday(day)] + noise
    not_yet = day < joined[:, None]
    no_more = day >= left[:, None]
    priority[not_yet | no_more] = -np.inf
    possible = (0.9 * (left - joined)).astype(int)
    visits = np.minimum(rng.integers(30, 56, shoppers), possible)
    rank = np.argsort(np.argsort(-priority, axis=1), axis=1)
    shopper, visit_day = np.nonzero(rank < visits[:, None])
    return shopper, visit_day


def _draw_hours(
    rng: Generator,
    traffic: dict[str, list[float]],
    shopper: np.ndarray,
    shoppers: int,
) -> np.ndarray:
    """The hour at which each visit [V] begins: float [V]."""
    hours = traffic["hours"]
    shares = traffic["shares"]
    rush_center = rng.choice(hours, (shoppers, RUSH_HOURS), p=shares)
    rush = rush_center + rng.normal(0, 0.5, (shoppers, RUSH_HOURS))
    source = rng.choice(3, len(shopper), p=HOUR_SHARES)
    any_center = rng.choice(hours, len(shopper), p=shares)
    any_hour = any_center + rng.normal(0, 1.2, len(shopper))
    own_rush = rush[shopper, source.clip(0, RUSH_HOURS - 1)]
    rush_hour = own_rush + rng.normal(0, 0.7, len(shopper))
    return np.where(source == ANY_HOUR, any_hour, rush_hour).clip(OPENS, CLOSES)


def _draw_times(
    rng: Generator, entered: np.ndarray, purchases: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Time and gap of every purchase, from when each visit [V] began: two int64 [N]."""
    browsing = rng.exponential(70, purchases.sum()).astype(np.int64)
    gap = 20 + browsing.clip(0, 600)
    spent = np.cumsum(gap)
    visit_start = np.cumsum(purchases) - purchases
    spent_before_visit = (spent - gap)[visit_start]
    time = np.repeat(entered - spent_before_visit, purchases) + spent
    return time, gap
