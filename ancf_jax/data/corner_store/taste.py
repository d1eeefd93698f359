"""The taste of the corner store's shoppers: leanings, refusals and favourites."""

import numpy as np
from numpy.random import Generator

TASTE_FACTORS = 6  # dimensions in which shoppers differ
TASTE_SPREAD = 0.7
FAVOURITES = 5  # products of each shopper
FAVOURITE_BONUS = 2.0  # what being a favourite adds to the utility


def draw_taste(
    rng: Generator,
    share: np.ndarray,
    appeal: np.ndarray,
    refusals: np.ndarray,
    shoppers: int,
) -> np.ndarray:
    """The taste of every shopper for every product: float32 [U, I].

    Args:
        rng: the source of randomness.
        share: [I, S] shares of shelves in products.
        appeal: [I].
        refusals: [R, I] for each reason, the share of shoppers that refuses the product.
        shoppers: U.

    Returns:
        What taste adds to the utility of a product; -inf where the shopper refuses it.
    """
    items, shelves = share.shape
    shelf_taste = _draw_low_rank(rng, shoppers, shelves)
    item_taste = _draw_low_rank(rng, shoppers, items)
    taste = TASTE_SPREAD * (shelf_taste @ share.T + item_taste)
    _refuse(rng, taste, refusals)
    _favour(rng, taste, appeal)
    return taste.astype(np.float32)


def _draw_low_rank(rng: Generator, rows: int, columns: int) -> np.ndarray:
    """Product of two normal matrices, every entry of variance 1: [rows, columns]."""
    left = rng.normal(size=(rows, TASTE_FACTORS))
    right = rng.normal(size=(TASTE_FACTORS, columns))
    return left @ right / np.sqrt(TASTE_FACTORS)


def _refuse(rng: Generator, taste: np.ndarray, refusals: np.ndarray) -> None:
    """Sets `taste` [U, I] to -inf where a reason of the shopper's forbids the product."""
    shoppers = len(taste)
    share = refusals.max(axis=1)
    has_reason = rng.random((shoppers, len(refusals))) < share
    taste[has_reason @ (refusals > 0)] = -np.inf


def _favour(rng: Generator, taste: np.ndarray, appeal: np.ndarray) -> None:
    """Raises `taste` [U, I] for the favourites of each shopper.

    The largest of utilities plus Gumbel noise are a draw from the softmax without replacement.
    """
    noisy = taste + appeal + rng.gumbel(size=taste.shape)
    favourites = np.argsort(-noisy, axis=1)[:, :FAVOURITES]
    shopper = np.arange(len(taste))[:, None]
    taste[shopper, favourites] += FAVOURITE_BONUS
