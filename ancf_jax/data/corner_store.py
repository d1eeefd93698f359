"""The built-in corner store: a SIMULATED convenience store, for trying everything without a download.

No shopper and no purchase here is real. Every purchase is drawn, one after another, from

    P(item | shopper, time, past) = softmax(appeal + taste + demand(time) + habit(past) + basket(past)),

so the best possible ranking is known. `appeal` holds for everybody; `taste` is a shopper's leanings, favourites and
refusals; `demand` hour, weekday, season and launch; `habit` earlier purchases, fading over weeks; `basket` what this
visit holds: the product and its rivals less, what goes with them more. `corner_store.toml` holds the shelves.
"""

import hashlib
import tomllib
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from ancf_jax.data.interactions import Feature, Interactions

OPENING, WEDNESDAY = (
    1_735_689_600,
    2,
)  # 2025-01-01 00:00 on the shop's clock, taken as UTC, and its weekday
DAY, SLOT = (
    86_400,
    900,
)  # seconds of a day, and of the quarter hours that demand is tabulated by
FAME, LEANING = (
    0.8,
    0.7,
)  # how much the first product of a shelf outsells the others; spread of taste
FAVOURITES, FAVOURITE = 5, 2.0  # number and strength
REPEATED, RIVAL, PARTNER = -4.0, -2.2, 2.8  # effects of the basket
HABIT, HABIT_DAYS, VIEWS = (
    0.9,
    20.0,
    0.8,
)  # strength of habit, days until 1/e of it is left; views per purchase


class Truth(NamedTuple):
    """float32 [U, I]: P(item | shopper, time and everything before) of two purchases of each shopper."""

    validation: np.ndarray  # the second-last
    test: np.ndarray  # the last


class Shop(NamedTuple):
    """What is known before anybody buys; T quarter hours."""

    names: np.ndarray  # text [I]
    features: dict[
        str, Feature
    ]  # department and category, a second value where a second shelf brings one
    appeal: np.ndarray  # float32 [I]
    taste: np.ndarray  # float32 [U, I], -inf for what the shopper never buys
    hourly: np.ndarray  # float32 [T, I] log demand by quarter hour
    daily: np.ndarray  # float32 [days, I] log demand by day, -inf before the launch
    influence: (
        np.ndarray
    )  # float32 [I, I] what row i in the basket adds to the utility of column j


class Visits(NamedTuple):
    """When purchases happen, decided before what is bought; one row per purchase, by shopper and time."""

    time: np.ndarray  # int64 [N]
    gap: (
        np.ndarray
    )  # int64 [N] seconds since the purchase before, or since entering the shop
    start: (
        np.ndarray
    )  # int64 [U + 1] rows of shopper u are start[u] .. start[u + 1] - 1


def simulate(
    seed: int = 0, shoppers: int = 1_200, days: int = 365
) -> tuple[Interactions, Truth]:
    """A year of a simulated shop (30 days at least), the same for the same seed, and its true probabilities."""
    rng = np.random.default_rng(seed)
    book = tomllib.loads(
        resources.files("ancf_jax.data")
        .joinpath("corner_store.toml")
        .read_text("utf-8")
    )
    shop, visits = (
        _stock(rng, book, shoppers, days),
        _visits(rng, book["visits"], shoppers, days),
    )
    bought, viewed, truth = _buy(rng, shop, visits)
    return _log(rng, shop, visits, bought, viewed), truth


