"""What is popular is likely."""

import flax.linen as nn
import jax.numpy as jnp

from ancf_jax.types import Array, Catalogue


class Popularity(nn.Module):
    """log_share_i = power * log((1 + events of i) / (1 + all events)), with a learned power.

    In place of 1 + events, an item without events has how many are to be expected of it: the
    fewer, the more such items there are.

    Attributes:
        enabled: whether popularity counts at all; where not, the power is 0.
    """

    enabled: bool

    def setup(self) -> None:
        if self.enabled:
            self.power = self.param("power", nn.initializers.ones, ())

    def __call__(self, catalogue: Catalogue, items: Array) -> Array:
        """The logarithm of the share that items [..., C] have in all events, to the power."""
        events = jnp.asarray(catalogue.popularity)[items]
        log_events = jnp.log1p(events) + jnp.asarray(catalogue.log_unsold)[items]
        log_share = log_events - jnp.log1p(catalogue.total_events)
        return (self.power if self.enabled else 0.0) * log_share
