"""Counting on devices."""

import jax.numpy as jnp

from ancf_jax.machine.forms import formula
from ancf_jax.types import Array


@formula
def count_true(flags: Array) -> Array:
    """How many flags of the last axis are true: bool [..., C] -> int32 [...]."""
    return flags.sum(-1, dtype=jnp.int32)


@count_true.faster_on("cpu")
def _count_by_product(flags: Array) -> Array:
    """By a product with ones, which is faster than XLA's sum; float32 is exact up to 2^24."""
    ones = jnp.ones(flags.shape[-1])
    count = flags.astype(jnp.float32) @ ones
    return count.astype(jnp.int32)
