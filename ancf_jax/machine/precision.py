"""In which precision devices compute: said here, and nowhere else.

Parameters, their moments, sums, losses and the scores that are compared are float32 always.
`loop.precision` chooses how training multiplies; ranking and validation multiply in float32, so
that what is first on one device is first on another, but for rounding of float32.

- `float32`: products of float32 numbers, on every device.
- `tf32`: what a device has for products of float32 numbers that is much faster: TF32 on NVIDIA
  (10 bits of mantissa), three bfloat16 products on TPUs. On CPUs the same as `float32`.
- `bfloat16`: the encoder of histories, the MLP tower and the softmax over the catalogue hold and
  multiply bfloat16 numbers (7 bits of mantissa), and sum their products in float32; all else as
  with `tf32`.

Source: JAX, `jax.default_matmul_precision`; NVIDIA, TensorFloat-32.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from ancf_jax.machine.devices import backend
from ancf_jax.types import Precision

P = ParamSpec("P")
R = TypeVar("R")

_PRODUCTS = {
    "float32": "float32",
    "tf32": "tensorfloat32",
    "bfloat16": "tensorfloat32",
}


def compute_dtype(precision: Precision) -> jnp.dtype:
    """The type in which the parts named above hold their numbers."""
    return jnp.dtype(jnp.bfloat16 if precision == "bfloat16" else jnp.float32)


def products_in(precision: Precision, function: Callable[P, R]) -> Callable[P, R]:
    """`function`, to be compiled, with its products of float32 numbers made in a precision."""
    if backend() == "cpu":
        return function  # it has one precision

    @wraps(function)
    def in_precision(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.default_matmul_precision(_PRODUCTS[precision]):
            return function(*args, **kwargs)

    return in_precision
