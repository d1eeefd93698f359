"""The shelves of the corner store: products, appeal, demand, and what a basket changes."""

import tomllib
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

from ancf_jax.data.corner_store.calendar import DAY, SLOT, weekday
from ancf_jax.data.corner_store.taste import draw_taste
from ancf_jax.data.interactions import Feature

RANK_PENALTY = 0.8  # how much the first product of a shelf outsells the others
APPEAL_SPREAD = 0.25  # standard deviation of a product's own appeal

# Effects of a product in the basket on the utility of others.
SAME_PRODUCT = -4.0
SAME_SHELF = -2.2
PARTNER_SHELF = 2.8

Book = dict[str, Any]  # corner_store.toml as nested dicts


class Shop(NamedTuple):
    """What is known before anybody buys; T quarter hours make a day.

    Attributes:
        names: text [I].
        features: department and category, with a second value where a product stands on a
            second shelf.
        appeal: float32 [I].
        taste: float32 [U, I], -inf for what the shopper never buys.
        hourly: float32 [T, I] log demand by quarter hour.
        daily: float32 [days, I] log demand by day, -inf before the launch.
        influence: float32 [I, I] what row i in the basket adds to the utility of column j.
    """

    names: np.ndarray
    features: dict[str, Feature]
    appeal: np.ndarray
    taste: np.ndarray
    hourly: np.ndarray
    daily: np.ndarray
    influence: np.ndarray


class Placement(NamedTuple):
    """The I products and where they stand on the S shelves.

    Attributes:
        names: the products, shelf by shelf.
        rank: the place of each on its main shelf, 0 for the one that sells best.
        places: int [I, 2] main shelf and second shelf of each, -1 for none.
        share: float32 [I, S] 1 for a product's only shelf, 1/2 for each of two.
    """

    names: list[str]
    rank: list[int]
    places: np.ndarray
    share: np.ndarray


def read_book() -> Book:
    """The shelves, patterns of demand and visiting hours of `corner_store.toml`."""
    file = resources.files("ancf_jax.data.corner_store").joinpath("corner_store.toml")
    return tomllib.loads(file.read_text("utf-8"))


def stock_shop(rng: Generator, book: Book, shoppers: int, days: int) -> Shop:
    """The shop of `book` over `days` days, with appeal and taste drawn."""
    placement = _place_products(book)
    share = placement.share
    appeal = _draw_appeal(rng, book, placement)
    refusals = _refusals(book, placement)
    return Shop(
        names=np.array(placement.names),
        features=_features(book, placement),
        appeal=appeal,
        taste=draw_taste(rng, share, appeal, refusals, shoppers),
        hourly=(_hourly_demand(book) @ share.T).astype(np.float32),
        daily=_daily_demand(book, placement, days).astype(np.float32),
        influence=_influence(book, share).astype(np.float32),
    )


def _place_products(book: Book) -> Placement:
    """Every product of every shelf, with its second shelf where it has one."""
    shelves = book["shelf"]
    names: list[str] = []
    rank: list[int] = []
    main_shelf: list[int] = []
    for number, shelf in enumerate(shelves):
        products = shelf["products"]
        names += products
        rank += range(len(products))
        main_shelf += [number] * len(products)
    places = np.stack([main_shelf, _second_shelves(book, names)], axis=1)
    stands_on = (places[:, :, None] == np.arange(len(shelves))).any(axis=1)
    share = stands_on.astype(np.float32)
    share /= share.sum(axis=1, keepdims=True)
    return Placement(names, rank, places, share)


def _second_shelves(book: Book, names: list[str]) -> list[int]:
    """The second shelf of each product, -1 for none."""
    also_in = book["also_in"]
    categories = _categories(book)
    return [
        categories.index(also_in[name]) if name in also_in else -1 for name in names
    ]


def _categories(book: Book) -> list[str]:
    """The category of each shelf."""
    return [shelf["category"] for shelf in book["shelf"]]


