"""What speaks for an item before any embedding does: popularity, repeats, and followers."""

import flax.linen as nn
import jax.numpy as jnp

from ancf_jax.models.ancf.config import AncfSettings
from ancf_jax.models.ancf.context import Scope
from ancf_jax.models.ancf.followers import Followers
from ancf_jax.models.ancf.history import Boost, CountedHistory, counted_history
from ancf_jax.models.ancf.popularity import Popularity
from ancf_jax.models.ancf.repeats import Repeats
from ancf_jax.types import Array, Catalogue, Request, Sizes


class LogPrior(nn.Module):
    """prior_i = popularity_i + repeats_i(history) + followers_i(history).

    The log of how likely an item is, but for a constant, by counts and a few learned weights of
    them. Popularity is the same for all users and is known per item (`of_items`); the other two
    speak for the few items that a history names (`of_history`).
    """

    settings: AncfSettings
    sizes: Sizes

    def setup(self) -> None:
        n = self.settings
        self.popularity = Popularity(n.popularity)
        if n.repeats:
            levels = self.sizes.item_features if n.hierarchy else ()
            self.repeats = Repeats(
                levels=tuple(name for name, _ in levels),
                length=n.history_length,
                clock=bool(n.temporal),
                items=self.sizes.items,
            )
        if n.followers:
            self.followers = Followers()

    def of_items(self, catalogue: Catalogue, items: Array) -> Array:
        """What popularity says of items [..., C], in that shape."""
        return self.popularity(catalogue, items)

    def of_history(self, catalogue: Catalogue, request: Request, scope: Scope) -> Boost:
        """What the history adds to some items: [B, K], or [B, L, K] for windows."""
        history = counted_history(request, scope)
        boosts = [_no_boost(history)]
        if self.settings.repeats:
            token = jnp.maximum(history.token, 0)
            log_share = self.popularity(catalogue, token)
            boosts.append(self.repeats(catalogue, history, log_share))
        if self.settings.followers:
            boosts.append(self.followers(catalogue, history))
        return _side_by_side(boosts, request.minute.shape)


def _no_boost(history: CountedHistory) -> Boost:
    shape = (*history.visible.shape[:2], 0)
    return Boost(jnp.zeros(shape, jnp.int32), jnp.zeros(shape))


def _side_by_side(boosts: list[Boost], leading: tuple[int, ...]) -> Boost:
    """All boosts [B, Q, K] as one, with the leading axes of the request."""
    item = jnp.concatenate([boost.item for boost in boosts], -1)
    amount = jnp.concatenate([boost.amount for boost in boosts], -1)
    shape = (*leading, item.shape[-1])
    return Boost(item.reshape(shape), amount.reshape(shape))
