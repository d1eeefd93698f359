"""The built-in corner store: a SIMULATED convenience store, for trying everything without a download.

No shopper and no purchase here is real. Every purchase is drawn, one after another, from

    P(item | shopper, time, past) = softmax(appeal + taste + demand(time) + habit(past) + basket(past)),

so the best possible ranking is known, and a result can be read as a share of it:

    appeal   how well a product sells to everybody;
    taste    low-rank leanings of a shopper to categories and products, a few favourites, and things
             never bought (a vegetarian's meat, pet food without a pet);
    demand   hour of day, weekday and season of the product's categories; nothing before its launch;
    habit    earlier purchases of the same product, fading over weeks;
    basket   what is already bought in this visit: the same product and its rivals less, what goes
             with it more (croissant after coffee, sauce after pasta).

Views and clicks beside the purchases, and the hover and dwell times of all events, follow
from taste. The figures are invented and tuned so that taste, time and order of purchases all matter.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from ancf_jax.data import corner_store_products as assortment
from ancf_jax.data.corner_store_shop import DAY, OPENING, SLOT, Shop, Visits, draw_taste, draw_visits, stock_shop
from ancf_jax.data.interactions import Feature, Interactions
from ancf_jax.errors import UserError

KINDS = ("view", "click", "purchase")
HABIT, HABIT_DAYS = 0.9, 20.0  # strength of habit, and the days in which it fades to 1/e
VIEW_SHARE = 0.8  # views beside a purchase: at most one, this often


class Truth(NamedTuple):
    """The simulator's own probabilities for each shopper's last two purchases.

    Row u is the exact conditional distribution given the shopper, the time of the purchase and all
    earlier events: sorting items by it is the best possible ranking.
    """

    validation: np.ndarray  # float32 [U, I]: P(item | shopper, time and everything before) of the second-last purchase
    test: np.ndarray  # float32 [U, I]: of the last purchase


def simulate(seed: int = 0, shoppers: int = 1_200, days: int = 365) -> tuple[Interactions, Truth]:
    """A year of a simulated shop: purchases, views and clicks with hover and dwell, and the true probabilities.

    Shoppers join and leave, so their last purchases are spread over weekdays, hours and seasons.
    The same seed gives the same log. Raises UserError for fewer than 1 shopper or 30 days.
    """
    if shoppers < 1 or days < 30 or seed < 0:
        found = f"shoppers={shoppers}, days={days}, seed={seed}"
        raise UserError(f"the corner store got {found}, expected 1 shopper, 30 days and seed 0 or more; raise them")
    rng = np.random.default_rng(seed)
    shop = stock_shop(rng, days)
    taste = draw_taste(rng, shop, shoppers)
    visits = draw_visits(rng, shoppers, days)
    bought, viewed, truth = _buy(rng, shop, taste, visits)
    return _log(rng, shop, taste, visits, bought, viewed), truth


def _buy(
    rng: np.random.Generator, shop: Shop, taste: np.ndarray, visits: Visits
) -> tuple[np.ndarray, np.ndarray, Truth]:
    """Draws the k-th purchase of all shoppers together: (items bought [N], items viewed or -1 [N], truth)."""
    count = np.diff(visits.start)
    bought, viewed = np.empty(len(visits.time), np.int32), np.full(len(visits.time), -1, np.int32)
    liking = taste + shop.appeal
    habit, basket = np.zeros_like(taste), np.zeros_like(taste)
    truth = Truth(np.zeros_like(taste), np.zeros_like(taste))
    for step in range(count.max()):
        who = np.flatnonzero(count > step)
        row = visits.start[who] + step
        since, time = visits.time[row - (step > 0)], visits.time[row]
        habit[who] *= np.exp((since - time) / (HABIT_DAYS * DAY)).astype(np.float32)[:, None]
        basket[who[visits.first[row]]] = 0.0
        day, slot = np.divmod(time - OPENING, DAY)
        utility = liking[who] + HABIT * np.log1p(habit[who]) + basket[who] + shop.hourly[slot // SLOT] + shop.daily[day]
        weight = np.exp(utility - utility.max(1, keepdims=True))
        chance = weight / weight.sum(1, keepdims=True)
        bought[row] = item = _draw(rng, chance)
        habit[who, item] += 1.0
        basket[who] += shop.influence[item]
        looks = rng.random(len(who)) < VIEW_SHARE
        viewed[row[looks]] = _draw(rng, _exposure(chance[looks], shop.daily[day[looks]]))
        for kept, before in zip(truth, (2, 1), strict=True):
            now = count[who] - before == step
            kept[who[now]] = chance[now]
    return bought, viewed, truth


def _exposure(chance: np.ndarray, daily: np.ndarray) -> np.ndarray:
    """What is looked at: half after one's own wishes, flattened, and half whatever is on the shelf."""
    wish, shelf = np.sqrt(chance), np.isfinite(daily)
    return wish / wish.sum(1, keepdims=True) + shelf / shelf.sum(1, keepdims=True)


