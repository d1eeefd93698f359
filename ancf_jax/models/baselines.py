"""Baselines without parameters to learn, and the one constructor of all baselines.

A baseline is a frozen dataclass with `fit(log, catalogue, seed)`, which returns its variables, and
the pure functions `encode_users`, `encode_items` and `score` that every model has.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import BASELINES, Config
from ancf_jax.errors import UserError, nearest
from ancf_jax.models.ease import Ease
from ancf_jax.models.ials import Ials
from ancf_jax.models.user_rows import Progress, count_items, pick
from ancf_jax.types import Array, Catalogue, EventLog, Query, Sizes, Variables


@dataclass(frozen=True)
class Popularity:
    """score(u, i) = number of training events of item i; the same for every user."""

    sizes: Sizes

    def fit(self, log: EventLog, catalogue: Catalogue, seed: int, progress: Progress | None = None) -> Variables:
        """Counts float32 [I] of the events per item."""
        return _item_counts(log, self.sizes)

    def encode_users(self, variables: Variables, log: EventLog, catalogue: Catalogue, query: Query) -> Array:
        """The users [B] themselves."""
        return query.user

    def encode_items(self, variables: Variables, catalogue: Catalogue, items: Array) -> Array:
        """Counts of items: [C] or [B, C]."""
        return variables["params"]["count"][items]

    def score(self, variables: Variables, users: Array, items: Array) -> Array:
        """Scores float32 [B, C]."""
        return jnp.broadcast_to(items, (users.shape[0], items.shape[-1]))


@dataclass(frozen=True)
class MostBought:
    """score(u, i) = events of u with i in the log at hand + events of i / (all events + 1).

    The second term, below 1, only orders items that the user had equally often; for an unknown
    user (-1) it is all there is.
    """

    sizes: Sizes

    def fit(self, log: EventLog, catalogue: Catalogue, seed: int, progress: Progress | None = None) -> Variables:
        """Counts float32 [I] of the events per item; the users' own counts come from the log at scoring."""
        return _item_counts(log, self.sizes)

    def encode_users(self, variables: Variables, log: EventLog, catalogue: Catalogue, query: Query) -> jax.Array:
        """Scores of the whole catalogue: float32 [B, I]."""
        count = variables["params"]["count"]
        share = count / (jnp.sum(count) + 1.0)
        return count_items(log.item, log.start, query.user, self.sizes.items) + share[None, :]

    def encode_items(self, variables: Variables, catalogue: Catalogue, items: Array) -> Array:
        """The items themselves: [C] or [B, C]."""
        return items

    def score(self, variables: Variables, users: Array, items: Array) -> Array:
        """Scores float32 [B, C]."""
        return pick(users, items)


Baseline = Popularity | MostBought | Ease | Ials


def baseline(config: Config, sizes: Sizes, max_events: int) -> Baseline:
    """The baseline that `config.model` names; raises UserError where it names none.

    `max_events`, the longest history, bounds nothing: histories are read in rounds, whole.
    """
    del max_events
    settings = config.baseline
    if config.model == "popularity":
        return Popularity(sizes)
    if config.model == "most_bought":
        return MostBought(sizes)
    if config.model == "ease":
        return Ease(sizes, settings.ease_l2)
    if config.model == "ials":
        return Ials(sizes, settings.ials_size, settings.ials_l2, settings.ials_unobserved, settings.ials_sweeps)
    hint = nearest(config.model, BASELINES)
    raise UserError(f'"{config.model}" is not a baseline{hint}; choose one of {", ".join(BASELINES)}')


def _item_counts(log: EventLog, sizes: Sizes) -> Variables:
    count = np.bincount(np.asarray(log.item), minlength=sizes.items)
    return {"params": {"count": jnp.asarray(count, jnp.float32)}}
