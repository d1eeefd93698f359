"""Multi-head attention over a shopper's history.

Axis suffixes: B batch (any number of leading axes), Q queries, L keys, H heads, D width of a head.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.modules.embeddings import repeat
from ancf_jax.modules.heads import Dense
from ancf_jax.types import Array

QUERY_BLOCK = 64
HIDDEN = -1e30
GAPS = 20  # buckets of time gaps: the last begins at a year


def attend(
    q_BxQxHxD: Array, k_BxLxHxD: Array, v_BxLxHxD: Array, bias: Array, mask: Array
) -> tuple[Array, Array]:
    """softmax(q k^T / sqrt(D) + bias + mask) v.

    Args:
        bias: added to the logits, broadcast to [B, H, Q, L].
        mask: 0 where a query may look at a key and HIDDEN elsewhere, broadcast to [B, H, Q, L]; a query without any
            key gets the zero vector.

    Returns:
        The attended values [B, Q, H, D] and the weights [B, H, Q, L]. Source: Vaswani et al. 2017.
    """
    scale, rows = q_BxQxHxD.shape[-1] ** -0.5, q_BxQxHxD.shape[0]
    if jnp.ndim(bias) == 4 and bias.shape[0] == 1 < rows:
        bias = repeat(bias[0], rows)
    logits = (
        jnp.einsum("...qhd,...lhd->...hql", q_BxQxHxD * scale, k_BxLxHxD) + bias + mask
    )
    some = mask.max(-1, keepdims=True) > HIDDEN
    weights = jnp.where(some, jax.nn.softmax(logits, axis=-1), 0.0)
    return jnp.einsum("...hql,...lhd->...qhd", weights, v_BxLxHxD), weights


def split_heads(x: Array, heads: int) -> Array:
    """[..., D] as [..., heads, D / heads]."""
    return x.reshape(*x.shape[:-1], heads, -1)


def attend_backwards(
    q: Array, k: Array, v: Array, bias: Array, mask: Array
) -> tuple[Array, Array]:
    """`attend` where no query looks beyond its own place, the queries [B, Q, H, D] being the last Q of L tokens.

    Blocks of queries meet the keys up to their end alone, which saves nearly half of the work of long histories.
    """
    queries, length = q.shape[-3], k.shape[-3]
    mixed, weights = [], []
    for begin in range(0, queries, QUERY_BLOCK):
        rows = slice(begin, min(begin + QUERY_BLOCK, queries))
        end = length - queries + rows.stop
        near = (
            k[..., :end, :, :],
            v[..., :end, :, :],
            bias[..., rows, :end],
            mask[..., rows, :end],
        )
        part = attend(q[..., rows, :, :], *near)
        mixed.append(part[0])
        weights.append(
            jnp.pad(part[1], [(0, 0)] * (part[1].ndim - 1) + [(0, length - end)])
        )
    return jnp.concatenate(mixed, -3), jnp.concatenate(weights, -2)


def mask_of(allowed: Array) -> Array:
    """What `attend` takes as mask, for bools of any shape."""
    return jnp.where(allowed, 0.0, HIDDEN)


def causal_mask(segment: Array) -> Array:
    """Mask [B, 1, L, L]: position q may look at the tokens l <= q of its own segment (`segment` [B, L], -1: padding)."""
    order = jnp.arange(segment.shape[-1])
    back = order[:, None] >= order[None, :]

    def one(segment: Array) -> Array:
        return mask_of(
            back & (segment[:, None] == segment[None, :]) & (segment >= 0)[None, :]
        )[None]

    return jax.lax.map(
        one, segment
    )  # in a loop it is made once; else XLA makes it again wherever it is used


def distance_bias(by_distance: Array) -> Array:
    """Bias [1, H, L, L] that depends on how far back a key lies: `by_distance` [H, L] at q - l."""
    length = by_distance.shape[-1]
    order = jnp.arange(length)
    return by_distance[:, jnp.clip(order[:, None] - order[None, :], 0, length - 1)][
        None
    ]


def gap_bucket(now: Array, then: Array) -> Array:
    """Bucket floor(log2(1 + minutes)) int32 [B, L, L] of the time from each event `then` [B, L] to each `now` [B, L]."""
    minutes = jnp.maximum(now[:, :, None] - then[:, None, :], 0)
    return jnp.minimum(jnp.log2(1.0 + minutes).astype(jnp.int32), GAPS - 1)


class CausalBlock(nn.Module):
    """x + MHA(LN(x)), then x + FFN(LN(x)): one pre-norm block over tokens, [B, L, D] to [B, L or 1, D].

    Attention is biased by how many events lie between, and by the time `gap` [B, L, L] where there is a clock.
    With `last` only the state of the last token is computed.
    """

    heads: int
    dropout: float
    last: bool = False

    @nn.compact
    def __call__(self, x: Array, mask: Array, gap: Array | None, train: bool) -> Array:
        size, length = x.shape[-1], x.shape[-2]
        bias = distance_bias(
            self.param("distance_bias", nn.initializers.zeros, (self.heads, length))
        )
        if gap is not None:
            by_gap = self.param("gap_bias", nn.initializers.zeros, (GAPS, self.heads))
            bias = bias + jnp.moveaxis(by_gap[gap], -1, 1)
        y, rows = nn.LayerNorm()(x), slice(-1 if self.last else 0, None)
        query, key, value = (
            Dense(size, use_bias=False, name=name) for name in ("query", "key", "value")
        )
        q, k, v = (
            split_heads(x, self.heads)
            for x in (query(y[..., rows, :]), key(y), value(y))
        )
        y, weights = attend_backwards(q, k, v, bias[..., rows, :], mask[..., rows, :])
        self.sow("intermediates", "weights", weights)
        y = Dense(size, use_bias=False, name="out")(y.reshape(*y.shape[:-2], size))
        x = x[..., rows, :] + nn.Dropout(self.dropout, deterministic=not train)(y)
        y = nn.gelu(Dense(2 * size, name="widen")(nn.LayerNorm()(x)))
        y = Dense(size, name="narrow")(
            nn.Dropout(self.dropout, deterministic=not train)(y)
        )
        return x + nn.Dropout(self.dropout, deterministic=not train)(y)


class CausalEncoder(nn.Module):
    """Blocks of self-attention over tokens [B, L, D]; a position knows what `mask` [B, 1, L, L] lets it see.

    Returns the states [B, L, D], or [B, 1, D] with `last`: that of the last token alone.
    """

    layers: int
    heads: int
    dropout: float

    @nn.compact
    def __call__(
        self, x: Array, mask: Array, gap: Array | None, train: bool, last: bool = False
    ) -> Array:
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        for layer in range(self.layers):
            only = last and layer == self.layers - 1
            x = CausalBlock(self.heads, self.dropout, only, name=f"block_{layer}")(
                x, mask, gap, train
            )
        return nn.LayerNorm()(x)
