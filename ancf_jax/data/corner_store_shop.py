"""What the SIMULATED corner store is before anybody buys: shelves, demand, shoppers' tastes and visits.

All of it is invented: drawn from a seed around the figures of `corner_store_products`. C is the
number of categories, T of quarter hours in a day, N of purchases.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ancf_jax.data import corner_store_products as assortment

OPENING = 1_735_689_600  # 2025-01-01 00:00, a Wednesday; the shop's clock, taken as UTC
DAY, SLOT = 86_400, 900  # seconds of a day, and of the quarter hours that demand is tabulated by
RUSH_HOURS, RUSH_SHARE = (8.0, 10.5, 12.5, 15.5, 18.5, 20.5), (0.27, 0.07, 0.18, 0.09, 0.24, 0.15)
TRAFFIC = (1.0, 1.0, 1.0, 1.05, 1.35, 1.25, 0.9)  # visits from Monday to Sunday
FAME = 0.8  # how much the first product of a category outsells the others
LEANING, FAVOURITES, FAVOURITE = 0.7, 5, 2.0  # spread of taste; number and strength of favourites
REPEATED, RIVAL, PARTNER = -4.0, -2.2, 2.8  # effects of the basket


class Shop(NamedTuple):
    """What the simulator knows of the products; C categories, T quarter hours of a day."""

    names: list[str]  # [I]
    shelves: np.ndarray  # int32 [I, 2] main and second category, -1 for none
    shelf: np.ndarray  # float32 [I, C] share of each category in a product; rows sum to 1
    appeal: np.ndarray  # float32 [I]
    hourly: np.ndarray  # float32 [T, I] log demand by quarter hour
    daily: np.ndarray  # float32 [days, I] log demand by day, -inf before the launch
    influence: np.ndarray  # float32 [I, I] what row i in the basket adds to the utility of column j
    refusable: np.ndarray  # bool [tags, I]


class Visits(NamedTuple):
    """When purchases happen, decided before what is bought; one row per purchase, by shopper and time."""

    time: np.ndarray  # int64 [N]
    gap: np.ndarray  # int64 [N] seconds since the purchase before, or since entering the shop
    first: np.ndarray  # bool [N] whether the purchase is the first of its visit
    start: np.ndarray  # int64 [U + 1] rows of shopper u are start[u] .. start[u + 1] - 1


def stock_shop(rng: np.random.Generator, days: int) -> Shop:
    """The shelves of `corner_store_products`, with the appeal of every product drawn."""
    categories = assortment.CATEGORIES
    place = {c.name: n for n, c in enumerate(categories)}
    rows = [(name, rank, c) for c in categories for rank, name in enumerate(c.products.split("; "))]
    names = [name for name, _, _ in rows]
    shelves = np.array([[place[c.name], place.get(assortment.ALSO_IN.get(name, ""), -1)] for name, _, c in rows])
    shelf = (shelves[:, :, None] == np.arange(len(categories))).any(1).astype(np.float32)
    shelf /= shelf.sum(1, keepdims=True)
    fame = FAME * np.log1p([rank for _, rank, _ in rows])
    appeal = shelf @ np.array([c.pull for c in categories]) - fame + rng.normal(0, 0.25, len(rows))
    launch = np.array([assortment.LAUNCH_DAY.get(name, 0) for name in names])
    hourly, daily = _demand(days)
    then = np.array([[other.name in c.then for other in categories] for c in categories], np.float32)
    influence = RIVAL * shelf @ shelf.T + PARTNER * shelf @ then @ shelf.T + REPEATED * np.eye(len(rows))
    meat = assortment.MEAT.split("; ")
    tags = [{c.tag, "meat" if name in meat else ""} for name, _, c in rows]
    return Shop(
        names=names,
        shelves=shelves.astype(np.int32),
        shelf=shelf,
        appeal=appeal.astype(np.float32),
        hourly=(hourly @ shelf.T).astype(np.float32),
        daily=np.where(np.arange(days)[:, None] >= launch, daily @ shelf.T, -np.inf).astype(np.float32),
        influence=influence.astype(np.float32),
        refusable=np.array([[tag in found for found in tags] for tag in assortment.REFUSAL]),
    )


def _demand(days: int) -> tuple[np.ndarray, np.ndarray]:
    """Log demand of every category: by quarter hour [T, C], and by weekday and season [days, C]."""
    day, hour = np.arange(days), (np.arange(DAY // SLOT) + 0.5) * SLOT / 3600
    hourly = [_bump(hour, 24, assortment.DAILY[c.daily]) for c in assortment.CATEGORIES]
    season = [_bump(day, 365, (assortment.SEASONAL[c.season],)) for c in assortment.CATEGORIES]
    weekly = np.array([assortment.WEEKLY[c.weekly] for c in assortment.CATEGORIES])
    return np.stack(hourly, 1), np.stack(season, 1) + weekly.T[_weekday(day)]


def _weekday(day: np.ndarray) -> np.ndarray:
    """0 for Monday to 6 for Sunday; day 0 is the Wednesday of `OPENING`."""
    return (day + 2) % 7


def _bump(at: np.ndarray, period: int, peaks: tuple[tuple[float, float, float], ...]) -> np.ndarray:
    """sum of height * exp(-(distance / width)^2 / 2) over `peaks`, on a circle of length `period`."""
    total = np.zeros(len(at))
    for peak, width, height in peaks:
        distance = (at - peak + period / 2) % period - period / 2
        total += height * np.exp(-0.5 * (distance / width) ** 2)
    return total


def draw_taste(rng: np.random.Generator, shop: Shop, shoppers: int) -> np.ndarray:
    """float32 [U, I]: what each shopper likes at any time; -inf for what the shopper never buys."""
    items, categories = shop.shelf.shape
    leaning = rng.normal(size=(shoppers, 6)) @ rng.normal(size=(6, categories)) / np.sqrt(6)
    detail = rng.normal(size=(shoppers, 6)) @ rng.normal(size=(6, items)) / np.sqrt(6)
    taste = LEANING * (leaning @ shop.shelf.T + detail)
    shares = np.array(list(assortment.REFUSAL.values()))
    refuses = (rng.random((shoppers, len(shares))) < shares) @ shop.refusable
    taste[refuses] = -np.inf
    drawn = np.argsort(-(taste + shop.appeal + rng.gumbel(size=taste.shape)), 1)[:, :FAVOURITES]
    taste[np.arange(shoppers)[:, None], drawn] += FAVOURITE
    return taste.astype(np.float32)


def draw_visits(rng: np.random.Generator, shoppers: int, days: int) -> Visits:
    """Days and hours of every shopper's visits, and the seconds of every purchase in them."""
    leave = np.floor(rng.uniform(0.25, 1.1, shoppers).clip(max=1.0) * days)
    join = np.floor((leave - days * rng.uniform(0.2, 0.6, shoppers)).clip(0))
    day = np.arange(days)
    wish = np.log(TRAFFIC) + rng.normal(0, 0.4, (shoppers, 7))
    key = wish[:, _weekday(day)] + rng.gumbel(size=(shoppers, days))
    key[(day < join[:, None]) | (day >= leave[:, None])] = -np.inf
    wanted = np.minimum(rng.integers(30, 56, shoppers), (0.9 * (leave - join)).astype(int))
    who, when = np.nonzero(np.argsort(np.argsort(-key, 1), 1) < wanted[:, None])

    rush = rng.choice(RUSH_HOURS, (shoppers, 2), p=RUSH_SHARE) + rng.normal(0, 0.5, (shoppers, 2))
    usual = rng.choice(3, len(who), p=(0.4, 0.25, 0.35))
    elsewhen = rng.choice(RUSH_HOURS, len(who), p=RUSH_SHARE) + rng.normal(0, 1.2, len(who))
    hour = np.where(usual == 2, elsewhen, rush[who, usual.clip(0, 1)] + rng.normal(0, 0.7, len(who))).clip(6, 22.5)
    entered = OPENING + when * DAY + (hour * 3600).astype(np.int64)

    size = 1 + rng.binomial(5, 0.22, len(who))
    gap = 20 + rng.exponential(70, size.sum()).astype(np.int64).clip(0, 600)
    first = np.zeros(size.sum(), bool)
    first[np.cumsum(size) - size] = True
    spent = np.cumsum(gap)
    spent -= np.repeat((spent - gap)[first], size)
    user = np.repeat(who, size)
    start = np.searchsorted(user, np.arange(shoppers + 1))
    return Visits(np.repeat(entered, size) + spent, gap, first, start)
