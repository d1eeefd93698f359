"""What turns a pair of user and item into a score: Dense, batch norm, and the MLP tower."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.machine import forms
from ancf_jax.types import AXIS, Array

MOMENTUM = 0.98  # of the running moments of batch normalisation


class Dense(nn.Module):
    """x @ kernel + bias over the last axis, in the type of x; parameters are float32.

    Attributes:
        features: K, the width of the result.
        use_bias: whether there is a bias.
        kernel_init: what the kernel [D, K] is drawn by.
    """

    features: int
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """[..., D] to [..., K]."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = forms.matmul(x, kernel.astype(x.dtype))
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return y + along_last(bias.astype(x.dtype), y.ndim)


def along_last(vector: Array, ndim: int) -> Array:
    """A vector [D] as [1, ..., 1, D] with `ndim` axes."""
    return vector.reshape((1,) * (ndim - 1) + vector.shape)


def weighted_moments(
    x: Array, weight: Array, axis_name: str | None = None
) -> tuple[Array, Array]:
    """Mean and variance of rows that count by their weight.

    mean = sum_n w_n x_n / sum_n w_n, variance = sum_n w_n x_n^2 / sum_n w_n - mean^2

    Rows of weight 0 count for nothing, so padded and unequal shares of a batch give the moments of
    the whole batch. Sums are float32.

    Args:
        x: [..., D].
        weight: [...].
        axis_name: the axis of devices over which the sums are taken, too; None for one device.

    Returns:
        Two arrays [D].
    """
    rows = tuple(range(x.ndim - 1))
    weights = weight[..., None]
    x = x.astype(jnp.float32)
    sums = weight.sum(), (x * weights).sum(rows), (x**2 * weights).sum(rows)
    if axis_name is not None:
        sums = jax.lax.psum(sums, axis_name)
    total_weight, total, total_square = sums
    total_weight = jnp.maximum(total_weight, 1e-9)
    mean = total / total_weight
    return mean, jnp.maximum(total_square / total_weight - mean**2, 0.0)


def standardise(
    x: Array, mean: Array, variance: Array, scale: Array, bias: Array
) -> Array:
    """scale (x - mean) / sqrt(variance + 1e-5) + bias as one affine map of x [..., D]."""
    gain = scale * jax.lax.rsqrt(variance + 1e-5)
    shift = bias - mean * gain
    moved = x * along_last(gain, x.ndim) + along_last(shift, x.ndim)
    return moved.astype(x.dtype)


class BatchNorm(nn.Module):
    """Normalises by the moments of the batch in training, and by running ones after.

    Source: Ioffe and Szegedy 2015.
    """

    @nn.compact
    def __call__(self, x: Array, weight: Array | None, train: bool) -> Array:
        """[..., D] to [..., D].

        Args:
            x: [..., D].
            weight: [...], 0 for rows that are padding; None where all rows count.
            train: whether the moments are those of the batch, which all devices of `AXIS` share.
        """
        shape = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_variance = self.variable("batch_stats", "variance", jnp.ones, shape)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        if not train:
            moments = running_mean.value, running_variance.value
            return standardise(x, *moments, scale, bias)
        counted = jnp.ones(x.shape[:-1]) if weight is None else weight
        mean, variance = weighted_moments(x, counted, AXIS)
        _move(running_mean, mean)
        _move(running_variance, variance)
        return standardise(x, mean, variance, scale, bias)


def _move(running: nn.Variable, moment: Array) -> None:
    """Moves a running moment a little towards that of a batch."""
    latest = jax.lax.stop_gradient(moment)
    running.value = MOMENTUM * running.value + (1 - MOMENTUM) * latest


class Tower(nn.Module):
    """From the first layer before its ReLU, [..., hidden[0]], to [..., hidden[-1]].

    ReLU, (BatchNorm, Dropout), then Dense -> ReLU -> (BatchNorm, Dropout) of falling width.

    Attributes:
        hidden: widths of the layers, the first among them.
        dropout: share of units dropped in training.
        normalise: whether there is batch normalisation.
    """

    hidden: Sequence[int]
    dropout: float = 0.0
    normalise: bool = False

    @nn.compact
    def __call__(
        self, x: Array, weight: Array | None = None, train: bool = False
    ) -> Array:
        """[..., C, hidden[0]] to [..., C, hidden[-1]]; `weight` [..., C] is 0 for padding."""
        for layer, width in enumerate(self.hidden):
            if layer > 0:
                x = Dense(width, name=f"dense_{layer}")(x)
            x = nn.relu(x) if train else forms.relu_at_inference(x)
            if self.normalise:
                x = BatchNorm(name=f"norm_{layer}")(x, weight, train)
            x = self._drop(x, train)
        return x

    def _drop(self, x: Array, train: bool) -> Array:
        """Drops the same units for all candidates, which are compared with each other on them."""
        dropout = nn.Dropout(
            self.dropout, broadcast_dims=(-2,), deterministic=not train
        )
        return dropout(x)
