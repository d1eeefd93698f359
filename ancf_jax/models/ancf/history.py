"""A history as the counting parts of the prior read it: which tokens count, which are alike."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from ancf_jax.models.ancf.context import Scope
from ancf_jax.modules import attention
from ancf_jax.modules.embeddings import repeat
from ancf_jax.types import Array, Request


class Boost(NamedTuple):
    """Items that a history speaks for, and what it adds to the score of each.

    Attributes:
        item: int32 [..., K]; the number of items stands for none.
        amount: float32 [..., K]; the amounts of an item that stands here twice add up.
    """

    item: Array
    amount: Array


class CountedHistory(NamedTuple):
    """The tokens of requests, for the Q positions that are asked about (Q = L, or 1: the last).

    Attributes:
        token: int32 [B, L] items of the history.
        segment: int32 [B, L], see `types.Request`.
        visible: bool [B, Q, L], whether the position knows of the token.
        same_item: bool [B, L, L], whether two tokens of one segment are of one item.
        gap: int32 [B, Q, L], bucket of the time between; None where there is no clock.
        ago: int32 [B, Q, L], baskets between; None where every event stands alone.
        basket: int32 [B, L], see `types.Request`.
        known: int32 [B, L], see `types.Request`.
        is_window: whether every position is a moment of its own (Q = L).
    """

    token: Array
    segment: Array
    visible: Array
    same_item: Array
    gap: Array | None
    ago: Array | None
    basket: Array | None
    known: Array | None
    is_window: bool

    @property
    def positions(self) -> int:
        """Q."""
        return self.visible.shape[1]

    @property
    def length(self) -> int:
        """L."""
        return self.token.shape[1]


def counted_history(request: Request, scope: Scope) -> CountedHistory:
    """The history of `request`, with what each position may look at."""
    is_window = request.minute.ndim == 2
    positions = slice(0 if is_window else -1, None)
    in_scope = scope.mask[:, 0, positions] > attention.HIDDEN
    visible = in_scope & (request.token >= 0)[:, None, :]
    # Tokens that stand for nothing get numbers of their own, so that none is like another.
    own_number = -1 - jnp.arange(request.token.shape[1])[None]
    item = jnp.where(request.token < 0, own_number, request.token)
    same_item = pairwise_equal(item) & pairwise_equal(request.segment)
    return CountedHistory(
        token=request.token,
        segment=request.segment,
        visible=visible,
        same_item=same_item,
        gap=None if scope.gap is None else scope.gap[:, positions],
        ago=None if scope.ago is None else scope.ago[:, positions],
        basket=request.basket,
        known=request.known,
        is_window=is_window,
    )


def is_repeat(history: CountedHistory) -> Array:
    """Whether a token repeats the item of an earlier basket: bool [B, L]."""
    is_earlier_of_item = jnp.tril(history.same_item, -1)
    if history.basket is not None:
        basket = history.basket
        is_earlier_of_item &= basket[:, :, None] > basket[:, None, :]
    return is_earlier_of_item.any(-1)


def pairwise_equal(x: Array) -> Array:
    """Which of the values [B, L] of a row are equal: bool [B, L, L]."""
    return x[:, :, None] == x[:, None, :]


class ByAge(nn.Module):
    """A learned figure of each event by its age: f(distance) + g(gap).

    Distance is how many events, or baskets, ago it was, gap the bucket of how long ago, where
    there is a clock. The figure may be wanted as its exponential, exp(f) exp(g).

    Attributes:
        start: the value of f at first; g begins at 0.
        length: L, the longest distance.
        clock: whether there are times.
    """

    start: float
    length: int
    clock: bool

    def setup(self) -> None:
        start = nn.initializers.constant(self.start)
        self.by_distance = self.param("by_distance", start, (self.length,))
        if self.clock:
            zeros = nn.initializers.zeros
            self.by_gap = self.param("by_gap", zeros, (attention.TIME_BUCKETS,))

    def __call__(self, history: CountedHistory) -> Array:
        """The figure of each token for each position: [B, Q, L]."""
        distance = self._of_distance(self.by_distance, history)
        return distance if history.gap is None else distance + self.by_gap[history.gap]

    def exponential(self, history: CountedHistory) -> Array:
        """exp of the figure: [B, Q, L]."""
        distance = self._of_distance(jnp.exp(self.by_distance), history)
        if history.gap is None:
            return distance
        return distance * jnp.exp(self.by_gap)[history.gap]

    def _of_distance(self, by_distance: Array, history: CountedHistory) -> Array:
        if history.ago is not None:
            return by_distance[jnp.clip(history.ago, 0, self.length - 1)]
        rows = attention.distance_bias(by_distance[None])[0, 0]
        batch = history.token.shape[0]
        return repeat(rows, batch)[:, -history.positions :]
