"""What turns a pair of user and item into a score: batch norm that knows padding, and the MLP tower."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.types import Array

AXIS = "data"  # the axis over which a step is spread; statistics are shared along it
MOMENTUM = 0.98


def weighted_moments(
    x: Array, weight: Array, axis_name: str | None = None
) -> tuple[Array, Array]:
    """Mean and variance [D] of x [..., D] over rows of weight [...], over all devices of `axis_name`.

    Rows of weight 0 count for nothing, so padded and unequal shards give the moments of the whole batch.
    """
    axes = tuple(range(x.ndim - 1))
    sums = (
        weight.sum(),
        (x * weight[..., None]).sum(axes),
        (x**2 * weight[..., None]).sum(axes),
    )
    if axis_name is not None:
        sums = jax.lax.psum(sums, axis_name)
    total = jnp.maximum(sums[0], 1e-9)
    mean = sums[1] / total
    return mean, jnp.maximum(sums[2] / total - mean**2, 0.0)


class BatchNorm(nn.Module):
    """scale * (x - mean) / sqrt(variance + 1e-5) + bias; batch moments in training, running ones after.

    At inference it is one affine map. Source: Ioffe and Szegedy 2015.
    """

    @nn.compact
    def __call__(self, x: Array, weight: Array | None, train: bool) -> Array:
        shape = (x.shape[-1],)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        variance = self.variable("batch_stats", "variance", jnp.ones, shape)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        m, v = mean.value, variance.value
        if train:
            m, v = weighted_moments(
                x, jnp.ones(x.shape[:-1]) if weight is None else weight, AXIS
            )
            mean.value = MOMENTUM * mean.value + (1 - MOMENTUM) * jax.lax.stop_gradient(
                m
            )
            variance.value = MOMENTUM * variance.value + (
                1 - MOMENTUM
            ) * jax.lax.stop_gradient(v)
        gain = scale * jax.lax.rsqrt(v + 1e-5)
        shift = bias - m * gain
        expand = (1,) * (x.ndim - 1) + shape
        return x * gain.reshape(expand) + shift.reshape(expand)


@jax.custom_vjp
def product(x: Array, kernel: Array) -> Array:
    """x @ kernel of x [N, D] and a kernel [D, K] whose gradient is made with its narrower side as rows.

    XLA takes up to four times as long on CPUs the other way, and would turn it back but for the barrier.
    """
    return x @ kernel


def _product_back(saved: tuple[Array, Array], above: Array) -> tuple[Array, Array]:
    x, kernel = saved
    as_is = x.shape[1] <= above.shape[1]
    return above @ kernel.T, x.T @ above if as_is else jax.lax.optimization_barrier(
        above.T @ x
    ).T


product.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _product_back)


class Dense(nn.Dense):
    """x @ kernel + bias over the last axis, as one `product` of two matrices whatever the axes before it.

    On CPUs XLA takes twice as long for the same product, forward and back, with more than one axis of rows.
    """

    dot_general: Any = lambda x, kernel, *_, **__: product(x, kernel)

    def __call__(self, inputs: Array) -> Array:
        """[..., D] to [..., features]."""
        return (
            super()
            .__call__(inputs.reshape(-1, inputs.shape[-1]))
            .reshape(*inputs.shape[:-1], self.features)
        )


class Tower(nn.Module):
    """From the sum that is the first layer, [..., hidden[0]], to [..., hidden[-1]].

    ReLU, (BatchNorm, Dropout), then Dense -> ReLU -> (BatchNorm, Dropout) of falling width.
    """

    hidden: Sequence[int]
    dropout: float = 0.0
    normalise: bool = False

    @nn.compact
    def __call__(
        self, first: Array, weight: Array | None = None, train: bool = False
    ) -> Array:
        x = first
        for layer, width in enumerate(self.hidden):
            if layer:
                x = Dense(width, name=f"dense_{layer}")(x)
            # The same for finite x; of the longer way XLA makes vector code on CPUs, for narrow layers, too.
            x = nn.relu(x) if train else (x + jnp.abs(x)) * 0.5
            if self.normalise:
                x = BatchNorm(name=f"norm_{layer}")(x, weight, train)
            # One mask for all candidates of a query: they are compared with each other on the same units.
            x = nn.Dropout(self.dropout, broadcast_dims=(-2,), deterministic=not train)(
                x
            )
        return x
