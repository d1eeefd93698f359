"""Clicks, seconds and quantities that purchases and views leave behind."""

import numpy as np
from numpy.random import Generator

from ancf_jax.data.corner_store.shelves import Shop

APPEAL_WEIGHT = 0.3  # of a product's appeal beside the shopper's taste
PATIENCE_SPREAD = 0.3
LEFT_OPEN_SHARE = 0.01  # of events whose screen was left open
LEFT_OPEN_FACTOR = 15.0  # how much longer such a dwell is


def draw_traces(
    rng: Generator, shop: Shop, user: np.ndarray, item: np.ndarray
) -> dict[str, np.ndarray]:
    """The traces of events [N] of `user` with `item`; all grow with how much it is liked.

    Returns:
        clicked: float32 [N] 1 or 0.
        dwell: float32 [N] seconds, log-normal, now and then of a screen left open.
        hover: float32 [N] seconds, log-normal.
    """
    events = len(user)
    liking = _standard_liking(shop)[user, item]
    patience = rng.normal(0, PATIENCE_SPREAD, len(shop.taste))[user]
    click_chance = 1 / (1 + np.exp(0.7 - 1.8 * liking - patience))
    clicked = rng.random(events) < click_chance
    left_open = rng.random(events) < LEFT_OPEN_SHARE
    stretch = np.where(left_open, LEFT_OPEN_FACTOR, 1.0)
    dwell_noise = rng.normal(0, 0.6, events)
    hover_noise = rng.normal(0, 0.5, events)
    log_dwell = 0.7 * liking + patience + 0.5 * clicked + dwell_noise
    log_hover = 0.4 * liking + 0.5 * patience + hover_noise
    dwell = 8 * np.exp(log_dwell) * stretch
    hover = 2 * np.exp(log_hover)
    return {
        "clicked": clicked.astype(np.float32),
        "dwell": dwell.astype(np.float32),
        "hover": hover.astype(np.float32),
    }


def _standard_liking(shop: Shop) -> np.ndarray:
    """How much each shopper likes each product, in standard deviations: [U, I].

    What a shopper refuses counts as half of the worst taste there is.
    """
    accepted = np.isfinite(shop.taste)
    refused_taste = shop.taste[accepted].min() / 2
    taste = np.where(accepted, shop.taste, refused_taste)
    liking = taste + APPEAL_WEIGHT * shop.appeal
    mean = liking[accepted].mean()
    spread = liking[accepted].std()
    return ((liking - mean) / spread).clip(-2.5, 3.0)


def draw_quantities(rng: Generator, purchase: np.ndarray) -> np.ndarray:
    """Pieces bought in each event, NaN where `purchase` [N] is false: float32 [N]."""
    pieces = 1 + rng.binomial(3, 0.08, len(purchase))
    return np.where(purchase, pieces, np.nan).astype(np.float32)
