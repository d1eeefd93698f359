"""What the tests of modules share: the promise that JAX's transformations work through each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

Function = Callable[..., jax.Array]
Pairs = list[tuple[Any, Any]]  # what was found, and what is expected


def drawn_like(tree: Any) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), tree)


def total_of(tree: Any) -> jax.Array:
    return sum(leaf.sum() for leaf in jax.tree.leaves(tree))


def inner(one: Any, other: Any) -> jax.Array:
    """The dot product of two trees."""
    return total_of(jax.tree.map(jnp.multiply, one, other))


def stacked(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def assert_close(found: Any, expected: Any) -> None:
    for one, other in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def derivatives(function: Function, inputs: tuple[Any, ...]) -> Pairs:
    """Forward and reverse mode are adjoint, <J t, a> = <t, J' a>; checkpoints change nothing."""
    tangents = drawn_like(inputs)
    output, pushed = jax.jvp(function, inputs, tangents)
    above = drawn_like(output)
    pulled = jax.vjp(function, *inputs)[1](above)
    remade = jax.vjp(jax.checkpoint(function), *inputs)[1](above)
    return [(inner(pushed, above), inner(tangents, pulled)), (remade, pulled)]


def second_derivatives(function: Function, inputs: tuple[Any, ...]) -> Pairs:
    """Forward over reverse is reverse over reverse."""
    tangents = drawn_like(inputs)

    def total(inputs: Any) -> jax.Array:
        output = function(*inputs)
        return inner(output, output)

    def slope(inputs: Any) -> jax.Array:
        return inner(jax.grad(total)(inputs), tangents)

    _, forward = jax.jvp(jax.grad(total), (inputs,), (tangents,))
    return [(forward, jax.grad(slope)(inputs))]


def batches(function: Function, inputs: tuple[Any, ...]) -> Pairs:
    """A batch of inputs gives what each gives alone, and so do its derivatives."""

    def gradient(*inputs: Any) -> Any:
        return jax.grad(lambda inputs: total_of(function(*inputs)))(inputs)

    def tangent(*inputs: Any) -> Any:
        return jax.jvp(function, inputs, inputs)[1]

    several = [inputs, drawn_like(inputs)]
    pairs = []
    for f in (function, gradient, tangent):
        together = jax.vmap(f)(*stacked(several))
        alone = stacked([f(*each) for each in several])
        pairs.append((together, alone))
    return pairs


@pytest.fixture(scope="session", params=[derivatives, second_derivatives, batches])
def assert_transforms(request: pytest.FixtureRequest) -> Callable[..., None]:
    """assert_transforms(function, *inputs): jvp, grad, checkpoint and vmap agree on it."""

    def check(function: Function, *inputs: Any) -> None:
        arrays = jax.tree.map(jnp.asarray, inputs)
        pairs = jax.jit(lambda inputs: request.param(function, inputs))(arrays)
        for found, expected in pairs:
            assert_close(found, expected)

    return check
