"""What attention makes of a shopper's history: none, causal, candidate-aware, or your own.

A context is a Linen module. Its `__call__` reads the tokens of a history once for each request.
One that does not look at the candidates needs nothing more:

    class MeanOfHistory(Context):
        @nn.compact
        def __call__(self, tokens, scope, train, last=False):
            ...
            return ContextState(states)

One that does prepares each candidate once for all requests (`prepare`) and lets it look at what
a request remembers (`of_candidates`).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ancf_jax.models.ancf.config import AncfSettings
from ancf_jax.modules import attention
from ancf_jax.modules.heads import Dense
from ancf_jax.types import Array, Request


class Scope(NamedTuple):
    """What each position of a history may look at.

    Attributes:
        mask: [B, 1, L, L], 0 where the position may look at a token and HIDDEN elsewhere.
        gap: int32 [B, L, L], the bucket of the time from each token to the moment of each
            position; None where there is no clock.
        ago: int32 [B, L, L], how many baskets lie between each token and what comes after each
            position; None where every event stands alone.
    """

    mask: Array
    gap: Array | None
    ago: Array | None = None

    @property
    def bucket(self) -> Array | None:
        """What attention is biased by besides distance: the time, or else the baskets between."""
        if self.gap is not None or self.ago is None:
            return self.gap
        return jnp.clip(self.ago, 0, attention.TIME_BUCKETS - 1)


class ContextState(NamedTuple):
    """What a context found.

    Attributes:
        states: [B, L, D], or [B, 1, D] for the last position alone; None for nothing.
        memory: a pytree with leading axis B that `of_candidates` looks at, or None.
    """

    states: Array | None
    memory: Any = None


def moments(request: Request) -> Array:
    """The moment int32 [B, L] that each position of the history looks forward to.

    That is the next token's time, and for the last position the moment that is scored.
    """
    if request.minute.ndim == 2:
        return request.minute
    later = request.token_minute[:, 1:]
    return jnp.concatenate([later, request.minute[:, None]], axis=1)


def scope_of(request: Request, clock: bool) -> Scope:
    """The tokens of the same segment up to each position, and how long ago they were."""
    gap = None
    ago = None
    if clock:
        gap = attention.time_bucket(moments(request), request.token_minute)
    if request.basket is not None:
        ago = request.basket[:, :, None] - request.basket[:, None, :]
    return Scope(attention.causal_mask(request.segment), gap, ago)


class Context(nn.Module):
    """No attention: nothing is known of the history. The base of the others.

    Attributes:
        settings: those of the whole model.
        dtype: in which a context may hold what it computes; its results are float32.
    """

    settings: AncfSettings
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, tokens: Array, scope: Scope, train: bool, last: bool = False
    ) -> ContextState:
        """What is made of tokens [B, L, D].

        Args:
            tokens: the events of the history, embedded.
            scope: what each position may look at.
            train: whether dropout is on.
            last: whether the state of the last position is all that is wanted.
        """
        return ContextState(None)

    def prepare(self, candidates: Array) -> Array | None:
        """What candidates [..., C, D] ask of every history, or None for nothing."""
        return None

    def of_candidates(self, memory: Any, asked: Array | None) -> Array | None:
        """What each candidate finds, given what it asks: [B, C, D], or None for nothing."""
        return None


class CausalContext(Context):
    """Causal self-attention (`modules.attention.CausalEncoder`), alike for all candidates."""

    def setup(self) -> None:
        n = self.settings
        self.encoder = attention.CausalEncoder(n.layers, n.heads, n.dropout, self.dtype)
        nn.share_scope(self, self.encoder)

    def __call__(
        self, tokens: Array, scope: Scope, train: bool, last: bool = False
    ) -> ContextState:
        """States [B, L, D] of all positions, or [B, 1, D] of the last."""
        states = self.encoder(tokens, scope.mask, scope.bucket, train, last)
        return ContextState(states)


class CandidateContext(Context):
    """Attention that each candidate directs at the events of the history.

    softmax(query(candidate) . key(event) / sqrt(D / H) + recency) value(event), by heads.
    """

    def setup(self) -> None:
        n = self.settings
        self.query = Dense(n.mlp_size)
        self.key = Dense(n.mlp_size)
        self.value = Dense(n.mlp_size)
        shape = (n.heads, n.history_length)
        self.recency = self.param("recency", nn.initializers.zeros, shape)

    def __call__(
        self, tokens: Array, scope: Scope, train: bool, last: bool = False
    ) -> ContextState:
        """Keys and values [B, L, H, D / H] of the events, and which of them are there [B, L]."""
        heads = self.settings.heads
        memory = {
            "key": attention.split_heads(self.key(tokens), heads),
            "value": attention.split_heads(self.value(tokens), heads),
            # The last position may look at all that is there.
            "mask": scope.mask[:, :, -1:, :],
        }
        return ContextState(None, memory)

    def prepare(self, candidates: Array) -> Array:
        """Queries [..., C, H, D / H]."""
        return attention.split_heads(self.query(candidates), self.settings.heads)

    def of_candidates(self, memory: Any, asked: Array | None) -> Array | None:
        """What each candidate's attention finds in the history: [B, C, D]."""
        query = jnp.asarray(asked)
        if query.ndim == 3:
            query = query[None]
        bias = jnp.expand_dims(self.recency, (0, 2))
        mixed, weights = attention.attend(
            query, memory["key"], memory["value"], bias, memory["mask"]
        )
        self.sow("intermediates", "weights", weights)
        return mixed.reshape((*mixed.shape[:-2], -1))


CONTEXTS: dict[str, type[Context]] = {
    "none": Context,
    "causal": CausalContext,
    "candidate": CandidateContext,
    "bag": Context,
}
