"""iALS against dense least squares in NumPy, and on a planted structure."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.models.baselines.ials import BLOCK, Ials
from ancf_jax.models.baselines.shared import SLOTS
from ancf_jax.types import Catalogue, EventLog, Request, Sizes


def log_of(had: np.ndarray) -> EventLog:
    """A log in which every user [U] has the items marked in `had` [U, I] once."""
    user, item = np.nonzero(had)
    start = np.concatenate([[0], np.cumsum(had.sum(1))]).astype(np.int32)
    user, item, flat = (
        user.astype(np.int32),
        item.astype(np.int32),
        np.zeros(len(user), np.int32),
    )
    zero = flat.astype(np.float32)
    return EventLog(
        user,
        item,
        flat,
        zero + 1,
        flat,
        zero,
        flat,
        zero,
        start,
        item,
        start,
        np.arange(len(start) - 1),
    )


def users_of(
    model: Ials, variables: dict, had: np.ndarray, user: list[int]
) -> np.ndarray:
    """Factors of users [B], folded in from `had`."""
    flat, row = jnp.zeros(len(user), jnp.int32), jnp.full((len(user), 1), -1)
    request = Request(
        jnp.asarray(user), flat, flat, flat.astype(jnp.float32), row, row, row == -1
    )
    log = jax.tree.map(jnp.asarray, log_of(had))
    return np.asarray(
        jax.jit(model.encode_users)(
            variables, log, Catalogue({}, {}, jnp.zeros(1)), request
        )
    )


def solve_dense(
    had: np.ndarray, table: np.ndarray, l2: float, unobserved: float
) -> np.ndarray:
    """One side by its definition: a weighted ridge regression over all pairs, row by row, in float64."""
    rows = []
    for row in had:
        weight = unobserved + row  # a seen pair is counted by both sums of the loss
        penalty = l2 * (row.sum() + unobserved * len(table))
        matrix = (table * weight[:, None]).T @ table + penalty * np.eye(table.shape[1])
        rows.append(np.linalg.solve(matrix, table.T @ row.astype(float)))
    return np.stack(rows)


def loss(
    had: np.ndarray, users: np.ndarray, items: np.ndarray, l2: float, unobserved: float
) -> float:
    """The objective in the docstring of `Ials`, term by term."""
    score = users @ items.T
    penalty = ((had.sum(1) + unobserved * had.shape[1]) * (users**2).sum(1)).sum()
    penalty += ((had.sum(0) + unobserved * had.shape[0]) * (items**2).sum(1)).sum()
    return (
        (((score - 1) ** 2)[had]).sum() + unobserved * (score**2).sum() + l2 * penalty
    )


@pytest.fixture
def had() -> np.ndarray:
    """Random pairs of 149 users (two blocks) and 71 items; user 0 has nothing, user 1 everything (two rounds)."""
    had = np.random.default_rng(0).random((149, 71)) < 0.3
    had[0], had[1] = False, True
    assert len(had) > BLOCK
    assert had.sum(1).max() > SLOTS
    return had


def test_sweeps_equal_dense_least_squares(had):
    model = Ials(Sizes(149, 71, 1, (), ()), 3, 0.02, 0.3, 2)
    variables = model.fit(log_of(had), Catalogue({}, {}, np.zeros(71)), 7)
    items = np.asarray(
        0.1 / 3**0.5 * jax.random.normal(jax.random.key(7), (71, 3)), float
    )
    for _ in range(2):
        users = solve_dense(had, items, 0.02, 0.3)
        items = solve_dense(had.T, users, 0.02, 0.3)
    np.testing.assert_allclose(variables["params"]["item"], items, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        variables["params"]["gram"], items.T @ items, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("users", [[148, 0, 1, -1, 5], [1], list(range(149))])
def test_users_are_folded_in_from_the_log_at_hand(had, users):
    model = Ials(Sizes(149, 71, 1, (), ()), 3, 0.02, 0.3, 1)
    items = np.random.default_rng(1).normal(size=(71, 3))
    variables = {
        "params": {
            "item": jnp.asarray(items, jnp.float32),
            "gram": jnp.asarray(items.T @ items, jnp.float32),
        }
    }
    found = users_of(model, variables, had, users)
    expected = (
        solve_dense(had, items, 0.02, 0.3)[users] * (np.array(users) >= 0)[:, None]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert not found[
        np.isin(users, [0, -1])
    ].any()  # without events, or unknown: the zero vector


def test_every_sweep_lowers_the_loss(had):
    losses = []
    for sweeps in (1, 2, 5):
        model = Ials(Sizes(149, 71, 1, (), ()), 5, 0.01, 0.1, sweeps)
        variables = model.fit(log_of(had), Catalogue({}, {}, np.zeros(71)), 0)
        items = np.asarray(variables["params"]["item"], float)
        losses.append(loss(had, solve_dense(had, items, 0.01, 0.1), items, 0.01, 0.1))
    assert losses[0] > losses[1] > losses[2]


def test_checkerboard_has_one_right_answer_per_user():
    users, items = 41, 14
    board = (np.arange(users)[:, None] + np.arange(items)[None, :]) % 2 == 0
    hidden = (
        np.arange(users) + 2 * (np.arange(users) // 3)
    ) % items  # of the user's own colour
    assert board[np.arange(users), hidden].all()
    had = board.copy()
    had[np.arange(users), hidden] = False
    model = Ials(Sizes(users, items, 1, (), ()), 2, 0.01, 0.1, 8)
    variables = model.fit(log_of(had), Catalogue({}, {}, np.zeros(items)), 0)
    factors = jnp.asarray(users_of(model, variables, had, list(range(users))))
    items_side = model.encode_items(
        variables, Catalogue({}, {}, np.zeros(items)), np.arange(items)
    )
    found = np.where(
        had, -np.inf, np.asarray(model.score(variables, factors, items_side))
    )
    np.testing.assert_array_equal(found.argmax(1), hidden)


def test_seeds_differ(had):
    model = Ials(Sizes(149, 71, 1, (), ()), 3, 0.02, 0.3, 1)
    one, two = (
        model.fit(log_of(had), Catalogue({}, {}, np.zeros(71)), seed)["params"]["item"]
        for seed in (0, 1)
    )
    assert np.abs(np.asarray(one) - np.asarray(two)).max() > 1e-3
