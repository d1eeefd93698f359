"""`linear`: its formula, and the reason why it is the floor."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.models.linear import Linear
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.types import Catalogue, Request, Sizes

USERS, ITEMS, SIZE = 7, 11, 3
MODEL = NeuralModel(Linear(Sizes(USERS, ITEMS, 1, (), ()), SIZE), link="identity")
CATALOGUE = Catalogue({}, {}, jnp.zeros(ITEMS))


def request(users: list[int]) -> Request:
    user = jnp.array(users, jnp.int32)
    row = jnp.full((len(users), 1), -1)
    return Request(user, 0 * user, 0 * user, jnp.zeros(len(users)), row, row, row == -1)


def test_score_is_a_linear_layer_over_both_embeddings(
    random_variables, compiled_scores
):
    variables = random_variables(MODEL, CATALOGUE)
    found = compiled_scores(
        MODEL, variables, CATALOGUE, request(list(range(USERS))), jnp.arange(ITEMS)
    )
    p = variables["params"]
    assert {name: leaf.shape for name, leaf in p.items()} == {
        "user_table": (USERS, SIZE),
        "item_table": (ITEMS, SIZE),
        "weights": (2 * SIZE, 1),
        "bias": (1,),
    }
    for user, item in np.ndindex(USERS, ITEMS):
        pair = np.concatenate([p["user_table"][user], p["item_table"][item]])
        np.testing.assert_allclose(
            found[user, item],
            (pair @ p["weights"] + p["bias"])[0],
            rtol=1e-4,
            atol=1e-5,
        )


def test_everybody_gets_the_same_ranking(random_variables, compiled_scores):
    variables = random_variables(MODEL, CATALOGUE)
    users = [*range(USERS), -1]
    found = np.asarray(
        compiled_scores(MODEL, variables, CATALOGUE, request(users), jnp.arange(ITEMS))
    )
    order = np.argsort(-found, axis=1)
    np.testing.assert_array_equal(order, np.tile(order[0], (len(users), 1)))
    assert np.ptp(found[:, 0]) > 0.1  # users differ in level
    assert np.ptp(found[0]) > 0.1


def test_everything_is_drawn_with_variance_one_over_the_width():
    size = 16
    model = NeuralModel(Linear(Sizes(1009, 1013, 1, (), ()), size))
    params = jax.jit(model.init)(jax.random.PRNGKey(0), CATALOGUE)["params"]
    for name in ("user_table", "item_table"):
        np.testing.assert_allclose(np.std(params[name]), size**-0.5, rtol=0.03)
        np.testing.assert_allclose(np.mean(params[name]), 0, atol=0.01)
    assert 0.1 < np.std(params["weights"]) < 0.4
    np.testing.assert_array_equal(params["bias"], [0.0])
