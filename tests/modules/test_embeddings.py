"""Rows, bags and pairs against plain NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.modules.embeddings import (
    boost_of_items,
    embedding_bag,
    lookup,
    lookup_parts,
    pair_align,
    pair_dot,
    repeat,
    weighted_sum_of_rows,
)

TABLE = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def test_lookup_gives_rows_and_zero_for_nothing():
    found = lookup(jnp.asarray(TABLE), jnp.array([[2, -1], [6, 0]]))
    np.testing.assert_array_equal(
        found, [[TABLE[2], np.zeros(3)], [TABLE[6], TABLE[0]]]
    )


def test_lookup_keeps_whole_numbers_whole():
    found = lookup(jnp.array([[4, 5], [6, 7]], jnp.int32), jnp.array([1, -1]))
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, [[6, 7], [0, 0]])


def test_nothing_has_no_gradient():
    gradient = jax.grad(lambda table: lookup(table, jnp.array([-1, 3, 3])).sum())(
        jnp.asarray(TABLE)
    )
    np.testing.assert_array_equal(gradient.sum(1), [0, 0, 0, 6, 0, 0, 0])


@pytest.mark.parametrize("cuts", [(), (2,), (0,), (1, 2), (3,)])
def test_parts_of_rows_and_their_gradient(cuts):
    rng = np.random.default_rng(5)
    table = rng.normal(size=(7, 3)).astype(np.float32)
    ids = np.array([[2, -1, 2], [6, 0, 2]])
    weight = rng.normal(size=(2, 3, 3)).astype(np.float32)
    rows = np.where(ids[..., None] < 0, 0, table[ids])
    expected = np.zeros_like(table)
    np.add.at(expected, ids[ids >= 0], weight[ids >= 0])

    found, vjp = jax.vjp(
        lambda table: lookup_parts(table, jnp.asarray(ids), cuts), jnp.asarray(table)
    )
    for part, row in zip(found, np.split(rows, cuts, axis=-1), strict=True):
        np.testing.assert_array_equal(part, row)
    (gradient,) = vjp([jnp.asarray(w) for w in np.split(weight, cuts, axis=-1)])
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "pooled"),
    [("sum", TABLE[1] + TABLE[4]), ("mean", (TABLE[1] + TABLE[4]) / 2)],
)
def test_a_bag_pools_what_is_there(pooling, pooled):
    found = embedding_bag(
        jnp.asarray(TABLE), jnp.array([[1, -1, 4], [5, -1, -1], [-1, -1, -1]]), pooling
    )
    np.testing.assert_allclose(found, [pooled, TABLE[5], np.zeros(3)], rtol=1e-6)


@pytest.mark.parametrize("users", [(5, 3), (5, 2, 3)])
@pytest.mark.parametrize("shared", [True, False])
def test_pairs_of_shared_and_own_candidates(users, shared):
    rng = np.random.default_rng(1)
    user = rng.normal(size=users).astype(np.float32)
    items = (11, 3) if shared else (*users[:-1], 11, 3)
    item = rng.normal(size=items).astype(np.float32)
    own = np.broadcast_to(item, (*users[:-1], 11, 3))
    np.testing.assert_allclose(
        pair_dot(user, item), (user[..., None, :] * own).sum(-1), rtol=1e-4, atol=1e-6
    )
    left, right = pair_align(jnp.asarray(user), jnp.asarray(item))
    assert left.ndim == right.ndim  # rank promotion is an error here
    np.testing.assert_allclose(left + right, user[..., None, :] + own, rtol=1e-6)


def test_repeating_has_the_gradient_of_a_sum():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, 3)).astype(np.float32)
    above = rng.normal(size=(7, 5, 3)).astype(np.float32)
    found, back = jax.vjp(lambda x: repeat(x, 7), x)
    np.testing.assert_array_equal(found, np.stack([x] * 7))
    np.testing.assert_allclose(back(above)[0], above.sum(0), rtol=1e-5, atol=1e-6)


def test_shared_candidates_that_come_twice_are_boosted_alike():
    boosted = np.array([[3, 5, 3, 7], [7, 7, 1, 0]])
    boost = np.random.default_rng(4).normal(size=(2, 4)).astype(np.float32)
    items = np.array([3, 1, 3, 6])
    twice = boost[0, 0] + boost[0, 2]
    expected = [[twice, 0, twice, 0], [0, boost[1, 2], 0, 0]]
    own = np.stack([items] * 2)
    for candidates in (items, own):
        found = boost_of_items(boosted, boost, candidates, 7)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("lead", [(2,), (2, 5)])
def test_boosts_of_a_slice_of_the_catalogue(lead):
    rng = np.random.default_rng(6)
    boosted = rng.integers(0, 12, (*lead, 3))  # 11 stands for none
    boost = rng.normal(size=(*lead, 3)).astype(np.float32)
    items = np.arange(4, 9)
    expected = np.zeros((*lead, 12), np.float32)
    for place in np.ndindex(*lead):
        np.add.at(expected[place], boosted[place], boost[place])
    found = boost_of_items(boosted, boost, items, 11)
    np.testing.assert_allclose(found, expected[..., 4:9], rtol=1e-6)


IDS = jnp.array([[1, -1, 4], [5, 5, 2], [-1, -1, -1]])
ITEMS = np.random.default_rng(7).normal(size=(5, 3)).astype(np.float32)
USERS = np.random.default_rng(8).normal(size=(2, 7, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (lambda table: lookup(table, IDS), [TABLE]),
        (lambda table: lookup_parts(table, IDS, (1,)), [TABLE]),
        (lambda table: embedding_bag(table, IDS, "mean"), [TABLE]),
        (lambda table: embedding_bag(table, IDS, "sum"), [TABLE]),
        (pair_dot, [USERS, ITEMS]),
        (lambda users, items: sum(pair_align(users, items)), [USERS, ITEMS]),
        (lambda x: repeat(x, 7), [ITEMS]),
        (lambda boost: boost_of_items(IDS % 7, boost, jnp.arange(6), 6), [TABLE[:3]]),
    ],
    ids=["lookup", "parts", "mean", "sum", "dot", "align", "repeat", "boost"],
)
def test_embeddings_can_be_transformed(assert_transforms, function, inputs):
    assert_transforms(function, *inputs)


@pytest.mark.parametrize("rows", [7, 101])
def test_weighted_sums_of_the_rows_of_short_and_long_tables(rows):
    """With three ids a table of 7 rows is a short one, and one of 101 is not."""
    rng = np.random.default_rng(3)
    table = rng.normal(size=(rows, 5)).astype(np.float32)
    ids = np.array([[6, -1, 2], [3, 3, 0], [-1, -1, -1]])
    weight = rng.normal(size=(3, 3)).astype(np.float32)
    total, vjp = jax.vjp(
        lambda table: weighted_sum_of_rows(table, jnp.asarray(ids), weight),
        jnp.asarray(table),
    )
    counts = np.zeros((3, rows), np.float32)
    for row, column in zip(*np.nonzero(ids >= 0), strict=True):
        counts[row, ids[row, column]] += weight[row, column]
    np.testing.assert_allclose(total, counts @ table, rtol=1e-5, atol=1e-6)
    cotangent = rng.normal(size=(3, 5)).astype(np.float32)
    (gradient,) = vjp(jnp.asarray(cotangent))
    np.testing.assert_allclose(gradient, counts.T @ cotangent, rtol=1e-5, atol=1e-6)
