"""`recency_frequency`: what this user bought often and lately."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ancf_jax.config import Config
from ancf_jax.limits import Decay, Positive
from ancf_jax.models.baselines.counting import Popularity
from ancf_jax.models.baselines.shared import SLOTS
from ancf_jax.models.registry import Registration
from ancf_jax.types import Array, Catalogue, EventLog, Request, Sizes, Variables

# Decayed counts float32 [I] of the events visited, and how many baskets begin among them.
Counted = tuple[jax.Array, jax.Array]


@dataclass(frozen=True)
class RecencySettings:
    """The settings of `recency_frequency`."""

    decay: Decay = 0.9
    """How much of an event's weight is left with every later basket of the user."""
    weight: Positive = 0.005
    """Weight of an event of the latest basket, where an item weighs its share of all training
    events; small, so that popular items compete with what was bought once, long ago."""


@dataclass(frozen=True)
class RecencyFrequency(Popularity):
    """score(u, i) = weight * sum_e decay^ago(e) + share_i

    over the events e of u with item i in the log at hand. ago(e) is the number of baskets of u
    that begin after the basket of e: 0 for the latest. share_i is the item's share of the training
    events; for an unknown user (-1) it is all there is. This is the frequency of an item,
    discounted by recency, of the literature on next baskets.
    """

    decay: float
    weight: float

    def encode_users(
        self,
        variables: Variables,
        log: EventLog,
        catalogue: Catalogue,
        request: Request,
    ) -> jax.Array:
        """Scores of the whole catalogue: float32 [B, I]."""
        frequency = decayed_counts(log, request.user, self.sizes.items, self.decay)
        return self.weight * frequency + self.shares(variables)[None, :]


def decayed_counts(log: EventLog, user: Array, items: int, decay: float) -> jax.Array:
    """sum_e decay^ago(e) over the events of users [B] with each of `items` items: [B, I].

    The events of a user are visited from the latest back, SLOTS at a time, so that the baskets
    that begin later are known, and a user costs what its own history is long.
    """

    def of_one(row: Array) -> jax.Array:
        begin = log.start[jnp.maximum(row, 0)]
        end = jnp.where(row >= 0, log.start[row + 1], begin)

        def one_round(number: jax.Array, state: Counted) -> Counted:
            counts, later_baskets = state
            place = end - 1 - number * SLOTS - jnp.arange(SLOTS)
            is_event = place >= begin
            begins = is_event & _begins_basket(log, place)
            through_here = later_baskets + jnp.cumsum(begins)
            ago = through_here - begins
            item = jnp.where(is_event, log.item[place], items)
            counts = counts.at[item].add(decay**ago, mode="drop")
            return counts, through_here[-1]

        rounds = (end - begin + SLOTS - 1) // SLOTS
        nothing = (jnp.zeros(items), jnp.zeros((), jnp.int32))
        counts, _ = jax.lax.fori_loop(0, rounds, one_round, nothing)
        return counts

    return jax.vmap(of_one)(user)


def _begins_basket(log: EventLog, place: Array) -> Array:
    """Whether the events at `place` are the first of their baskets."""
    if log.basket_place is None:
        return jnp.ones(place.shape, bool)
    return log.basket_place[place] == 0


def build(config: Config, sizes: Sizes, clock: bool) -> RecencyFrequency:
    """`recency_frequency` by its settings."""
    return RecencyFrequency(sizes, config.network.decay, config.network.weight)


RECENCY_FREQUENCY = Registration(
    "recency_frequency", RecencySettings, build, {"epochs": 0}, fitted=True
)