def _draw(rng: np.random.Generator, weight: np.ndarray) -> np.ndarray:
    """One column per row, by its weight; a column of weight 0 is never drawn."""
    mass = np.cumsum(weight, 1, dtype=np.float64)
    return (mass <= rng.random((len(mass), 1)) * mass[:, -1:]).sum(1).astype(np.int32)


def _log(
    rng: np.random.Generator, shop: Shop, taste: np.ndarray, visits: Visits, bought: np.ndarray, viewed: np.ndarray
) -> Interactions:
    """Purchases and views as one log; a view comes within the gap before the purchase it was drawn with."""
    shoppers = len(taste)
    buyer = np.repeat(np.arange(shoppers), np.diff(visits.start))
    looks = np.flatnonzero(viewed >= 0)
    earlier = rng.integers(1, visits.gap[looks])
    user, item = np.concatenate([buyer, buyer[looks]]), np.concatenate([bought, viewed[looks]])
    time = np.concatenate([visits.time, visits.time[looks] - earlier])
    purchase = np.arange(len(user)) < len(bought)
    clicked, dwell, hover = _traces(rng, taste, shop.appeal, user, item)
    quantity = np.where(purchase, 1 + rng.binomial(3, 0.08, len(user)), np.nan)
    kind = np.where(purchase, 2, clicked)
    order = np.lexsort((time, user))
    columns = {
        "user": user.astype(np.int32)[order],
        "item": item.astype(np.int32)[order],
        "time": time[order],
        "kind": kind.astype(np.int8)[order],
        "clicked": clicked.astype(np.float32)[order],
        "dwell": dwell.astype(np.float32)[order],
        "hover": hover.astype(np.float32)[order],
        "quantity": quantity.astype(np.float32)[order],
    }
    return Interactions(
        **columns,
        clock=True,
        users=np.array([f"S{n:05d}" for n in range(shoppers)]),
        items=np.array([f"P{n:04d}" for n in range(len(shop.names))]),
        names=np.array(shop.names),
        kinds=KINDS,
        item_features=_features(shop),
        digest=hashlib.sha256(b"".join(column.tobytes() for column in columns.values())).hexdigest(),
    )


def _traces(
    rng: np.random.Generator, taste: np.ndarray, appeal: np.ndarray, user: np.ndarray, item: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clicked (1/0), dwell and hover (seconds, log-normal, now and then a screen left open), all by liking."""
    known = np.isfinite(taste)
    liking = np.where(known, taste, taste[known].min() / 2) + 0.3 * appeal
    like = ((liking - liking[known].mean()) / liking[known].std()).clip(-2.5, 3.0)[user, item]
    patience = rng.normal(0, 0.3, len(taste))[user]
    clicked = rng.random(len(user)) < 1 / (1 + np.exp(0.7 - 1.8 * like - patience))
    left_open = np.where(rng.random(len(user)) < 0.01, 15.0, 1.0)
    dwell = 8 * np.exp(0.7 * like + patience + 0.5 * clicked + rng.normal(0, 0.6, len(user))) * left_open
    hover = 2 * np.exp(0.4 * like + 0.5 * patience + rng.normal(0, 0.5, len(user)))
    return clicked, dwell, hover


def _features(shop: Shop) -> dict[str, Feature]:
    """Department and category of every product; a second value where a second shelf brings a new one."""
    features = {}
    for level, labels in (
        ("department", [c.department for c in assortment.CATEGORIES]),
        ("category", [c.name for c in assortment.CATEGORIES]),
    ):
        values = list(dict.fromkeys(labels))
        of_shelf = np.array([values.index(label) for label in labels] + [-1], np.int32)
        ids = of_shelf[shop.shelves]
        ids[ids[:, 0] == ids[:, 1], 1] = -1
        features[level] = Feature(np.array(values), ids)
    return features
