"""Counting on devices: the plain way, and one that suits CPUs better."""

import jax
import jax.numpy as jnp

from ancf_jax.types import Array


def count_true(flags: Array) -> Array:
    """How many flags of the last axis are true: bool [..., C] -> int32 [...]."""
    if jax.default_backend() == "cpu":
        return count_by_product(flags)
    return count_by_sum(flags)


def count_by_sum(flags: Array) -> Array:
    """`count_true` as one writes it."""
    return flags.sum(-1, dtype=jnp.int32)


def count_by_product(flags: Array) -> Array:
    """`count_true` as a product with ones: on CPUs faster than XLA's sum.

    float32 counts exactly up to 2^24.
    """
    ones = jnp.ones(flags.shape[-1])
    return (flags.astype(jnp.float32) @ ones).astype(jnp.int32)
