"""`mf`, `gmf`, `mlp` and `neumf` against NumPy."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.config import flatten, override
from ancf_jax.models.registry import build, default_config
from ancf_jax.types import Catalogue, Request, Sizes

USERS, ITEMS = 7, 11
SIZES = Sizes(USERS, ITEMS, 1, (), ())
CATALOGUE = Catalogue({}, {}, jnp.zeros(ITEMS))
NETWORK = {
    "network.embedding_size": 3,
    "network.mlp_size": 5,
    "network.hidden": (13, 2),
}
USER = jnp.arange(USERS, dtype=jnp.int32)
ROW = jnp.full((USERS, 1), -1)
REQUEST = Request(USER, 0 * USER, 0 * USER, jnp.zeros(USERS), ROW, ROW, ROW == -1)


def model_of(name: str, **changes):
    config = default_config(name)
    known = flatten(config)
    small = {field: x for field, x in (NETWORK | changes).items() if field in known}
    return build(override(config, small), SIZES, clock=True)


def mf(p, user, item):
    biases = p["user_bias"][user] + p["item_bias"][item] + p["bias"]
    return p["user_table"][user] @ p["item_table"][item] + biases[0]


def gmf(p, user, item):
    return ((p["user_table"][user] * p["item_table"][item])[:3] @ p["gmf_output"])[0]


def mlp(p, user, item):
    pair = np.concatenate([p["user_table"][user][-5:], p["item_table"][item][-5:]])
    kernel = np.concatenate([p["first_user"]["kernel"], p["first_item"]["kernel"]])
    x = np.maximum(pair @ kernel + p["first_user"]["bias"], 0)
    x = np.maximum(
        x @ p["tower"]["dense_1"]["kernel"] + p["tower"]["dense_1"]["bias"], 0
    )
    return (x @ p["mlp_output"]["kernel"])[0]


FORMULAS = {
    "mf": mf,
    "gmf": lambda *pair: gmf(*pair) + pair[0]["bias"][0],
    "mlp": lambda *pair: mlp(*pair) + pair[0]["bias"][0],
    "neumf": lambda *pair: gmf(*pair) + mlp(*pair) + pair[0]["bias"][0],
}


@pytest.mark.parametrize("name", FORMULAS)
def test_scores_by_hand(name, random_variables, compiled_scores):
    model = model_of(name)
    variables = random_variables(model, CATALOGUE)
    found = compiled_scores(model, variables, CATALOGUE, REQUEST, jnp.arange(ITEMS))
    for user, item in np.ndindex(USERS, ITEMS):
        expected = FORMULAS[name](variables["params"], user, item)
        np.testing.assert_allclose(found[user, item], expected, rtol=1e-4, atol=1e-4)


def test_each_part_has_its_own_columns_and_parameters_alone():
    shapes = {
        name: jax.eval_shape(model_of(name).init, jax.random.PRNGKey(0), CATALOGUE)[
            "params"
        ]
        for name in FORMULAS
    }
    assert set(shapes["gmf"]) | set(shapes["mlp"]) == set(shapes["neumf"])
    assert set(shapes["gmf"]) & set(shapes["mlp"]) == {
        "bias",
        "user_table",
        "item_table",
    }
    widths = {
        name: (shapes[name]["user_table"].shape, shapes[name]["item_table"].shape)
        for name in FORMULAS
    }
    assert widths == {
        name: ((USERS, width), (ITEMS, width))
        for name, width in (("mf", 3), ("gmf", 3), ("mlp", 5), ("neumf", 8))
    }


def test_the_papers_initialisation():
    params = jax.jit(model_of("neumf").init)(jax.random.PRNGKey(0), CATALOGUE)["params"]
    for name in ("user_table", "item_table"):
        assert 0.005 < np.std(params[name]) < 0.015
    np.testing.assert_array_equal(params["bias"], [0.0])


@pytest.mark.parametrize("name", ["mf", "neumf"])
def test_many_candidates_score_as_one_by_one(name, random_variables):
    model = model_of(name)
    variables = random_variables(model, CATALOGUE)
    items = np.random.default_rng(2).integers(0, ITEMS, (USERS, 5)).astype(np.int32)
    assert items.size > ITEMS > USERS
    forward = partial(
        model.module.apply, variables, CATALOGUE, REQUEST, method="forward"
    )
    columns = [forward((items[:, [column]],)) for column in range(5)]
    np.testing.assert_allclose(
        forward((items,)), jnp.concatenate(columns, 1), rtol=1e-5, atol=1e-6
    )
