"""`engagement`: its formula, and that no event predicts itself."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.batching.histories import batch_of_events
from ancf_jax.data import TRAIN
from ancf_jax.data.engagement import engagement_score
from ancf_jax.prepared import prepare

EVENTS = 53


@pytest.fixture(scope="module")
def shop(tiny):
    config = tiny("engagement", split__kind="time")
    dataset = data.build(config)
    prepared = prepare(config, dataset, (TRAIN,))
    return dataset, prepared.model, prepared.catalogue


@pytest.fixture(scope="module")
def predict(shop, random_variables):
    """predict(dataset): training scores of the first training events, each from what was known before it."""
    _, model, catalogue = shop
    variables = random_variables(model, catalogue)

    @jax.jit
    def forward(log):
        batch = batch_of_events(log, jnp.arange(EVENTS), model.history_length)
        weight, key = jnp.ones((EVENTS, 1)), jax.random.PRNGKey(0)
        scores, _ = model.train(
            variables,
            key,
            "forward",
            catalogue,
            batch.request,
            (batch.positive[:, None],),
            weight,
        )
        return scores[:, 0], batch.value

    return lambda dataset: [
        np.asarray(column) for column in forward(data.event_log(dataset, (TRAIN,)))
    ]


def changed(dataset: data.Dataset, row: int) -> data.Dataset:
    """The dataset with other traces of one event: what its shopper did there, and so its label."""
    source = dataset.interactions

    def edit(column: np.ndarray, value: float) -> np.ndarray:
        column = column.copy()
        column[row] = value
        return column

    traces = {
        "hover": edit(source.hover, 99.0),
        "dwell": edit(source.dwell, 0.0 if source.dwell[row] > 5 else 400.0),
        "clicked": edit(source.clicked, 1 - source.clicked[row]),
        "kind": edit(source.kind, (source.kind[row] + 1) % 3),
    }
    value = engagement_score(
        traces["hover"], traces["dwell"], traces["clicked"], dataset.scales
    )
    return dataclasses.replace(
        dataset, interactions=dataclasses.replace(source, **traces), value=value
    )


@pytest.mark.parametrize("event", [0, 7, 19, 40])
def test_an_event_does_not_predict_itself(shop, predict, event):
    dataset = shop[0]
    row = np.flatnonzero(dataset.part == TRAIN)[event]
    (before, value), (after, other_value) = (
        predict(dataset),
        predict(changed(dataset, row)),
    )
    assert value[event] != other_value[event]  # the label did change
    assert before[event] == after[event]
    user = dataset.interactions.user[dataset.part == TRAIN][:EVENTS]
    moved = np.flatnonzero(before != after)
    later = np.flatnonzero((user == user[event]) & (np.arange(EVENTS) > event))
    assert set(moved) <= set(later)
    assert later[0] in moved  # what comes next may know it, so the test can fail


def test_score_by_hand(shop, random_variables, compiled_scores):
    dataset, model, catalogue = shop
    variables = random_variables(model, catalogue)
    log = jax.tree.map(jnp.asarray, data.event_log(dataset, (TRAIN,)))
    request = batch_of_events(log, jnp.arange(EVENTS), model.history_length).request
    found = compiled_scores(model, variables, catalogue, request, jnp.arange(23))
    p = variables["params"]
    kernel = np.concatenate([p["first_user"]["kernel"], p["first_product"]["kernel"]])
    for row, item in [(0, 0), (5, 3), (31, 22), (52, 17)]:
        kind = int(request.kind[row])
        interaction = p["interaction_table"][kind] if kind >= 0 else np.zeros(5)
        user = p["user_table"][int(request.user[row])]
        x = np.concatenate(
            [user, interaction, [float(request.dwell[row])], p["product_table"][item]]
        )
        x = np.maximum(x @ kernel + p["first_user"]["bias"], 0)
        x = np.maximum(
            x @ p["tower"]["dense_1"]["kernel"] + p["tower"]["dense_1"]["bias"], 0
        )
        expected = x @ p["output"]["kernel"] + p["output"]["bias"]
        np.testing.assert_allclose(found[row, item], expected[0], rtol=1e-4, atol=1e-5)
    assert kernel.shape == (3 * 5 + 1, 7)  # user, product, interaction and one dwell
