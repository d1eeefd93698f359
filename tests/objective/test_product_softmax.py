"""The softmax of products, made in chunks, against the plain softmax of all scores at once."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.objective import losses
from ancf_jax.types import SparsePrior

SHAPE = (5, 7)
WIDTH = 3
ITEMS = 11
BOOSTS = 4
CHUNKS = [
    2,
    3,
    7,
    37,
]  # rows at a time: with and without a rest, and more than there are

close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


class Inputs(NamedTuple):
    """What can be differentiated."""

    rows: jax.Array
    items: jax.Array
    base: jax.Array
    boost: jax.Array
    weight: jax.Array


class Choices(NamedTuple):
    """Boosted items, some of them twice in a row and some nobody's (ITEMS), and positives."""

    boosted: jax.Array
    positive: jax.Array


def random_inputs(seed: int, boosts: int = BOOSTS) -> Inputs:
    rng = np.random.default_rng(seed)
    normal = partial(rng.standard_normal, dtype=np.float32)
    return Inputs(
        rows=jnp.asarray(normal((*SHAPE, WIDTH))),
        items=jnp.asarray(normal((ITEMS, WIDTH))),
        base=jnp.asarray(normal(ITEMS)),
        boost=jnp.asarray(normal((*SHAPE, boosts))),
        weight=jnp.asarray(rng.random(SHAPE, np.float32)),
    )


def random_choices(seed: int, boosts: int = BOOSTS) -> Choices:
    rng = np.random.default_rng(seed)
    return Choices(
        boosted=jnp.asarray(rng.integers(0, ITEMS + 1, (*SHAPE, boosts))),
        positive=jnp.asarray(rng.integers(0, ITEMS, SHAPE)),
    )


def chunked(inputs: Inputs, choices: Choices, chunk_rows: int = 3) -> jax.Array:
    prior = SparsePrior(inputs.base, choices.boosted, inputs.boost)
    positive = choices.positive
    total = losses.product_softmax(
        inputs.rows, inputs.items, prior, positive, inputs.weight, chunk_rows=chunk_rows
    )
    return 1.7 * total


def plain(inputs: Inputs, choices: Choices) -> jax.Array:
    chosen = jax.nn.one_hot(choices.boosted, ITEMS)
    boosts = (chosen * inputs.boost[..., None]).sum(-2)
    scores = inputs.rows @ inputs.items.T + inputs.base[None, None] + boosts
    loss = losses.softmax(scores, choices.positive)
    return 1.7 * (loss * inputs.weight).sum()


def all_close(found, expected):
    jax.tree.map(close, found, expected)


@pytest.mark.parametrize("chunk_rows", CHUNKS)
def test_the_value_is_that_of_numpy(chunk_rows):
    inputs = random_inputs(0)
    choices = random_choices(1)
    rows, items, base, boost, weight = map(np.float64, inputs)
    expected = 0.0
    for place in np.ndindex(SHAPE):
        scores = items @ rows[place] + base
        for item, more in zip(choices.boosted[place], boost[place], strict=True):
            if item < ITEMS:
                scores[item] += more
        loss = np.log(np.exp(scores).sum()) - scores[choices.positive[place]]
        expected += 1.7 * weight[place] * loss
    close(chunked(inputs, choices, chunk_rows), expected)


@pytest.mark.parametrize("chunk_rows", CHUNKS)
@pytest.mark.parametrize("boosts", [BOOSTS, 0])
def test_value_and_gradient_are_those_of_the_plain_softmax(chunk_rows, boosts):
    inputs = random_inputs(2, boosts)
    choices = random_choices(3, boosts)
    found = jax.value_and_grad(chunked)(inputs, choices, chunk_rows)
    all_close(found, jax.value_and_grad(plain)(inputs, choices))


@pytest.mark.parametrize("chunk_rows", CHUNKS)
def test_the_change_along_a_direction_is_that_of_the_plain_softmax(chunk_rows):
    inputs = random_inputs(4)
    direction = random_inputs(5)
    choices = random_choices(6)
    along = partial(chunked, choices=choices, chunk_rows=chunk_rows)
    found = jax.jvp(along, (inputs,), (direction,))
    all_close(found, jax.jvp(partial(plain, choices=choices), (inputs,), (direction,)))


def test_integers_have_no_direction():
    inputs = random_inputs(4)
    direction = random_inputs(5)
    choices = random_choices(6)
    nothing = jax.tree.map(lambda x: np.zeros(x.shape, jax.dtypes.float0), choices)
    found = jax.jvp(chunked, (inputs, choices), (direction, nothing))
    all_close(found, jax.jvp(plain, (inputs, choices), (direction, nothing)))


def test_some_inputs_may_be_constant():
    inputs = random_inputs(7)
    choices = random_choices(8)

    def by_rows(function, rows):
        return function(inputs._replace(rows=rows), choices)

    found = jax.grad(partial(by_rows, chunked))(inputs.rows)
    close(found, jax.grad(partial(by_rows, plain))(inputs.rows))


def test_many_problems_at_once_are_each_as_alone():
    problems = [(random_inputs(seed), random_choices(seed + 1)) for seed in (9, 13, 17)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    found = jax.vmap(jax.value_and_grad(chunked))(*stacked)
    for number, problem in enumerate(problems):
        one = jax.tree.map(lambda leaf, number=number: leaf[number], found)
        all_close(one, jax.value_and_grad(plain)(*problem))


def test_directions_of_many_problems_at_once():
    inputs = random_inputs(9)
    choices = random_choices(10)
    directions = [random_inputs(seed) for seed in (13, 17)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *directions)

    def change(function, direction):
        along = partial(function, choices=choices)
        return jax.jvp(along, (inputs,), (direction,))[1]

    found = jax.vmap(partial(change, chunked))(stacked)
    close(found, [change(plain, direction) for direction in directions])


@pytest.mark.parametrize("compiled", [False, True])
def test_the_gradient_may_be_computed_from_scratch(compiled):
    inputs = random_inputs(19)
    choices = random_choices(20)
    found = jax.value_and_grad(jax.checkpoint(chunked))
    if compiled:
        found = jax.jit(found)
    all_close(found(inputs, choices), jax.value_and_grad(plain)(inputs, choices))


def test_the_gradient_changes_along_a_direction_as_that_of_the_plain_softmax():
    inputs = random_inputs(21)
    direction = random_inputs(22)
    choices = random_choices(23)

    def change(function):
        gradient = jax.grad(partial(function, choices=choices))
        return jax.jvp(gradient, (inputs,), (direction,))[1]

    all_close(change(chunked), change(plain))


def test_bfloat16_rows_and_items_lose_nothing_but_their_own_rounding():
    """Products of bfloat16 numbers are exact in float32, and so is a base of many digits."""
    inputs = random_inputs(4)
    choices = random_choices(5)
    short = inputs._replace(
        rows=inputs.rows.astype(jnp.bfloat16),
        items=inputs.items.astype(jnp.bfloat16),
        base=inputs.base * 17 - 13.7654321,
    )
    rounded = short._replace(
        rows=short.rows.astype(jnp.float32), items=short.items.astype(jnp.float32)
    )
    found, by_short = jax.value_and_grad(chunked)(short, choices)
    expected, by_rounded = jax.value_and_grad(plain)(rounded, choices)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert by_short.items.dtype == jnp.bfloat16
    assert by_short.base.dtype == jnp.float32
    in_bfloat16 = partial(np.testing.assert_allclose, rtol=0.02, atol=0.02)
    jax.tree.map(lambda x, y: in_bfloat16(np.float32(x), y), by_short, by_rounded)
