"""Losses per example, as pure functions of scores; summing and weighing is left to the caller.

`scores` is [..., C] with the positive first; `weight` [..., C - 1] is 0 for negatives that do not count.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ancf_jax.config import ObjectiveConfig
from ancf_jax.types import Array, Prior

SCORES_AT_ONCE, MIN_ROWS = 2**21, 32  # by measurement: what stays in the cache


def bce(scores: Array, weight: Array) -> Array:
    """-log sigmoid(s+) - sum over negatives of log sigmoid(-s-): [...] (He et al. 2017, eq. 7)."""
    return -jax.nn.log_sigmoid(scores[..., 0]) - (
        weight * jax.nn.log_sigmoid(-scores[..., 1:])
    ).sum(-1)


def bpr(scores: Array, weight: Array) -> Array:
    """-mean over negatives of log sigmoid(s+ - s-): [...] (Rendle et al. 2009)."""
    margins = jax.nn.log_sigmoid(scores[..., :1] - scores[..., 1:])
    return -(weight * margins).sum(-1) / jnp.maximum(weight.sum(-1), 1.0)


def sampled_softmax(scores: Array, weight: Array, items: int) -> Array:
    """-s+ + log(exp s+ + (items - 1) / n * sum over n uniform negatives of exp s-): [...].

    The factor makes the sum an unbiased estimate of the full softmax's (Bengio and Senecal 2008).
    """
    count = jnp.maximum(weight.sum(-1, keepdims=True), 1.0)
    shift = jnp.log((items - 1) / count)
    negatives = jnp.where(weight > 0, scores[..., 1:] + shift, -jnp.inf)
    return (
        jax.nn.logsumexp(jnp.concatenate([scores[..., :1], negatives], -1), axis=-1)
        - scores[..., 0]
    )


def gbce(scores: Array, weight: Array, items: int, calibration: float) -> Array:
    """-beta log sigmoid(s+) - sum over negatives of log sigmoid(-s-): [...] (Petrov and Macdonald 2023).

    beta = alpha (t (1 - 1/alpha) + 1/alpha) with alpha = negatives / (items - 1) and t = `calibration`.
    """
    alpha = min(1.0, (scores.shape[-1] - 1) / max(items - 1, 1))
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    return -beta * jax.nn.log_sigmoid(scores[..., 0]) - (
        weight * jax.nn.log_sigmoid(-scores[..., 1:])
    ).sum(-1)


def softmax(scores: Array, positive: Array) -> Array:
    """-s[positive] + logsumexp(s) over scores [..., I] of the whole catalogue: [...]."""
    return (
        jax.nn.logsumexp(scores, axis=-1)
        - jnp.take_along_axis(scores, positive[..., None], axis=-1)[..., 0]
    )


def product_softmax(
    rows: Array, items: Array, prior: Prior, positive: Array, weight: Array
) -> Array:
    """sum over n of weight_n softmax(rows_n @ items.T + prior_n, positive_n): rows [..., D], items [I, D], a scalar.

    Scores are made for some rows at a time, with the gradient in the same pass, and never held for all.
    """
    chunk = min(positive.size, max(MIN_ROWS, SCORES_AT_ONCE // items.shape[0]))
    pad, axes = -positive.size % chunk, positive.ndim

    def chunked(column: Array) -> Array:
        flat = column.reshape(positive.size, *column.shape[axes:])
        padded = jnp.pad(flat, [(0, pad)] + [(0, 0)] * (flat.ndim - 1))
        return padded.reshape((positive.size + pad) // chunk, chunk, *flat.shape[1:])

    rows = jnp.concatenate(
        [rows, jnp.ones((*positive.shape, 1))], -1
    )  # so the items' prior is one more dimension
    items = jnp.concatenate([items, prior.all[:, None]], -1)
    return _chunked_softmax(
        items, *map(chunked, (rows, prior.value, prior.item, positive, weight))
    )


@jax.custom_vjp
def _chunked_softmax(
    items: Array, rows: Array, value: Array, item: Array, positive: Array, weight: Array
) -> Array:
    return _softmax_forward(items, rows, value, item, positive, weight)[0]


def _softmax_forward(items: Array, *columns: Array) -> tuple[Array, Any]:
    def some(carry: Any, chunk: Any) -> tuple[Any, Any]:
        (total, items_gradient), (x, value, item, chosen, w) = carry, chunk
        row = jnp.arange(len(x))[:, None]
        scores = (x @ items.T).at[row, item].add(value, mode="drop")
        top = scores.max(-1, keepdims=True)
        exps = jnp.exp(scores - top)
        partition = exps.sum(-1, keepdims=True)
        loss = (jnp.log(partition) + top)[:, 0] - jnp.take_along_axis(
            scores, chosen[:, None], 1
        )[:, 0]
        share = (
            (exps * (w[:, None] / partition)).at[row, chosen[:, None]].add(-w[:, None])
        )
        gradients = share @ items, share.at[row, item].get(mode="fill", fill_value=0)
        return (total + loss @ w, items_gradient + share.T @ x), gradients

    start = jnp.zeros((), items.dtype), jnp.zeros_like(items)
    (total, of_items), of_rows = jax.lax.scan(some, start, columns)
    return total, (of_items, *of_rows)


_chunked_softmax.defvjp(
    _softmax_forward,
    lambda kept, above: (*jax.tree.map(lambda g: above * g, kept), *[None] * 3),
)


def value_loss(objective: ObjectiveConfig) -> Callable[[Array, Array], Array]:
    """The loss of a score against a known value: squared error, or log loss with the score as logit of the value."""
    return (
        optax.squared_error
        if objective.loss == "mse"
        else optax.sigmoid_binary_cross_entropy
    )


def ranking_loss(
    objective: ObjectiveConfig, items: int
) -> Callable[[Array, Array], Array]:
    """The loss of a positive against drawn negatives."""
    calibrated = partial(gbce, items=items, calibration=objective.gbce_calibration)
    known = {
        "bce": bce,
        "bpr": bpr,
        "sampled_softmax": partial(sampled_softmax, items=items),
        "gbce": calibrated,
    }
    return known[objective.loss]
