"""What the tests of modules share: the promise that JAX's transformations work through each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

Function = Callable[..., jax.Array]


def drawn_like(tree: Any) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), tree)


def total_of(tree: Any) -> jax.Array:
    return sum(leaf.sum() for leaf in jax.tree.leaves(tree))


def inner(one: Any, other: Any) -> jax.Array:
    """The dot product of two trees."""
    return total_of(jax.tree.map(jnp.multiply, one, other))


def assert_close(found: Any, expected: Any) -> None:
    for one, other in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def check_derivatives(function: Function, inputs: tuple[Any, ...]) -> None:
    """Forward and reverse mode are adjoint: <J t, a> = <t, J' a>; checkpoints change nothing."""
    tangents = drawn_like(inputs)
    output, pushed = jax.jvp(function, inputs, tangents)
    above = drawn_like(output)
    pulled = jax.vjp(function, *inputs)[1](above)
    assert_close(inner(pushed, above), inner(tangents, pulled))
    assert_close(jax.vjp(jax.checkpoint(function), *inputs)[1](above), pulled)


def check_second_derivatives(function: Function, inputs: tuple[Any, ...]) -> None:
    """Forward over reverse is reverse over reverse."""
    tangents = drawn_like(inputs)

    def total(inputs: Any) -> jax.Array:
        return sum((part**2).sum() for part in jax.tree.leaves(function(*inputs)))

    def slope(inputs: Any) -> jax.Array:
        return inner(jax.grad(total)(inputs), tangents)

    _, forward = jax.jvp(jax.grad(total), (inputs,), (tangents,))
    assert_close(forward, jax.grad(slope)(inputs))


def check_batching(function: Function, inputs: tuple[Any, ...]) -> None:
    """A batch of inputs gives what each gives alone, and so do its derivatives."""
    several = [inputs, drawn_like(inputs)]
    stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *several)

    def gradient(*inputs: Any) -> Any:
        return jax.grad(lambda inputs: total_of(function(*inputs)))(inputs)

    def one_scale(*inputs: Any) -> Any:
        return jax.jvp(function, inputs, inputs)[1]

    for f in (function, gradient, one_scale):
        batched = jax.vmap(f)(*stacked)
        each = [f(*one) for one in several]
        assert_close(batched, jax.tree.map(lambda *parts: jnp.stack(parts), *each))


@pytest.fixture(scope="session")
def assert_transforms() -> Callable[..., None]:
    """assert_transforms(function, *inputs): jvp, grad, checkpoint and vmap agree on it."""

    def check(function: Function, *inputs: Any) -> None:
        arrays = jax.tree.map(jnp.asarray, inputs)
        jitted = jax.jit(function)
        check_derivatives(jitted, arrays)
        check_second_derivatives(jitted, arrays)
        check_batching(jitted, arrays)

    return check
