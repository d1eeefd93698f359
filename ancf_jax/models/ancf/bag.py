"""The bag: what a user thought of other items, in whatever order, as one sum."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.modules.embeddings import weighted_sum_of_rows
from ancf_jax.types import Array, Request


class Bag(nn.Module):
    """bag = sum_l (taken_l + (value_l - mean) valued_l) / sqrt(n) over the n events of a history.

    taken_l and valued_l are embeddings of the item of event l that are for this alone: the one
    says that the user took it, the other how much more they liked it than the rest. mean is that
    of the values of the history, so that without ratings, where all are 1, taken alone speaks.

    Source: Koren, Factorization Meets the Neighborhood (2008), sections 4.1 and 5.

    Attributes:
        items: I, number of items.
        size: D, width of the bag.
    """

    items: int
    size: int

    @nn.compact
    def __call__(self, request: Request) -> Array:
        """The bag [B, D] of histories [B, L] with values; zero where there is no event."""
        # The table begins small: at first a history says little.
        small = nn.initializers.normal(0.1 * self.size**-0.5)
        table = self.param("item_bag", small, (self.items, 2 * self.size))
        taken, valued = jnp.split(table, 2, axis=-1)
        is_event = (request.token >= 0).astype(jnp.float32)
        count = jnp.maximum(is_event.sum(-1, keepdims=True), 1.0)
        value = jnp.asarray(request.token_value) * is_event
        mean = value.sum(-1, keepdims=True) / count
        liking = (value - mean) * is_event
        total = weighted_sum_of_rows(taken, request.token, is_event)
        total += weighted_sum_of_rows(valued, request.token, liking)
        return total * jax.lax.rsqrt(count)
