"""What a run chooses from its data, and what it says of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.config import Config, override
from ancf_jax.data import TEST, TRAIN, Interactions
from ancf_jax.models.registry import default_config
from ancf_jax.training.adapt import adapt


def twenty_events(repeats: int) -> data.Dataset:
    """One user's 20 training events, the last of which repeats the first or not, and 3 tests."""
    item = np.append(np.arange(20), [0, 0, 0]).astype(np.int32)
    item[19] = 0 if repeats else 19
    log = Interactions(
        user=np.zeros(23, np.int32),
        item=item,
        time=np.arange(23),
        clock=False,
        users=np.array(["u"]),
        items=np.arange(20).astype(str),
        names=np.arange(20).astype(str),
        kind=np.zeros(23, np.int8),
    )
    part = np.repeat([TRAIN, TEST], [20, 3]).astype(np.int8)
    return data.Dataset(log, part, {}, None, np.ones(23, np.float32))


@pytest.fixture
def view(new_screen):
    return new_screen()


@pytest.mark.parametrize(
    ("asked", "repeats", "found"),
    [
        (None, 1, True),
        (None, 0, False),
        (False, 1, False),
        (True, 0, True),
    ],
)
def test_items_already_had_are_kept_where_people_buy_again(asked, repeats, found, view):
    """One of 20 training events repeats an earlier one, or none; test events never count."""
    config = adapt(Config(keep_seen=asked), twenty_events(repeats), (), view)
    assert config.keep_seen is found
    assert bool(view.said) == (asked is None)


def test_only_what_is_undecided_is_chosen_and_it_is_said(view):
    """20 events of 20 products of one user: a restrained model, but for what was given."""
    config = override(default_config("ancf"), {"keep_seen": True})
    undecided = ("network.embedding_size", "network.history_length", "optim.clip")
    found = adapt(config, twenty_events(1), undecided, view)
    expected = dataclasses.replace(config.network, embedding_size=16)
    assert found == dataclasses.replace(config, network=expected)
    assert view.said == [
        "chosen from the data, where no flag says otherwise: --network.embedding-size 16"
    ]


@pytest.mark.parametrize("model", ["ancf", "mf", "ease"])
def test_nothing_is_chosen_where_all_is_given(model, view):
    config = override(default_config(model), {"keep_seen": True})
    assert adapt(config, twenty_events(1), (), view) == config
    assert not view.said
