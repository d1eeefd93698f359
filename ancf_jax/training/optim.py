"""Optax optimisers and schedules from the settings."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ancf_jax.config import OptimConfig


def learning_rate(optim: OptimConfig, steps: int) -> optax.Schedule:
    """Warm-up from 0 over `warmup_share` of the steps, then decay to a hundredth of the peak; or constant."""
    peak = optim.learning_rate
    if optim.schedule == "constant":
        return optax.constant_schedule(peak)
    warmup = int(optim.warmup_share * steps)
    rest = max(1, steps - warmup)
    cosine, linear = optax.cosine_decay_schedule(peak, rest, alpha=0.01), optax.linear_schedule(peak, 0.01 * peak, rest)
    decay = cosine if optim.schedule == "cosine" else linear
    return optax.join_schedules([optax.linear_schedule(0.0, peak, max(1, warmup)), decay], [warmup])


def row_adagrad(rate: optax.Schedule) -> optax.GradientTransformation:
    """g / sqrt(0.1 + sum over steps of mean over the row of g^2): Adagrad with one figure per row of a matrix."""

    def init(params: Any) -> Any:
        return jax.tree.map(lambda p: jnp.full(p.shape[:1] + (1,) * (p.ndim - 1), 0.1, p.dtype), params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        means = jax.tree.map(lambda g: (g**2).mean(tuple(range(1, g.ndim)), keepdims=True), updates)
        sums = jax.tree.map(jnp.add, state, means)
        return jax.tree.map(lambda g, s: g * jax.lax.rsqrt(s), updates, sums), sums

    return optax.chain(optax.GradientTransformation(init, update), optax.scale_by_learning_rate(rate))


def _matrices(params: Any) -> Any:
    """What weight decay applies to: neither biases nor what scales."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def optimizer(optim: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Clip by global norm, then the chosen optimiser over a run of `steps`."""
    rate = learning_rate(optim, steps)
    kinds = {"sgd": optax.sgd, "adam": optax.adam, "adagrad": optax.adagrad, "row_adagrad": row_adagrad}
    parts = [optax.clip_by_global_norm(optim.clip)] if optim.clip else []
    if optim.optimizer == "adamw":
        return optax.chain(*parts, optax.adamw(rate, weight_decay=optim.weight_decay, mask=_matrices))
    if optim.weight_decay:
        parts.append(optax.add_decayed_weights(optim.weight_decay, mask=_matrices))
    return optax.chain(*parts, kinds[optim.optimizer](rate))
