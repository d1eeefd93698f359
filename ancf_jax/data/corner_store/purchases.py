"""What the corner store's shoppers buy and look at, one purchase after another."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from ancf_jax.data.corner_store.calendar import DAY, OPENING, SLOT
from ancf_jax.data.corner_store.shelves import Shop
from ancf_jax.data.corner_store.visits import Visits

HABIT_WEIGHT = 0.9
HABIT_DAYS = 20.0  # days after which 1/e of a habit is left
VIEWS_PER_PURCHASE = 0.8


class Truth(NamedTuple):
    """P(item | shopper, time and everything before) of two purchases of each shopper.

    Attributes:
        validation: float32 [U, I] of the second-last.
        test: float32 [U, I] of the last.
    """

    validation: np.ndarray
    test: np.ndarray


class Memory(NamedTuple):
    """What earlier purchases left behind; changed in place.

    Attributes:
        habit: float32 [U, I] purchases, fading with time.
        basket: float32 [U, I] what the products of this visit add to utilities.
    """

    habit: np.ndarray
    basket: np.ndarray


def buy(
    rng: Generator, shop: Shop, visits: Visits
) -> tuple[np.ndarray, np.ndarray, Truth]:
    """Draws every purchase, the k-th purchases of all shoppers together.

    Returns:
        The items bought, int32 [N]; the items viewed before, int32 [N] with -1 for none;
        and the true probabilities.
    """
    shape = shop.taste.shape
    memory = Memory(np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    truth = Truth(np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    bought = np.full(len(visits.time), -1, np.int32)
    viewed = np.full(len(visits.time), -1, np.int32)
    count = np.diff(visits.start)
    for step in range(count.max()):
        shopper = np.flatnonzero(count > step)
        row = visits.start[shopper] + step
        time = visits.time[row]
        previous_time = visits.time[row - 1] if step > 0 else time
        _pass_time(memory, shopper, time - previous_time, visits.gap[row])
        chance = _chances(shop, memory, shopper, time)
        bought[row] = _draw(rng, chance)
        _remember(memory, shop, shopper, bought[row])
        viewed[row] = _draw_views(rng, chance, _is_launched(shop, time))
        _keep_truth(truth, chance, shopper, count[shopper] - step)
    return bought, viewed, truth


def _pass_time(
    memory: Memory, shopper: np.ndarray, elapsed: np.ndarray, gap: np.ndarray
) -> None:
    """Fades habits by the seconds since the last purchase; a new visit empties the basket."""
    kept = np.exp(-elapsed / (HABIT_DAYS * DAY)).astype(np.float32)
    memory.habit[shopper] *= kept[:, None]
    new_visit = elapsed != gap
    memory.basket[shopper[new_visit]] = 0.0


def _chances(
    shop: Shop, memory: Memory, shopper: np.ndarray, time: np.ndarray
) -> np.ndarray:
    """P(item) of the next purchase of each shopper: float32 [B, I]."""
    day, second = np.divmod(time - OPENING, DAY)
    utility = (
        (shop.taste[shopper] + shop.appeal)
        + HABIT_WEIGHT * np.log1p(memory.habit[shopper])
        + memory.basket[shopper]
        + shop.hourly[second // SLOT]
        + shop.daily[day]
    )
    chance = np.exp(utility - utility.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    return chance


def _remember(
    memory: Memory, shop: Shop, shopper: np.ndarray, item: np.ndarray
) -> None:
    """Adds the items just bought to habits and baskets."""
    memory.habit[shopper, item] += 1.0
    memory.basket[shopper] += shop.influence[item]


def _is_launched(shop: Shop, time: np.ndarray) -> np.ndarray:
    """Whether each product is on the shelf at each moment: bool [B, I]."""
    return np.isfinite(shop.daily[(time - OPENING) // DAY])


def _draw_views(rng: Generator, chance: np.ndarray, on_shelf: np.ndarray) -> np.ndarray:
    """The item that each shopper [B] looks at before buying, -1 for none.

    Half of the looks go to what is wished for, with probabilities flattened by a square
    root, and half to anything on the shelf.
    """
    looks = rng.random(len(chance)) < VIEWS_PER_PURCHASE
    wished = np.sqrt(chance[looks])
    available = on_shelf[looks]
    viewed = np.full(len(chance), -1)
    viewed[looks] = _draw(
        rng,
        wished / wished.sum(axis=1, keepdims=True)
        + available / available.sum(axis=1, keepdims=True),
    )
    return viewed


def _draw(rng: Generator, weight: np.ndarray) -> np.ndarray:
    """One column per row, by its weight; a column of weight 0 is never drawn."""
    cumulative = np.cumsum(weight, axis=1, dtype=np.float64)
    total = cumulative[:, -1:]
    threshold = rng.random((len(weight), 1)) * total
    return (cumulative <= threshold).sum(axis=1)


def _keep_truth(
    truth: Truth, chance: np.ndarray, shopper: np.ndarray, purchases_left: np.ndarray
) -> None:
    """Keeps the chances of the second-last and of the last purchase of each shopper."""
    second_last = purchases_left == 2
    last = purchases_left == 1
    truth.validation[shopper[second_last]] = chance[second_last]
    truth.test[shopper[last]] = chance[last]
