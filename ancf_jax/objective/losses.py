"""Losses per example, as pure functions of scores; the caller sums and weighs them.

In the losses of a positive against negatives, `scores` is [..., C] with the positive in front, s+,
and the negatives s- behind it; `weight` is [..., C - 1], 0 for negatives that do not count.
"""

from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, logsumexp
from jax.typing import DTypeLike

from ancf_jax.types import Array, SparsePrior

_Pair = tuple[Array, Array]


def bce(scores: Array, weight: Array) -> Array:
    """-log sigmoid(s+) - sum over negatives of log sigmoid(-s-): [...].

    Source: He et al., Neural Collaborative Filtering (2017), eq. 7.
    """
    log_accepted = log_sigmoid(scores[..., 0])
    return -log_accepted - _log_rejected(scores, weight)


def bpr(scores: Array, weight: Array) -> Array:
    """-mean over negatives of log sigmoid(s+ - s-): [...].

    Source: Rendle et al., BPR: Bayesian Personalized Ranking (2009).
    """
    margin = scores[..., :1] - scores[..., 1:]
    log_chance = weight * log_sigmoid(margin)
    count = jnp.maximum(weight.sum(-1), 1.0)
    return -log_chance.sum(-1) / count


def sampled_softmax(scores: Array, weight: Array, items: int) -> Array:
    """-s+ + log(exp s+ + (items - 1) / n * sum over n uniform negatives of exp s-): [...].

    The factor makes the sum an unbiased estimate of the full softmax's.

    Source: Bengio and Senecal, Adaptive Importance Sampling (2008).

    Args:
        scores: [..., C].
        weight: [..., C - 1].
        items: size of the catalogue from which the negatives are drawn.
    """
    count = jnp.maximum(weight.sum(-1, keepdims=True), 1.0)
    log_factor = jnp.log((items - 1) / count)
    negatives = scores[..., 1:] + log_factor
    counted = jnp.where(weight > 0, negatives, -jnp.inf)
    terms = jnp.concatenate([scores[..., :1], counted], -1)
    return logsumexp(terms, axis=-1) - scores[..., 0]


def gbce(scores: Array, weight: Array, items: int, calibration: float) -> Array:
    """-beta log sigmoid(s+) - sum over negatives of log sigmoid(-s-): [...].

    beta = alpha (t (1 - 1 / alpha) + 1 / alpha), with alpha = negatives / (items - 1).

    Source: Petrov and Macdonald, gSASRec (2023).

    Args:
        scores: [..., C].
        weight: [..., C - 1].
        items: size of the catalogue from which the negatives are drawn.
        calibration: t; 0 is plain BCE, 1 removes the bias of sampling.
    """
    negatives = scores.shape[-1] - 1
    alpha = min(1.0, negatives / max(items - 1, 1))
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    log_accepted = log_sigmoid(scores[..., 0])
    return -beta * log_accepted - _log_rejected(scores, weight)


def _log_rejected(scores: Array, weight: Array) -> Array:
    """Sum over negatives of log sigmoid(-s-), the log chance that each is rejected: [...]."""
    log_rejected = log_sigmoid(-scores[..., 1:])
    return (weight * log_rejected).sum(-1)


def softmax(scores: Array, positive: Array) -> Array:
    """-s[positive] + logsumexp(s): [...].

    Args:
        scores: [..., I] of the whole catalogue.
        positive: int32 [...].
    """
    position = positive[..., None]
    of_positive = jnp.take_along_axis(scores, position, axis=-1)
    return logsumexp(scores, axis=-1) - of_positive[..., 0]


def product_softmax(
    rows: Array,
    items: Array,
    prior: SparsePrior,
    positive: Array,
    weight: Array,
    *,
    chunk_rows: int,
) -> Array:
    """Weighted sum of `softmax` where the scores are products of embeddings.

    sum over n of weight_n (logsumexp(s_n) - s_n[positive_n]), s_n = rows_n @ items.T + prior_n

    Scores are made for some rows at a time, with the gradient in the same pass. Can be
    differentiated by all that are not integers. Of bfloat16 rows and items, the products are
    summed in float32, and all else is float32.

    Args:
        rows: [..., D].
        items: [I, D] of the whole catalogue, in the type of the rows.
        prior: what is added to the products; its `item` and `boost` are [..., K].
        positive: int32 [...].
        weight: [...].
        chunk_rows: rows that are scored at a time.
    """
    chunk = min(positive.size, chunk_rows)
    # With ones behind every row, `prior.base` is further columns of the items.
    base = _as_columns(prior.base, items.dtype)
    ones = jnp.ones((*positive.shape, base.shape[1]), rows.dtype)
    extended_items = jnp.concatenate([items, base], -1)
    columns = _Examples(
        rows=jnp.concatenate([rows, ones], -1),
        boost=prior.boost,
        weight=weight,
        boosted=prior.item,
        positive=positive,
    )
    chunks = [_in_chunks(column, positive.ndim, chunk) for column in columns]
    return _chunked_softmax(extended_items, _Examples(*chunks))


