"""Optax optimisers and schedules from the settings."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ancf_jax.config import OptimConfig
from ancf_jax.machine import forms
from ancf_jax.types import Array

FINAL_SHARE = 0.01  # of the peak learning rate is left at the end of a run


def learning_rate(optim: OptimConfig, steps: int) -> optax.Schedule:
    """The learning rate by step.

    It rises from 0 over `warmup_share` of the steps and then decays to a hundredth of the peak; or
    it is constant.

    Args:
        optim: the settings.
        steps: of the whole run.
    """
    peak = optim.learning_rate
    if optim.schedule == "constant":
        return optax.constant_schedule(peak)
    warmup = int(optim.warmup_share * steps)
    rise = optax.linear_schedule(0.0, peak, max(1, warmup))
    decay_steps = max(1, steps - warmup)
    if optim.schedule == "cosine":
        decay = optax.cosine_decay_schedule(peak, decay_steps, alpha=FINAL_SHARE)
    else:
        decay = optax.linear_schedule(peak, FINAL_SHARE * peak, decay_steps)
    return optax.join_schedules([rise, decay], [warmup])


def row_adagrad() -> optax.GradientTransformation:
    """g / sqrt(0.1 + sum over steps of the mean over the row of g^2).

    Adagrad with one figure per row of a matrix, instead of one per entry.
    """

    def init(params: Any) -> Any:
        def first_sum(param: Any) -> Any:
            shape = (*param.shape[:1], *(1 for _ in param.shape[1:]))
            return jnp.full(shape, 0.1, param.dtype)

        return jax.tree.map(first_sum, params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def next_sum(total: Any, grad: Any) -> Any:
            axes = tuple(range(1, grad.ndim))
            return total + (grad**2).mean(axes, keepdims=True)

        def scaled(grad: Any, total: Any) -> Any:
            return grad * jax.lax.rsqrt(total)

        sums = jax.tree.map(next_sum, state, updates)
        return jax.tree.map(scaled, updates, sums), sums

    return optax.GradientTransformation(init, update)


def adam() -> optax.GradientTransformation:
    """m^ / (sqrt(v^) + 1e-8), the bias-corrected moments m = .9 m + .1 g and v = .999 v + .001 g^2.

    Source: Kingma and Ba 2015.
    """

    def next_mean(gradient: Array, mean: Array) -> Array:
        return 0.9 * mean + 0.1 * gradient

    def next_square(gradient: Array, square: Array) -> Array:
        return 0.999 * square + 0.001 * gradient**2

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        count = optax.safe_increment(state.count)
        mean = jax.tree.map(next_mean, updates, state.mu)
        square = jax.tree.map(next_square, updates, state.nu)
        direction = partial(forms.adam_direction, step=jnp.asarray(count))
        updates = jax.tree.map(direction, mean, square)
        return updates, optax.ScaleByAdamState(count, mean, square)

    return optax.GradientTransformation(optax.scale_by_adam().init, update)


def optimizer(
    optim: OptimConfig,
    steps: int,
    scales: Mapping[str, float] | None = None,
    members: int = 1,
) -> optax.GradientTransformation:
    """Clip by global norm, then the chosen optimiser with its schedule.

    Args:
        optim: the settings.
        steps: of the whole run.
        scales: see `with_step_scales`.
        members: with several, all leaves have them as first axis, and each moves as if alone.
    """
    parts = [*_moving(optim), optax.scale_by_learning_rate(learning_rate(optim, steps))]
    if optim.clip:
        parts.insert(0, optax.clip_by_global_norm(optim.clip))
    moving = with_step_scales(optax.chain(*parts), scales or {})
    return moving if members == 1 else _for_each_member(moving)


def _for_each_member(
    moving: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """`moving` for leaves whose first axis is that of the members, each of which moves alone."""

    def init(params: Any) -> Any:
        return jax.vmap(moving.init)(params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.vmap(moving.update)(updates, state, params)

    return optax.GradientTransformation(init, update)


def _moving(optim: OptimConfig) -> list[optax.GradientTransformation]:
    """The chosen optimiser and weight decay, in their order.

    Weight decay, of matrices alone, is added to the gradient; with adamw to what Adam makes of it.
    """
    makers = {
        "sgd": optax.identity,
        "adagrad": partial(optax.scale_by_rss, 0.1),
        "row_adagrad": row_adagrad,
        "adam": adam,
        "adamw": adam,
    }
    moving = makers[optim.optimizer]()
    if not optim.weight_decay:
        return [moving]
    decay = optax.add_decayed_weights(optim.weight_decay, _is_matrix)
    return [moving, decay] if optim.optimizer == "adamw" else [decay, moving]


def _is_matrix(params: Any) -> Any:
    return jax.tree.map(lambda param: param.ndim > 1, params)


def with_step_scales(
    transform: optax.GradientTransformation, scales: Mapping[str, float]
) -> optax.GradientTransformation:
    """`transform` with steps that are `scale` times longer for some parameters.

    It is the same as to train q = p / scale instead of a parameter p: the gradient by q is that by
    p times scale, and a step of q is one of p times scale. So Adam, whose steps are as long as the
    learning rate whatever the gradient, moves p `scale` times as far.

    Args:
        transform: an optimiser.
        scales: by the dotted path of a parameter, or the beginning of it, such as "prior.repeats".
            One of no parameter does nothing: a model may be built without the part it is for.
    """
    if not scales:
        return transform

    def multiplied(tree: Any) -> Any:
        return jax.tree.map_with_path(
            lambda path, leaf: leaf * _scale_of(path, scales), tree
        )

    def divided(tree: Any) -> Any:
        return jax.tree.map_with_path(
            lambda path, leaf: leaf / _scale_of(path, scales), tree
        )

    def init(params: Any) -> Any:
        return transform.init(divided(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        steps, state = transform.update(multiplied(updates), state, divided(params))
        return multiplied(steps), state

    return optax.GradientTransformation(init, update)


def _scale_of(path: tuple[Any, ...], scales: Mapping[str, float]) -> float:
    """The scale of the parameter at `path`; 1 where `scales` has none."""
    name = jax.tree_util.keystr(path, simple=True, separator=".") + "."
    for prefix, scale in scales.items():
        if name.startswith(f"{prefix}."):
            return scale
    return 1.0
