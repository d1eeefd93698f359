"""Pair features: counts of what a shopper took of the levels of an item, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.models.ancf.pair_features import Taken, mean_over_values, value_features
from ancf_jax.modules.attention import time_bucket


def test_the_features_of_values_by_hand():
    """Two events of value 0, one of value 2, and one whose slot is empty."""
    value = jnp.array([[[0], [2], [0], [-1]]])
    amount = jnp.array([[1.0, 0.5, 2.0, 0.0]])
    share = jnp.array([0.5, 0.3, 0.2])
    taken, lift = np.moveaxis(value_features(Taken(value, amount), share), -1, 0)
    np.testing.assert_allclose(taken[0], np.log([4.0, 1.0, 1.5]), rtol=1e-6)
    expected = np.log([2.75, 2.05, 1.7])  # 3.5 events by everybody's shares
    np.testing.assert_allclose(lift[0], taken[0] - expected, rtol=1e-5)


def test_an_item_of_several_values_has_the_mean_of_theirs():
    features = jnp.arange(10.0).reshape(1, 5, 2)
    value = jnp.array([[1, 4], [3, -1], [-1, -1]])
    expected = [[[5.0, 6.0], [6.0, 7.0], [0.0, 0.0]]]
    np.testing.assert_allclose(mean_over_values(features, value), expected)
    own = mean_over_values(features, value[None])
    np.testing.assert_allclose(own, expected)


@pytest.mark.parametrize("history", ["causal", "candidate"])
def test_the_weighted_features_are_added_to_the_mlp_output(case, history):
    one = case(history=history, layers=1)
    request = one.now()
    params = one.variables["params"]
    width = params["pair_features"]["weight"].shape
    silent = with_weight(one.variables, np.zeros(width, np.float32))
    found = one.scores(request, silent)
    weight = np.arange(1, width[0] + 1, dtype=np.float32)
    moved = one.scores(request, with_weight(one.variables, weight)) - found
    features = features_of(one, request)
    expected = params["final"][1] * (features @ weight)
    np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-3)
    assert np.abs(expected).max() > 1


def with_weight(variables, weight):
    """The variables with another weight of the pair features."""
    params = variables["params"]
    pair_features = params["pair_features"] | {"weight": jnp.asarray(weight)}
    return variables | {"params": params | {"pair_features": pair_features}}


def features_of(one, request):
    """The features of every pair, by a loop over events: [B, I, F]."""
    catalogue = one.catalogue
    params = one.variables["params"]["pair_features"]
    items = len(catalogue.popularity)
    levels = {name: np.asarray(ids) for name, ids in catalogue.item_features.items()}
    levels["item"] = np.arange(items)[:, None]
    events = {name: np.asarray(x) for name, x in catalogue.value_events.items()}
    events["item"] = np.asarray(catalogue.popularity)
    found = []
    for name, ids in levels.items():
        age = np.asarray(params[f"age_{name}"]["by_distance"])
        by_gap = np.asarray(params[f"age_{name}"]["by_gap"])
        assert np.abs(by_gap).max() > 0
        share = (events[name] + 5) / (catalogue.total_events + 5 * len(events[name]))
        weight = np.exp(age[::-1])[None] * np.exp(by_gap[gaps_of(request)])
        amount = np.where(np.asarray(request.token) >= 0, weight, 0.0)
        total = np.zeros((len(amount), len(share)))
        for row, place in np.argwhere(amount > 0):
            for value in ids[request.token[row, place]]:
                if value >= 0:
                    total[row, value] += amount[row, place]
        expected = amount.sum(1)[:, None] * share
        features = np.log1p(total), np.log1p(total) - np.log1p(expected)
        found += [mean_of(feature, ids) for feature in features]
    return np.stack(found, -1)


def gaps_of(request):
    """The buckets of the times from each event to the moment of the request."""
    moment = jnp.asarray(request.minute)[:, None]
    return np.asarray(time_bucket(moment, request.token_minute))[:, 0]


def mean_of(feature, ids):
    """The mean of features [B, V] over the values of each item: [B, I]."""
    columns = []
    for values in ids:
        values = values[values >= 0]
        none = np.zeros(len(feature))
        columns.append(feature[:, values].mean(1) if len(values) else none)
    return np.stack(columns, 1)


def test_what_no_position_knows_of_counts_for_nothing():
    """Two positions: the first knows of one event, the second of both."""
    amounts = jnp.array([[[1.0, 0.0], [1.0, 1.0]]])
    value = jnp.broadcast_to(jnp.array([1, 2])[None, None, :, None], (1, 2, 2, 1))
    share = jnp.full(3, 1 / 3)
    features = value_features(Taken(value, amounts), share)
    np.testing.assert_allclose(
        features[0, :, :, 0], np.log([[1, 2, 1], [1, 2, 2]]), rtol=1e-6
    )
