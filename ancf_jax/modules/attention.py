"""Multi-head attention over a shopper's history.

Axis suffixes: B batch (any number of leading axes), Q queries, L keys, H heads, D width of a head.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ancf_jax.machine import forms
from ancf_jax.machine.sizes import query_rows
from ancf_jax.modules.heads import Dense
from ancf_jax.types import Array

HIDDEN = -1e30  # added to the logit of a key that a query may not look at
TIME_BUCKETS = 20  # of the time between two events; the last begins at a year


def attend(
    q_BxQxHxD: Array, k_BxLxHxD: Array, v_BxLxHxD: Array, bias: Array, mask: Array
) -> tuple[Array, Array]:
    """softmax(q k^T / sqrt(D) + bias + mask) v, with logits and weights in float32.

    Source: Vaswani et al. 2017.

    Args:
        q_BxQxHxD: queries.
        k_BxLxHxD: keys.
        v_BxLxHxD: values.
        bias: added to the logits, broadcast to [B, H, Q, L].
        mask: 0 where a query may look at a key and HIDDEN elsewhere, broadcast to [B, H, Q, L]; a
            query without any key gets the zero vector.

    Returns:
        The attended values [B, Q, H, D] and the weights [B, H, Q, L].
    """
    batch = q_BxQxHxD.shape[0]
    scale = q_BxQxHxD.shape[-1] ** -0.5
    if jnp.ndim(bias) == 4 and bias.shape[0] == 1 < batch:
        bias = forms.repeat(bias[0], batch)
    products = jnp.einsum(
        "...qhd,...lhd->...hql",
        q_BxQxHxD * scale,
        k_BxLxHxD,
        preferred_element_type=jnp.float32,
    )
    weights_BxHxQxL = jax.nn.softmax(products + bias + mask, axis=-1)
    has_keys = mask.max(-1, keepdims=True) > HIDDEN
    weights_BxHxQxL = jnp.where(has_keys, weights_BxHxQxL, 0.0)
    weights_to_mix = weights_BxHxQxL.astype(v_BxLxHxD.dtype)
    mixed_BxQxHxD = jnp.einsum("...hql,...lhd->...qhd", weights_to_mix, v_BxLxHxD)
    return mixed_BxQxHxD, weights_BxHxQxL


def split_heads(x: Array, heads: int) -> Array:
    """[..., D] as [..., heads, D / heads]."""
    return x.reshape(*x.shape[:-1], heads, -1)


def join_heads(x: Array) -> Array:
    """[..., heads, D] as [..., heads * D]."""
    return x.reshape(*x.shape[:-2], -1)


def attend_causally(
    q_BxQxHxD: Array, k_BxLxHxD: Array, v_BxLxHxD: Array, bias: Array, mask: Array
) -> tuple[Array, Array]:
    """`attend` where no query looks beyond its own place; the queries are the last Q of L tokens.

    Queries meet the keys in blocks, each up to its own end alone, see `machine.sizes.query_rows`.

    Args:
        q_BxQxHxD: queries.
        k_BxLxHxD: keys.
        v_BxLxHxD: values.
        bias: [B or 1, H, Q, L].
        mask: as for `attend`, [B or 1, H or 1, Q, L]; HIDDEN where l lies beyond q.

    Returns:
        As `attend`.
    """
    queries = q_BxQxHxD.shape[-3]
    length = k_BxLxHxD.shape[-3]
    at_once = query_rows(queries)
    mixed = []
    weights = []
    for begin in range(0, queries, at_once):
        block = slice(begin, min(begin + at_once, queries))
        end = length - queries + block.stop
        mixed_part, weights_part = attend(
            q_BxQxHxD[..., block, :, :],
            k_BxLxHxD[..., :end, :, :],
            v_BxLxHxD[..., :end, :, :],
            bias[..., block, :end],
            mask[..., block, :end],
        )
        mixed.append(mixed_part)
        weights.append(_padded_keys(weights_part, length))
    return jnp.concatenate(mixed, axis=-3), jnp.concatenate(weights, axis=-2)


def _padded_keys(weights: Array, length: int) -> Array:
    """Weights [..., E] of the first keys as [..., length], 0 for the keys beyond."""
    beyond = (0, length - weights.shape[-1])
    return jnp.pad(weights, [(0, 0)] * (weights.ndim - 1) + [beyond])


def mask_of(allowed: Array) -> Array:
    """What `attend` takes as mask, for bools of any shape."""
    return jnp.where(allowed, 0.0, HIDDEN)


def causal_mask(segment: Array) -> Array:
    """Mask [B, 1, L, L]: position q may look at the tokens l <= q of its own segment.

    Args:
        segment: int32 [B, L]; -1 is padding.
    """
    order = jnp.arange(segment.shape[-1])
    is_back = order[:, None] >= order[None, :]
    is_same = segment[:, :, None] == segment[:, None, :]
    is_token = (segment >= 0)[:, None, :]
    mask = mask_of(is_back[None] & is_same & is_token)
    return forms.made_once(mask)[:, None]


def distance_bias(by_distance: Array) -> Array:
    """Bias [1, H, L, L] that depends on how far back a key lies.

    Args:
        by_distance: [H, L], the bias of distances 0 to L - 1; keys ahead get that of 0.
    """
    length = by_distance.shape[-1]
    order = jnp.arange(length)
    distance = jnp.clip(order[:, None] - order[None, :], 0, length - 1)
    return by_distance[:, distance][None]


def time_bucket(now: Array, then: Array) -> Array:
    """The time between two events as floor(log2(1 + minutes)): int32 [B, L, L].

    Args:
        now: int32 [B, L] minutes that are looked back from.
        then: int32 [B, L] minutes of the events; those after `now` count as simultaneous.
    """
    minutes = jnp.maximum(now[:, :, None] - then[:, None, :], 0)
    bucket = jnp.log2(1.0 + minutes).astype(jnp.int32)
    return jnp.minimum(bucket, TIME_BUCKETS - 1)


class CausalBlock(nn.Module):
    """x + MHA(LN(x)), then x + FFN(LN(x)): one pre-norm block over tokens.

    Attention is biased by how many events lie between two tokens, and by the bucket of what else
    lies between them: the time where there is a clock, or else the number of baskets.

    Attributes:
        heads: of the attention.
        dropout: share of units dropped in training.
        last: whether only the state of the last token is computed.
    """

    heads: int
    dropout: float
    last: bool = False

    @nn.compact
    def __call__(
        self, x: Array, mask: Array, bucket: Array | None, train: bool
    ) -> Array:
        """Tokens [B, L, D] to states [B, L, D], or [B, 1, D] with `last`.

        Args:
            x: [B, L, D].
            mask: [B, 1, L, L], see `causal_mask`.
            bucket: int32 [B, L, L] below TIME_BUCKETS, such as `time_bucket`; None for none.
            train: whether dropout is on.
        """
        queries = slice(-1 if self.last else 0, None)
        bias = self._bias(x.shape[-2], bucket)
        normal = self._normal(x)
        mixed = self._attention(
            normal, queries, bias[..., queries, :], mask[..., queries, :]
        )
        x = x[..., queries, :] + self._drop(mixed, train)
        wide = nn.gelu(Dense(2 * x.shape[-1], name="widen")(self._normal(x)))
        narrow = Dense(x.shape[-1], name="narrow")(self._drop(wide, train))
        return x + self._drop(narrow, train)

    def _normal(self, x: Array) -> Array:
        """Rows of mean 0 and variance 1, then scaled; moments are float32."""
        return nn.LayerNorm(dtype=x.dtype)(x)

    def _bias(self, length: int, bucket: Array | None) -> Array:
        """The learned bias of the logits: [B or 1, H, L, L]."""
        zeros = nn.initializers.zeros
        by_distance = self.param("distance_bias", zeros, (self.heads, length))
        bias = distance_bias(by_distance)
        if bucket is None:
            return bias
        by_time = self.param("time_bias", zeros, (TIME_BUCKETS, self.heads))
        return bias + jnp.moveaxis(by_time[bucket], -1, 1)

    def _attention(self, x: Array, queries: slice, bias: Array, mask: Array) -> Array:
        """What the tokens `queries` of x [B, L, D] find among all of them."""
        size = x.shape[-1]
        query = Dense(size, use_bias=False, name="query")(x[..., queries, :])
        key = Dense(size, use_bias=False, name="key")(x)
        value = Dense(size, use_bias=False, name="value")(x)
        q, k, v = (split_heads(part, self.heads) for part in (query, key, value))
        mixed, weights = attend_causally(q, k, v, bias, mask)
        self.sow("intermediates", "weights", weights)
        return Dense(size, use_bias=False, name="out")(join_heads(mixed))

    def _drop(self, x: Array, train: bool) -> Array:
        return nn.Dropout(self.dropout, deterministic=not train)(x)


class CausalEncoder(nn.Module):
    """Blocks of causal self-attention over tokens.

    Attributes:
        layers: number of blocks.
        heads: of each block.
        dropout: share of units dropped in training.
        dtype: of the tokens on their way through the blocks.
    """

    layers: int
    heads: int
    dropout: float
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Array,
        mask: Array,
        bucket: Array | None,
        train: bool,
        last: bool = False,
    ) -> Array:
        """Tokens [B, L, D] to states [B, L, D], or to that of the last token, [B, 1, D].

        Args:
            x: float32 [B, L, D].
            mask: [B, 1, L, L], see `causal_mask`.
            bucket: int32 [B, L, L] below TIME_BUCKETS, such as `time_bucket`; None for none.
            train: whether dropout is on.
            last: whether only the state of the last token is wanted.
        """
        x = nn.Dropout(self.dropout, deterministic=not train)(x.astype(self.dtype))
        for layer in range(self.layers):
            only_last = last and layer == self.layers - 1
            block = CausalBlock(
                self.heads, self.dropout, only_last, name=f"block_{layer}"
            )
            x = block(x, mask, bucket, train)
        return nn.LayerNorm(dtype=jnp.float32)(x)
