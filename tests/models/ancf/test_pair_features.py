"""Pair features: counts of what a shopper took of the levels of an item, by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.models.ancf.pair_features import Taken, mean_over_values, value_features


def test_the_features_of_values_by_hand():
    """Two events of value 0, one of value 2, and one whose slot is empty."""
    value = jnp.array([[[0], [2], [0], [-1]]])
    amount = jnp.array([[[1, 0.5], [1, 0.6], [1, 0.8], [0, 0]]])
    share = jnp.array([0.5, 0.3, 0.2])
    features = value_features(Taken(value, amount), share)
    taken, lift, recent = np.moveaxis(features, -1, 0)
    np.testing.assert_allclose(taken[0], np.log([3, 1, 2]), rtol=1e-6)
    expected = np.log([2.5, 1.9, 1.6])  # 3 events by everybody's shares
    np.testing.assert_allclose(lift[0], taken[0] - expected, rtol=1e-5)
    np.testing.assert_allclose(recent[0], np.log([2.3, 1, 1.6]), rtol=1e-6)


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
    items = len(catalogue.popularity)
    levels = {name: np.asarray(ids) for name, ids in catalogue.item_features.items()}
    levels["item"] = np.arange(items)[:, None]
    events = {name: np.asarray(x) for name, x in catalogue.value_events.items()}
    events["item"] = np.asarray(catalogue.popularity)
    found = []
    is_event = np.asarray(request.token) >= 0
    recency = 0.8 ** np.arange(is_event.shape[1])[::-1]
    for name, ids in levels.items():
        share = (1 + events[name]) / (1 + catalogue.total_events)
        total = np.zeros((len(is_event), len(share)))
        recent = np.zeros_like(total)
        for row, place in np.argwhere(is_event):
            for value in ids[request.token[row, place]]:
                if value >= 0:
                    total[row, value] += 1
                    recent[row, value] += recency[place]
        expected = is_event.sum(1)[:, None] * share
        lift = np.log1p(total) - np.log1p(expected)
        features = np.log1p(total), lift, np.log1p(recent)
        found += [mean_of(feature, ids) for feature in features]
    return np.stack(found, -1)


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
    amounts = jnp.stack([amounts, amounts], -1)
    value = jnp.broadcast_to(jnp.array([1, 2])[None, None, :, None], (1, 2, 2, 1))
    share = jnp.full(3, 1 / 3)
    features = value_features(Taken(value, amounts), share)
    np.testing.assert_allclose(
        features[0, :, :, 0], np.log([[1, 2, 1], [1, 2, 2]]), rtol=1e-6
    )
