"""From a seed to the log of a simulated shop and its true probabilities."""

import hashlib
from typing import Any

import numpy as np
from numpy.random import Generator

from ancf_jax.data.corner_store.purchases import Truth, buy
from ancf_jax.data.corner_store.shelves import Shop, read_book, stock_shop
from ancf_jax.data.corner_store.traces import draw_quantities, draw_traces
from ancf_jax.data.corner_store.visits import Visits, plan_visits
from ancf_jax.data.interactions import Interactions

KINDS = ("view", "click", "purchase")
PURCHASE = KINDS.index("purchase")


def simulate(
    seed: int = 0, shoppers: int = 1_200, days: int = 365
) -> tuple[Interactions, Truth]:
    """A year of a simulated shop and its true probabilities, the same for the same seed.

    Args:
        seed: decides everything.
        shoppers: how many shoppers there are.
        days: days from the opening, at least 30.
    """
    rng = np.random.default_rng(seed)
    book = read_book()
    shop = stock_shop(rng, book, shoppers, days)
    visits = plan_visits(rng, book["visits"], shoppers, days)
    bought, viewed, truth = buy(rng, shop, visits)
    events = _draw_events(rng, shop, visits, bought, viewed)
    return _interactions(shop, events), truth


def _draw_events(
    rng: Generator, shop: Shop, visits: Visits, bought: np.ndarray, viewed: np.ndarray
) -> dict[str, np.ndarray]:
    """Purchases and views as columns [N], sorted by user and time.

    A view comes within the gap before the purchase that it was drawn with.
    """
    buyer = np.repeat(np.arange(len(shop.taste)), np.diff(visits.start))
    looks = np.flatnonzero(viewed >= 0)
    view_time = visits.time[looks] - rng.integers(1, visits.gap[looks])
    user = np.concatenate([buyer, buyer[looks]])
    item = np.concatenate([bought, viewed[looks]])
    time = np.concatenate([visits.time, view_time])
    purchase = np.arange(len(user)) < len(bought)
    traces = draw_traces(rng, shop, user, item)
    quantity = draw_quantities(rng, purchase)
    # A view that was clicked is a click: kinds 0 and 1 are the values of `clicked`.
    kind = np.where(purchase, PURCHASE, traces["clicked"])
    columns = {
        "user": user.astype(np.int32),
        "item": item,
        "time": time,
        "kind": kind.astype(np.int8),
        **traces,
        "quantity": quantity,
    }
    order = np.lexsort((time, user))
    return {name: column[order] for name, column in columns.items()}


def _interactions(shop: Shop, events: dict[str, Any]) -> Interactions:
    """The events with the names and features of the shop, and a digest of the events."""
    content = b"".join(column.tobytes() for column in events.values())
    shoppers, items = shop.taste.shape
    return Interactions(
        **events,
        clock=True,
        users=np.array([f"S{number:05d}" for number in range(shoppers)]),
        items=np.array([f"P{number:04d}" for number in range(items)]),
        names=shop.names,
        kinds=KINDS,
        item_features=shop.features,
        digest=hashlib.sha256(content).hexdigest(),
    )