def _stock(rng: Generator, book: dict[str, Any], shoppers: int, days: int) -> Shop:
    """The S shelves of `book` over `days` days, with appeal and taste drawn."""
    shelves, also_in, groups = book["shelf"], book["also_in"], book["refusal"].values()
    categories = [shelf["category"] for shelf in shelves]
    rows = [
        (name, rank, main)
        for main, shelf in enumerate(shelves)
        for rank, name in enumerate(shelf["products"])
    ]
    names, rank, main = zip(*rows, strict=True)
    places = np.stack(
        [
            main,
            [
                categories.index(also_in[name]) if name in also_in else -1
                for name in names
            ],
        ],
        1,
    )
    share = (places[:, :, None] == np.arange(len(shelves))).any(1).astype(np.float32)
    share /= share.sum(1, keepdims=True)
    pull = share @ np.array([shelf["pull"] for shelf in shelves]) - FAME * np.log1p(
        rank
    )
    appeal = (pull + rng.normal(0, 0.25, len(names))).astype(np.float32)
    then = np.array(
        [[other in shelf["then"] for other in categories] for shelf in shelves],
        np.float32,
    )
    influence = (
        RIVAL * share @ share.T
        + PARTNER * share @ then @ share.T
        + REPEATED * np.eye(len(names))
    )
    hourly, weekly, seasonal = (
        [book[by][shelf[by]] for shelf in shelves]
        for by in ("hourly", "weekly", "seasonal")
    )
    quarter, day = (np.arange(DAY // SLOT) + 0.5) * SLOT / 3600, np.arange(days)
    daily = _bumps(day, 365, seasonal) + np.array(weekly).T[(day + WEDNESDAY) % 7]
    launched = day[:, None] >= [book["launch_day"].get(name, 0) for name in names]
    left = [
        [
            categories[m] in g["categories"] or name in g["products"]
            for name, _, m in rows
        ]
        for g in groups
    ]
    refused = np.array(left) * [[group["share"]] for group in groups]
    features = {
        level: _feature([shelf[level] for shelf in shelves], places)
        for level in ("department", "category")
    }
    taste = _taste(rng, share, appeal, refused, shoppers)
    demand = (
        _bumps(quarter, 24, hourly) @ share.T,
        np.where(launched, daily @ share.T, -np.inf),
    )
    return Shop(
        np.array(names),
        features,
        appeal,
        taste,
        *(x.astype(np.float32) for x in (*demand, influence)),
    )


def _feature(labels: list[str], places: np.ndarray) -> Feature:
    """The labels [S] of the shelves `places` [I, 2] of every product, each label once."""
    values = list(dict.fromkeys(labels))
    ids = np.array([*map(values.index, labels), -1], np.int32)[places]
    ids[ids[:, 0] == ids[:, 1], 1] = -1
    return Feature(np.array(values), ids)


def _bumps(at: np.ndarray, period: int, shelves: list[list[list[float]]]) -> np.ndarray:
    """[len(at), S]: sum of height * exp(-(distance / width)^2 / 2) over a shelf's peaks, on a circle of `period`."""

    def bump(peak: float, width: float, height: float) -> np.ndarray:
        return height * np.exp(
            -0.5 * (((at - peak + period / 2) % period - period / 2) / width) ** 2
        )

    return np.stack(
        [sum((bump(*peak) for peak in peaks), np.zeros(len(at))) for peaks in shelves],
        1,
    )


def _taste(
    rng: Generator,
    share: np.ndarray,
    appeal: np.ndarray,
    refused: np.ndarray,
    shoppers: int,
) -> np.ndarray:
    """float32 [U, I] from shares of shelves [I, S] and, for each of R reasons, the share that refuses items [R, I]."""
    items, shelves = share.shape
    leaning = (
        rng.normal(size=(shoppers, 6)) @ rng.normal(size=(6, shelves)) / np.sqrt(6)
    )
    detail = rng.normal(size=(shoppers, 6)) @ rng.normal(size=(6, items)) / np.sqrt(6)
    taste = LEANING * (leaning @ share.T + detail)
    taste[
        (rng.random((shoppers, len(refused))) < refused.max(1)) @ (refused > 0)
    ] = -np.inf
    drawn = np.argsort(-(taste + appeal + rng.gumbel(size=taste.shape)), 1)[
        :, :FAVOURITES
    ]
    taste[np.arange(shoppers)[:, None], drawn] += FAVOURITE
    return taste.astype(np.float32)


def _visits(
    rng: Generator, book: dict[str, list[float]], shoppers: int, days: int
) -> Visits:
    """Days and hours of every shopper's visits, and the seconds of every purchase in them."""
    leave = np.floor(rng.uniform(0.25, 1.1, shoppers).clip(max=1.0) * days)
    join = np.floor((leave - days * rng.uniform(0.2, 0.6, shoppers)).clip(0))
    day = np.arange(days)
    wish = (np.log(book["weekdays"]) + rng.normal(0, 0.4, (shoppers, 7)))[
        :, (day + WEDNESDAY) % 7
    ]
    key = wish + rng.gumbel(size=(shoppers, days))
    key[(day < join[:, None]) | (day >= leave[:, None])] = -np.inf
    wanted = np.minimum(
        rng.integers(30, 56, shoppers), (0.9 * (leave - join)).astype(int)
    )
    who, when = np.nonzero(np.argsort(np.argsort(-key, 1), 1) < wanted[:, None])
    rush = rng.choice(book["hours"], (shoppers, 2), p=book["shares"]) + rng.normal(
        0, 0.5, (shoppers, 2)
    )
    usual = rng.choice(3, len(who), p=(0.4, 0.25, 0.35))
    elsewhen = rng.choice(book["hours"], len(who), p=book["shares"]) + rng.normal(
        0, 1.2, len(who)
    )
    hour = np.where(
        usual == 2, elsewhen, rush[who, usual.clip(0, 1)] + rng.normal(0, 0.7, len(who))
    ).clip(6, 22.5)
    size = 1 + rng.binomial(5, 0.22, len(who))
    gap = 20 + rng.exponential(70, size.sum()).astype(np.int64).clip(0, 600)
    spent, first = np.cumsum(gap), np.cumsum(size) - size
    entered = OPENING + when * DAY + (hour * 3600).astype(np.int64)
    time = np.repeat(entered - (spent - gap)[first], size) + spent
    return Visits(
        time, gap, np.searchsorted(np.repeat(who, size), np.arange(shoppers + 1))
    )


def _buy(
    rng: Generator, shop: Shop, visits: Visits
) -> tuple[np.ndarray, np.ndarray, Truth]:
    """Draws the k-th purchase of all shoppers together: (items bought [N], items viewed or -1 [N], truth)."""
    count, liking = np.diff(visits.start), shop.taste + shop.appeal
    bought, viewed = np.full((2, len(visits.time)), -1, np.int32)
    habit, basket, *truth = np.zeros((4, *liking.shape), np.float32)
    for step in range(count.max()):
        who = np.flatnonzero(count > step)
        row = visits.start[who] + step
        since, time = visits.time[row - (step > 0)], visits.time[row]
        habit[who] *= np.exp((since - time) / (HABIT_DAYS * DAY)).astype(np.float32)[
            :, None
        ]
        basket[who[time - since != visits.gap[row]]] = 0.0  # a new visit
        day, slot = np.divmod(time - OPENING, DAY)
        utility = (
            liking[who]
            + HABIT * np.log1p(habit[who])
            + basket[who]
            + shop.hourly[slot // SLOT]
            + shop.daily[day]
        )
        chance = np.exp(utility - utility.max(1, keepdims=True))
        chance /= chance.sum(1, keepdims=True)
        bought[row] = item = _draw(rng, chance)
        habit[who, item] += 1.0
        basket[who] += shop.influence[item]
        looks = (
            rng.random(len(who)) < VIEWS
        )  # at what is wished for, flattened, or at anything on the shelf
        wish, shelf = np.sqrt(chance[looks]), np.isfinite(shop.daily[day[looks]])
        viewed[row[looks]] = _draw(
            rng, wish / wish.sum(1, keepdims=True) + shelf / shelf.sum(1, keepdims=True)
        )
        for kept, left in zip(truth, (2, 1), strict=True):
            now = count[who] - step == left
            kept[who[now]] = chance[now]
    return bought, viewed, Truth(*truth)


def _draw(rng: Generator, weight: np.ndarray) -> np.ndarray:
    """One column per row, by its weight; a column of weight 0 is never drawn."""
    mass = np.cumsum(weight, 1, dtype=np.float64)
    return (mass <= rng.random((len(mass), 1)) * mass[:, -1:]).sum(1)


def _log(
    rng: Generator, shop: Shop, visits: Visits, bought: np.ndarray, viewed: np.ndarray
) -> Interactions:
    """Purchases and views as one log; a view comes within the gap before the purchase it was drawn with."""
    buyer, looks = (
        np.repeat(np.arange(len(shop.taste)), np.diff(visits.start)),
        np.flatnonzero(viewed >= 0),
    )
    user, item = (
        np.concatenate([buyer, buyer[looks]]),
        np.concatenate([bought, viewed[looks]]),
    )
    time = np.concatenate(
        [visits.time, visits.time[looks] - rng.integers(1, visits.gap[looks])]
    )
    purchase = np.arange(len(user)) < len(bought)
    traces = _traces(rng, shop, user, item)
    traces["quantity"] = np.where(
        purchase, 1 + rng.binomial(3, 0.08, len(user)), np.nan
    ).astype(np.float32)
    kind, order = np.where(purchase, 2, traces["clicked"]), np.lexsort((time, user))
    log: dict[str, Any] = {
        "user": user.astype(np.int32),
        "item": item,
        "time": time,
        "kind": kind.astype(np.int8),
    }
    log = {name: column[order] for name, column in (log | traces).items()}
    digest = hashlib.sha256(
        b"".join(column.tobytes() for column in log.values())
    ).hexdigest()
    log |= {
        "users": np.array([f"S{n:05d}" for n in range(len(shop.taste))]),
        "names": shop.names,
    }
    log |= {
        "items": np.array([f"P{n:04d}" for n in range(len(shop.names))]),
        "item_features": shop.features,
    }
    return Interactions(
        **log, clock=True, kinds=("view", "click", "purchase"), digest=digest
    )


def _traces(
    rng: Generator, shop: Shop, user: np.ndarray, item: np.ndarray
) -> dict[str, np.ndarray]:
    """Clicked (1/0), dwell and hover (seconds, log-normal, now and then a screen left open), all by liking."""
    known = np.isfinite(shop.taste)
    liking = (
        np.where(known, shop.taste, shop.taste[known].min() / 2) + 0.3 * shop.appeal
    )
    like = ((liking - liking[known].mean()) / liking[known].std()).clip(-2.5, 3.0)[
        user, item
    ]
    patience = rng.normal(0, 0.3, len(shop.taste))[user]
    clicked = rng.random(len(user)) < 1 / (1 + np.exp(0.7 - 1.8 * like - patience))
    left_open = np.where(rng.random(len(user)) < 0.01, 15.0, 1.0)
    dwell = (
        8
        * np.exp(0.7 * like + patience + 0.5 * clicked + rng.normal(0, 0.6, len(user)))
        * left_open
    )
    hover = 2 * np.exp(0.4 * like + 0.5 * patience + rng.normal(0, 0.5, len(user)))
    return {
        "clicked": clicked.astype(np.float32),
        "dwell": dwell.astype(np.float32),
        "hover": hover.astype(np.float32),
    }