def _as_columns(x: Array, dtype: DTypeLike) -> Array:
    """Columns [I, K] of a type whose sum over K is x [I]: as many as its precision needs."""
    rounded = x.astype(dtype)
    columns = [rounded]
    if dtype != x.dtype:
        rest = jax.lax.stop_gradient(x - rounded.astype(x.dtype))
        columns.append(rest.astype(dtype))
        columns.append((rest - columns[-1].astype(x.dtype)).astype(dtype))
    return jnp.stack(columns, -1)


class _Examples(NamedTuple):
    """What `product_softmax` takes of each row; `n` rows, or chunks [S, n] of them.

    Attributes:
        rows: [n, D].
        boost: [n, K] what is added to the scores of the items `boosted`.
        weight: [n]; 0 for what fills the last chunk.
        boosted: int32 [n, K].
        positive: int32 [n].
    """

    rows: Array
    boost: Array
    weight: Array
    boosted: Array
    positive: Array


class _Gradient(NamedTuple):
    """Derivatives of the weighted sum, each shaped as what it is taken by."""

    items: Array
    rows: Array
    boost: Array
    weight: Array


def _in_chunks(column: Array, axes: int, chunk: int) -> Array:
    """[S, chunk, ...] of a column whose leading `axes` count rows; zeros fill the last chunk."""
    rows = prod(column.shape[:axes])
    flat = column.reshape(rows, *column.shape[axes:])
    missing = -rows % chunk
    widths = [(0, missing)] + [(0, 0)] * (flat.ndim - 1)
    padded = jnp.pad(flat, widths)
    return padded.reshape(len(padded) // chunk, chunk, *flat.shape[1:])


@jax.custom_jvp
def _chunked_softmax(items: Array, chunks: _Examples) -> Array:
    """`product_softmax` of chunks [S, n], with a rule of its own for derivatives.

    Differentiated by the general rules, the scan over chunks would keep the scores of all of them.
    """
    return _sum_and_gradient(items, chunks)[0]


@_chunked_softmax.defjvp
def _chunked_softmax_jvp(
    primals: tuple[Array, _Examples], tangents: tuple[Array, _Examples]
) -> _Pair:
    """The sum, and its gradient's inner product with the tangents."""
    total, gradient = _sum_and_gradient(*primals)
    items, chunks = tangents
    # The other two columns are integers, which have no tangents.
    change = (gradient.items * items).sum()
    change += (gradient.rows * chunks.rows).sum()
    change += (gradient.boost * chunks.boost).sum()
    change += (gradient.weight * chunks.weight).sum()
    return total, change


def _sum_and_gradient(items: Array, chunks: _Examples) -> tuple[Array, _Gradient]:
    """The weighted sum of the losses and its gradient, in one pass over the chunks."""

    def add_chunk(sums: _Pair, chunk: _Examples) -> tuple[_Pair, tuple[Array, ...]]:
        total, by_items = sums
        loss, by_score = _loss_and_slope(items, chunk)
        number = jnp.arange(len(chunk.rows))[:, None]
        by_rows = _products("ni,id->nd", by_score, items)
        by_boost = by_score.at[number, chunk.boosted].get(mode="fill", fill_value=0)
        total += loss @ chunk.weight
        by_items += _products("ni,nd->id", by_score, chunk.rows)
        return (total, by_items), (by_rows, by_boost, loss)

    start = jnp.zeros(()), jnp.zeros(items.shape)
    (total, by_items), by_chunk = jax.lax.scan(add_chunk, start, chunks)
    by_rows, by_boost, by_weight = by_chunk
    gradient = _Gradient(by_items, by_rows, by_boost, by_weight)
    return total, gradient


def _products(subscripts: str, x: Array, y: Array) -> jax.Array:
    """Sums of products in float32, of factors in the type of y."""
    return jnp.einsum(
        subscripts, x.astype(y.dtype), y, preferred_element_type=jnp.float32
    )


def _loss_and_slope(items: Array, chunk: _Examples) -> tuple[jax.Array, jax.Array]:
    """Loss [n] of every row, and the derivative [n, I] of their weighted sum by the scores."""
    number = jnp.arange(len(chunk.rows))[:, None]
    positive = chunk.positive[:, None]
    # Not `rows @ items.T`: the scan would be given a transposed copy of the items.
    scores = _products("nd,id->ni", chunk.rows, items)
    scores = scores.at[number, chunk.boosted].add(chunk.boost, mode="drop")
    top = scores.max(-1, keepdims=True)
    exps = jnp.exp(scores - top)
    partition = exps.sum(-1, keepdims=True)
    of_positive = jnp.take_along_axis(scores, positive, 1)
    loss = jnp.log(partition) + top - of_positive
    weight = chunk.weight[:, None]
    by_score = exps * (weight / partition)
    by_score = by_score.at[number, positive].add(-weight)
    return loss[:, 0], by_score
