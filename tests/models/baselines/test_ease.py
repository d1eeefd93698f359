"""EASE against its closed form, and on a planted structure."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.errors import UserError
from ancf_jax.models.baselines import ease
from ancf_jax.models.baselines.ease import Ease
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


def fit(had: np.ndarray, l2: float) -> tuple[Ease, dict]:
    model = Ease(Sizes(*had.shape, 1, (), ()), l2)
    return model, model.fit(log_of(had), Catalogue({}, {}, had.sum(0)), 0)


def scores(
    model: Ease, variables: dict, had: np.ndarray, user: list[int]
) -> np.ndarray:
    """Scores of users for all items."""
    flat, row = jnp.zeros(len(user), jnp.int32), jnp.full((len(user), 1), -1)
    request = Request(
        jnp.asarray(user), flat, flat, flat.astype(jnp.float32), row, row, row == -1
    )
    catalogue = Catalogue({}, {}, jnp.zeros(had.shape[1]))
    users = model.encode_users(
        variables, jax.tree.map(jnp.asarray, log_of(had)), catalogue, request
    )
    return np.asarray(
        model.score(
            variables,
            users,
            model.encode_items(variables, catalogue, np.arange(had.shape[1])),
        )
    )


def reference(had: np.ndarray, l2: float) -> np.ndarray:
    """Steck's B in float64, item by item as the least squares that it solves: no item explains itself."""
    x = had.astype(float)
    weights = np.zeros((x.shape[1], x.shape[1]))
    for item in range(x.shape[1]):
        others = np.delete(np.arange(x.shape[1]), item)
        rest = x[:, others]
        # The multiplier of the zero diagonal drops out: regress the item on all the others.
        weights[others, item] = np.linalg.solve(
            rest.T @ rest + l2 * np.eye(len(others)), rest.T @ x[:, item]
        )
    return weights


@pytest.mark.parametrize("block", [4, 1024])
def test_weights_are_the_regression_of_each_item_on_the_others(block, monkeypatch):
    monkeypatch.setattr(
        ease, "BLOCK", block
    )  # 13 items: several blocks with a short last one, or one
    had = np.random.default_rng(0).random((29, 13)) < 0.3
    model, variables = fit(had, 0.7)
    expected = reference(had, 0.7)
    np.testing.assert_allclose(variables["params"]["weights"], expected, atol=1e-5)
    np.testing.assert_allclose(
        scores(model, variables, had, [5, 28, 0]), had[[5, 28, 0]] @ expected, atol=1e-5
    )


def test_repeated_events_count_once():
    had = np.random.default_rng(1).random((17, 7)) < 0.4
    log = log_of(had)
    repeated = log._replace(
        item=np.repeat(log.item, 3), user=np.repeat(log.user, 3), start=log.start * 3
    )
    model = Ease(Sizes(17, 7, 1, (), ()), 1.0)
    catalogue = Catalogue({}, {}, np.zeros(7))
    once, thrice = model.fit(log, catalogue, 0), model.fit(repeated, catalogue, 0)
    np.testing.assert_array_equal(
        once["params"]["weights"], thrice["params"]["weights"]
    )


def test_checkerboard_has_one_right_answer_per_user():
    users, items = 41, 14
    board = (np.arange(users)[:, None] + np.arange(items)[None, :]) % 2 == 0
    hidden = (
        np.arange(users) + 2 * (np.arange(users) // 3)
    ) % items  # of the user's own colour
    assert board[np.arange(users), hidden].all()
    had = board.copy()
    had[np.arange(users), hidden] = False
    model, variables = fit(had, 5.0)
    found = np.where(had, -np.inf, scores(model, variables, had, list(range(users))))
    np.testing.assert_array_equal(found.argmax(1), hidden)


def test_unknown_users_score_zero():
    had = np.random.default_rng(2).random((5, 7)) < 0.5
    model, variables = fit(had, 1.0)
    assert not scores(model, variables, had, [-1]).any()


def test_a_catalogue_beyond_memory_is_refused_with_its_size():
    model = Ease(Sizes(3, 50_000, 1, (), ()), 1.0)
    with pytest.raises(
        UserError, match=r"50,000 items needs 20 GB .* 40,000 .*--model ials"
    ):
        model.fit(log_of(np.ones((3, 5), bool)), Catalogue({}, {}, np.zeros(5)), 0)


def test_a_penalty_that_leaves_no_solution_is_named():
    with pytest.raises(UserError, match=r"--network\.l2 is -9\.0"):
        fit(np.ones((3, 5), bool), -9.0)
