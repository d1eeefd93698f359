"""What row updates are made of: packed rows, new numbers, and the catalogue by them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.machine.parallel import spread
from ancf_jax.models.registry import build, default_config
from ancf_jax.training.packing import RowUpdates
from ancf_jax.training.rows import local_places
from ancf_jax.training.small_world import EMPTY, renumber, small_world
from ancf_jax.training.step_losses import Examples, World
from ancf_jax.types import Batch, Catalogue, Request, Sizes, TrainState


def test_what_belongs_to_a_user_lies_in_one_row():
    moments = np.arange(13.0)[:, None] + 70
    state = TrainState(
        step=np.int32(0),
        params={"user_table": np.arange(65.0).reshape(13, 5), "bias": np.ones(3)},
        batch_stats={},
        opt_state=({"user_table": moments},),
    )
    updates = RowUpdates({"user_table": "user"})
    packed = updates.pack(state)
    assert packed.params["user_table"].shape == (0, 5)
    assert packed.params["bias"].shape == (3,)
    assert packed.opt_state[0]["user_table"].shape == (0, 1)
    assert packed.rows.keys() == {"user"}
    # Padded to eight.
    assert sorted(packed.rows["user"][11].tolist()) == [0, 0, 55, 56, 57, 58, 59, 81]
    unpacked = updates.unpack(packed, packed.rows)
    jax.tree.map(np.testing.assert_array_equal, unpacked, state)


def test_rows_of_nobody_and_of_other_devices_are_just_beyond_the_table():
    """Three devices hold seven rows each; the second one has 7 to 13."""
    rows = np.array([3, 7, 13, 14, EMPTY], np.int32)
    whole = local_places(rows, 13, divided=False)
    np.testing.assert_array_equal(whole, [3, 7, 13, 13, 13])

    def of_share(_, rows):
        return local_places(rows, 7, divided=True)

    found = spread(of_share, "shard_map", (False, False), True, 3)(0, rows)
    np.testing.assert_array_equal(np.asarray(found)[1], [7, 0, 6, 7, 7])


def on_one_device(function, *arrays):
    """function(*arrays) where the axis of the devices is bound, without the arrays' own."""

    def spread_function(_, arrays):
        return function(*arrays)

    run = spread(spread_function, "shard_map", (False, True), False, 1)
    return jax.tree.map(np.asarray, run(0, tuple(array[None] for array in arrays)))


def test_renumbering_finds_each_id_and_keeps_nobody():
    ids = [np.array([[7, 3, 7], [-1, 9, 3]]), np.array([3, 11, -1, 2**30])]
    rows, places = on_one_device(lambda *ids: renumber(list(ids)), *ids)
    for given, place in zip(ids, places, strict=True):
        known = given >= 0
        np.testing.assert_array_equal(rows[place[known]], given[known])
        np.testing.assert_array_equal(place[~known], -1)
    np.testing.assert_array_equal(rows[rows != EMPTY], [3, 7, 9, 11, 2**30])


def test_the_catalogue_of_a_small_world_says_of_an_item_what_the_whole_one_does():
    """Of followers there are none: models leave them to dense tables."""
    sizes = Sizes(13, 23, 1, (("tag", 23),), ())
    model = build(default_config("mf"), sizes, clock=False)
    whole = Catalogue(
        item_features={"tag": np.arange(23)[:, None]},
        user_features={},
        popularity=np.arange(23) + 0.5,
        total_events=np.ones(()),
        total_repeats=np.ones(()),
        repeat_counts=np.arange(23 * 4).reshape(23, 2, 2) ** 2.0,
        log_unsold=-np.arange(23) / 8.0,
    )
    token = np.array([[5, -1], [11, 5]])
    candidates = np.array([[22, 3], [3, 11]])

    def world_of(token, candidates):
        zeros = jnp.zeros(2, jnp.int32)
        request = Request(zeros, zeros, zeros, zeros, token, token, token)
        batch = Batch(request, zeros, zeros, zeros, zeros)
        examples = Examples(batch, (candidates,), zeros, None, zeros)
        world, _ = small_world(("item",), World(model, whole, examples))
        small = world.examples
        return world.catalogue, small.batch.request.token, small.candidates[0]

    small, *numbered = on_one_device(world_of, token, candidates)
    for given, place in zip((token, candidates), numbered, strict=True):
        known = given >= 0
        for name in ("popularity", "repeat_counts", "log_unsold"):
            expected = getattr(whole, name)[given[known]]
            np.testing.assert_array_equal(getattr(small, name)[place[known]], expected)
        tags = small.item_features["tag"][place[known]]
        np.testing.assert_array_equal(tags, given[known][:, None])