def _draw_appeal(rng: Generator, book: Book, placement: Placement) -> np.ndarray:
    """float32 [I]: the pull of a product's shelves, less for a lower rank, plus noise."""
    pull = np.array([shelf["pull"] for shelf in book["shelf"]])
    mean = placement.share @ pull - RANK_PENALTY * np.log1p(placement.rank)
    noise = rng.normal(0, APPEAL_SPREAD, len(placement.names))
    return (mean + noise).astype(np.float32)


def _refusals(book: Book, placement: Placement) -> np.ndarray:
    """float [R, I]: for each reason, the share of shoppers that never buys the product."""
    categories = _categories(book)
    main_categories = [categories[shelf] for shelf in placement.places[:, 0]]
    rows = []
    for group in book["refusal"].values():
        refused = [
            category in group["categories"] or name in group["products"]
            for category, name in zip(main_categories, placement.names, strict=True)
        ]
        rows.append(np.array(refused) * group["share"])
    return np.stack(rows)


def _features(book: Book, placement: Placement) -> dict[str, Feature]:
    """Department and category of every product."""
    features = {}
    for level in ("department", "category"):
        labels = [shelf[level] for shelf in book["shelf"]]
        features[level] = _feature(labels, placement.places)
    return features


def _feature(labels: list[str], places: np.ndarray) -> Feature:
    """The labels [S] of the shelves `places` [I, 2] of every product, each label once."""
    values = list(dict.fromkeys(labels))
    id_of_shelf = [values.index(label) for label in labels]
    # Place -1, "no second shelf", reads the last entry.
    ids = np.array([*id_of_shelf, -1], np.int32)[places]
    ids[ids[:, 0] == ids[:, 1], 1] = -1
    return Feature(np.array(values), ids)


def _influence(book: Book, share: np.ndarray) -> np.ndarray:
    """[I, I]: what each product in the basket adds to the utility of each product."""
    categories = _categories(book)
    goes_with = [
        [category in shelf["then"] for category in categories]
        for shelf in book["shelf"]
    ]
    partner = np.array(goes_with, np.float32)
    return (
        SAME_SHELF * share @ share.T
        + PARTNER_SHELF * share @ partner @ share.T
        + SAME_PRODUCT * np.eye(len(share))
    )


def _hourly_demand(book: Book) -> np.ndarray:
    """[T, S]: log demand of each shelf in the middle of every quarter hour."""
    hour = (np.arange(DAY // SLOT) + 0.5) * SLOT / 3600
    return _sum_bumps(hour, 24, _patterns(book, "hourly"))


def _daily_demand(book: Book, placement: Placement, days: int) -> np.ndarray:
    """[days, I]: log demand by season and weekday, -inf before the launch."""
    day = np.arange(days)
    seasonal = _sum_bumps(day, 365, _patterns(book, "seasonal"))
    weekly = np.array(_patterns(book, "weekly")).T[weekday(day)]
    launch = [book["launch_day"].get(name, 0) for name in placement.names]
    launched = day[:, None] >= launch
    return np.where(launched, (seasonal + weekly) @ placement.share.T, -np.inf)


def _patterns(book: Book, kind: str) -> list[Any]:
    """The pattern of demand, "hourly", "weekly" or "seasonal", of each shelf."""
    return [book[kind][shelf[kind]] for shelf in book["shelf"]]


def _sum_bumps(
    at: np.ndarray, period: int, shelves: list[list[list[float]]]
) -> np.ndarray:
    """[len(at), S]: sum over a shelf's peaks of height * exp(-(distance / width)^2 / 2).

    Distances are on a circle of `period`. A peak is [place, width, height].
    """

    def bump(peak: float, width: float, height: float) -> np.ndarray:
        distance = (at - peak + period / 2) % period - period / 2
        return height * np.exp(-0.5 * (distance / width) ** 2)

    columns = []
    for peaks in shelves:
        total = np.zeros(len(at))
        for peak in peaks:
            total = total + bump(*peak)
        columns.append(total)
    return np.stack(columns, axis=1)
