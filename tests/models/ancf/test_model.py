"""`ancf`: every switch, its formula written out, and what attention may and may not know."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.batching.histories import (
    batch_of_events,
    batch_of_windows,
    request_after_log,
)
from ancf_jax.batching.windows import pack_windows
from ancf_jax.data import TRAIN
from ancf_jax.models.registry import build
from ancf_jax.types import Catalogue

ITEMS = np.arange(23, dtype=np.int32)
LENGTH = 5
DAY = 24 * 60


HISTORIES = ["none", "causal", "candidate", "bag"]


def gradient_of_scores(case):
    """Which parameters the scores depend on, by dotted name."""

    def total(params):
        variables = case.variables | {"params": params}
        users = case.model.encode_users(variables, case.log, case.catalogue, case.now())
        scores = case.model.score(
            variables, users, case.model.encode_items(variables, case.catalogue, ITEMS)
        )
        return (
            scores
            * np.random.default_rng(5).normal(size=scores.shape).astype(np.float32)
        ).sum()

    gradient = jax.jit(jax.grad(total))(case.variables["params"])
    leaves = jax.tree_util.tree_leaves_with_path(gradient)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): float(
            np.abs(leaf).max()
        )
        for path, leaf in leaves
    }


@pytest.mark.parametrize(
    ("history", "followers"), [*((history, 0) for history in HISTORIES), ("causal", 3)]
)
def test_every_parameter_of_the_whole_model_matters(case, history, followers):
    one = case(history=history, followers=followers)
    assert ("followers" in one.variables["params"]["prior"]) == (followers > 0)
    size = gradient_of_scores(one)
    constant = {"key.bias", "encoder.key.bias"}  # moves all logits of a softmax alike
    assert {name for name, largest in size.items() if largest < 1e-5} <= constant
    assert all(np.isfinite(list(size.values())))


@pytest.mark.parametrize(
    ("off", "parts"),
    [("mf_path", ("_mf", "mf_")), ("mlp_path", ("first", "tower", "mlp_output"))],
)
def test_a_path_that_is_off_plays_no_part(case, off, parts):
    size = gradient_of_scores(case(history="none", **{off: False}))
    assert not any(
        largest > 0
        for name, largest in size.items()
        if any(part in name for part in parts)
    )
    assert sum(largest > 1e-5 for largest in size.values()) >= 5


def test_without_the_hierarchy_features_play_no_part(case):
    without, whole = case(history="none", hierarchy=False), case(history="none")
    features = {
        name: np.roll(ids, 1, axis=0)
        for name, ids in whole.catalogue.item_features.items()
    }
    other = whole.catalogue._replace(item_features=features)
    np.testing.assert_array_equal(
        without.scores(without.now()), without.scores(without.now(), catalogue=other)
    )
    assert (
        np.abs(
            whole.scores(whole.now()) - whole.scores(whole.now(), catalogue=other)
        ).max()
        > 0.01
    )


def test_user_features_reach_known_users_alone(case):
    """Users 0 to 4 are "old", as all are in the other catalogue; the others are nothing, and -1 is unknown."""
    one, users = case(history="none"), jnp.array([*range(13), -1], jnp.int32)
    request = request_after_log(
        one.log, users, jnp.full(14, 28_400_000, jnp.int32), one.length
    )
    features = {name: 0 * ids for name, ids in one.catalogue.user_features.items()}
    other = one.scores(
        request, catalogue=one.catalogue._replace(user_features=features)
    )
    moved = np.abs(one.scores(request) - other).max(1) > 1e-3
    assert not moved[[0, 1, 2, 3, 4, 13]].any()
    assert moved.sum() >= 4  # the tower's ReLUs may be shut for some


PERIODS = {
    "hour": (3 * DAY, 60),  # the same hour three days on; another hour
    "weekday": (7 * DAY, DAY),
    "day": (120, DAY),
    "month": (DAY, 40 * DAY),
}


@pytest.mark.parametrize("granularity", PERIODS)
def test_a_granularity_alone_knows_its_own_period(case, granularity):
    one, (same, other) = (
        case(history="none", temporal=(granularity,)),
        PERIODS[granularity],
    )
    moment = 20_000 * DAY + 9 * 60 + 5  # a Thursday in October 2024, five past nine
    found = one.scores(one.now(moment))
    np.testing.assert_allclose(
        one.scores(one.now(moment + same)), found, rtol=1e-5, atol=1e-5
    )
    assert np.abs(one.scores(one.now(moment + other)) - found).max() > 1e-3


@pytest.mark.parametrize("history", HISTORIES)
def test_without_temporal_encoding_time_plays_no_part(case, history):
    one = case(history=history, temporal=())
    np.testing.assert_array_equal(
        one.scores(one.now(28_400_000)), one.scores(one.now(29_123_456))
    )


def test_without_a_clock_there_is_no_temporal_encoding(case):
    one = case(history="none")
    model = build(one.config, data.sizes(one.dataset), clock=False)
    assert model.module.settings.temporal == ()
    assert one.model.module.settings.temporal == one.config.network.temporal


def hierarchy_of(module, catalogue, items):
    """What the hierarchy says of items."""
    return module.hierarchy(
        module.tables.levels, catalogue, items, module.tables.item_mlp[items]
    )


def test_scores_written_out_in_full(case):
    """concat(mf, mlp, hierarchy, temporal) -> Dense -> ReLU -> BatchNorm -> ...: no sum of parts anywhere."""
    one = case(history="none")
    request, p, stats = (
        one.now(),
        one.variables["params"],
        one.variables["batch_stats"]["tower"],
    )
    module = one.model.module
    hierarchy = np.asarray(
        module.apply(one.variables, one.catalogue, ITEMS, method=hierarchy_of)
    )
    moment = np.asarray(module.apply(one.variables, request.minute, method="when"))
    found = one.scores(request)
    first = np.concatenate(
        [
            p["first_mf"],
            *(p[f"first_{n}"]["kernel"] for n in ("mlp", "hierarchy", "temporal")),
        ]
    )
    mlp = np.concatenate(
        [p[f"mlp_{name}"]["kernel"] for name in ("user", "item", "context")]
    )
    assert first.shape == (5 + 3 * 6, 7)
    for row, item in np.ndindex(4, len(ITEMS)):
        user, h, t = int(request.user[row]), hierarchy[item], moment[row]
        segment = (
            int(one.catalogue.user_features["segment"][user, 0]) if user >= 0 else -1
        )
        user_mf = p["user_mf"][user] if user >= 0 else np.zeros(5)
        user_mlp = p["user_mlp"][user] if user >= 0 else np.zeros(6)
        user_mlp = user_mlp + (p["user_segment"][segment] if segment >= 0 else 0)
        mf = (user_mf + t @ p["context_to_mf"]["kernel"]) * (
            p["item_mf"][item] + h @ p["hierarchy_to_mf"]["kernel"]
        )
        dense = np.concatenate([user_mlp, p["item_mlp"][item], t]) @ mlp
        x = np.concatenate([mf, dense, h, t]) @ first + p["first_temporal"]["bias"]
        for layer in range(2):
            if layer:
                x = x @ p["tower"]["dense_1"]["kernel"] + p["tower"]["dense_1"]["bias"]
            norm, s = p["tower"][f"norm_{layer}"], stats[f"norm_{layer}"]
            x = (
                norm["scale"]
                * (np.maximum(x, 0) - s["mean"])
                / np.sqrt(s["variance"] + 1e-5)
                + norm["bias"]
            )
        events = 1 + one.catalogue.popularity[item]
        if events == 1:
            events = np.exp(one.catalogue.log_unsold[item])
        share = events / (1 + (one.dataset.part == TRAIN).sum())
        prior = p["prior"]["popularity"]["power"] * np.log(share) + p["bias"][0]
        outputs = [
            (mf @ p["mf_output"])[0],
            (x @ p["mlp_output"]["kernel"] + p["mlp_output"]["bias"])[0],
        ]
        np.testing.assert_allclose(
            found[row, item], outputs @ p["final"] + prior, rtol=1e-3, atol=1e-3
        )


def test_events_of_the_future_and_of_others_play_no_part(case):
    """For each history: event e is scored alike whatever e itself, later events and other users' are."""
    for history in ("causal", "candidate"):
        one = case(history=history)
        event = (
            int(one.log.start[7]) + 3
        )  # the fourth of user 7: three are known, and that nothing was before
        hidden = (np.arange(len(one.log.item)) < event - 3) | (
            np.arange(len(one.log.item)) >= event
        )
        found = one.scores(
            batch_of_events(one.log, jnp.array([event]), one.length).request
        )
        item = jnp.where(hidden, (one.log.item + 5) % 22, one.log.item)
        late = hidden & (
            np.arange(len(hidden)) != event
        )  # the moment that is scored is known
        minute = jnp.where(late, 1_234_567, one.log.minute)
        for spoiled in (one.log._replace(item=item), one.log._replace(minute=minute)):
            request = batch_of_events(spoiled, jnp.array([event]), one.length).request
            np.testing.assert_allclose(
                one.scores(request), found, rtol=1e-5, atol=1e-5, err_msg=history
            )
        known = one.log._replace(
            item=jnp.where(hidden, one.log.item, (one.log.item + 5) % 22)
        )
        other = one.scores(
            batch_of_events(known, jnp.array([event]), one.length).request
        )
        assert np.abs(other - found).max() > 1e-3  # the past does matter


def uncounted(catalogue: Catalogue) -> Catalogue:
    """The catalogue as if nobody had repeated anything: no counts that a window's own events are to be left out of."""
    return catalogue._replace(repeat_counts=np.zeros_like(catalogue.repeat_counts))


def test_a_window_looks_only_backwards(case):
    one = case(history="causal")
    begin = int(one.log.start[7]) + 3
    request = batch_of_windows(one.log, np.arange(begin, begin + LENGTH)[None]).request
    scores = partial(one.scores, catalogue=uncounted(one.catalogue))
    found = scores(request)[0]
    assert found.shape == (LENGTH, len(ITEMS))
    for position in range(LENGTH - 1):
        later = np.arange(LENGTH) > position
        token = jnp.where(later[None], (request.token + 3) % 22, request.token)
        moved = np.abs(scores(request._replace(token=token))[0] - found).max(-1) > 1e-4
        assert moved.tolist() == later.tolist()


def test_a_packed_row_scores_as_its_events_do_one_by_one(case):
    one = case(history="causal")
    rows = pack_windows(np.asarray(one.log.start), LENGTH)
    batch = batch_of_windows(one.log, rows)
    scores, compared, shared = (
        partial(one.scores, catalogue=uncounted(one.catalogue)),
        0,
        0,
    )
    found = scores(batch.request)
    for row, targets in enumerate(rows):
        segment = np.asarray(batch.request.segment[row])
        first = np.array([np.flatnonzero(segment == s)[0] for s in segment])
        whole = (
            np.asarray(batch.request.token[row])[first] < 0
        )  # the user's past lies within the row
        positions = [t for t in range(LENGTH) if targets[t] >= 0 and whole[t]]
        events = np.array(
            [*targets[positions], *[0] * (LENGTH - len(positions))], np.int32
        )
        alone = scores(batch_of_events(one.log, events, LENGTH).request)
        np.testing.assert_allclose(
            found[row, positions], alone[: len(positions)], rtol=1e-4, atol=1e-4
        )
        compared, shared = (
            compared + len(positions),
            shared + (len(set(segment[segment >= 0])) > 1),
        )
    assert compared > 40
    assert shared > 3


@pytest.mark.parametrize("history", ["causal", "candidate"])
def test_masking_equals_dropping(case, history):
    """What stands in padded slots plays no part, and a shorter history without them scores alike."""
    one = case(history=history)
    event = (
        int(one.log.start[7]) + 1
    )  # one event and "nothing yet" are known: two slots of five
    request = batch_of_events(one.log, jnp.array([event]), LENGTH).request
    assert request.segment.tolist() == [[-1, -1, -1, 0, 0]]
    found = one.scores(request)
    junk = request._replace(
        token=jnp.where(request.segment == 0, request.token, 17),
        token_minute=jnp.where(request.segment == 0, request.token_minute, 5),
    )
    np.testing.assert_allclose(one.scores(junk), found, rtol=1e-5, atol=1e-5)
    short = case(history=history, history_length=2)

    def cut(whole, part):  # biases by distance and by recency have a column per slot
        if whole.shape == part.shape:
            return whole
        return (
            whole[..., -2:]
            if history == "candidate" and whole.ndim == 2
            else whole[..., :2]
        )

    variables = jax.tree.map(cut, one.variables, short.variables)
    dropped = short.scores(
        batch_of_events(one.log, jnp.array([event]), 2).request, variables
    )
    np.testing.assert_allclose(dropped, found, rtol=1e-4, atol=1e-4)


def test_ratings_start_from_the_levels_of_user_and_item(case):
    """With mse a score holds b_u + b_i, an unknown user's b_u being 0; a ranking loss has no such parameters."""
    rated = case(loss="mse", history="none")
    params = rated.variables["params"]
    without = params | {
        f"{of}_bias": np.zeros_like(params[f"{of}_bias"]) for of in ("user", "item")
    }
    user, item = (
        np.asarray(params["user_bias"])[:, 0],
        np.asarray(params["item_bias"])[:, 0],
    )
    expected = np.append(user[[0, 7, 12]], 0)[:, None] + item[None, :]
    found = rated.scores(rated.now()) - rated.scores(
        rated.now(), rated.variables | {"params": without}
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    ranked = case(history="none").variables["params"]
    assert "popularity" in ranked["prior"]
    assert "prior" not in params
    assert "user_bias" not in ranked


def test_user_dropout_hides_in_training_whose_history_it_is(case):
    """Nearly always dropped, a known user's history is encoded as an unknown one's; at inference it is not."""
    one = case(history="causal", dropout=0.0, user_dropout=0.9999)
    module, request, rngs = (
        one.model.module,
        one.now(),
        {"dropout": jax.random.PRNGKey(0)},
    )
    encode = partial(module.apply, one.variables, one.catalogue, method="encode_users")
    nobody = encode(request._replace(user=0 * request.user - 1))
    hidden = encode(request, train=True, rngs=rngs)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), hidden, nobody
    )
    assert np.abs(encode(request).mf[:3] - nobody.mf[:3]).max() > 0.1


@pytest.mark.parametrize(("mf_path", "followers"), [(True, 0), (False, 0), (True, 3)])
def test_training_windows_scores_what_ranking_scores(case, mf_path, followers):
    """The dual output at the chosen positions is the model's score; the MF output is the score without the tower."""
    one = case(history="causal", mf_path=mf_path, followers=followers)
    request = batch_of_windows(
        one.log, pack_windows(np.asarray(one.log.start), LENGTH)[:7]
    ).request
    chosen = np.random.default_rng(0).permuted(
        np.tile(np.arange(LENGTH), (7, 1)), axis=1
    )[:, :2]
    module = one.model.module
    window = jax.jit(
        lambda *inputs: module.apply(
            *inputs, np.ones((7, 2), np.float32), method="forward_window"
        )
    )
    mf, dual = window(one.variables, one.catalogue, request, chosen)
    expected = np.take_along_axis(one.scores(request), chosen[..., None], axis=1)
    np.testing.assert_allclose(dual, expected, rtol=1e-4, atol=1e-4)
    if not mf_path:
        assert mf is None
        return
    params = one.variables["params"]
    mlp_path = ("mlp_output", "pair_features")
    silent = {name: jax.tree.map(np.zeros_like, params[name]) for name in mlp_path}
    silent = params | silent
    rows, items, prior = mf
    boosts = jax.nn.one_hot(prior.item, len(ITEMS)) * prior.boost[..., None]
    scores = (
        rows @ items.T + prior.base[None, None] + boosts.sum(-2) + params["bias"][0]
    )
    np.testing.assert_allclose(
        scores,
        one.scores(request, one.variables | {"params": silent}),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("mf_path", [True, False])
def test_the_dual_output_moves_the_mlp_path_alone(case, mf_path):
    """Without the MF path it moves all that it reads, as nothing else would."""
    one = case(history="causal", mf_path=mf_path)
    rows = pack_windows(np.asarray(one.log.start), LENGTH)[:7]
    request = batch_of_windows(one.log, rows).request
    chosen = np.tile([1, 3], (7, 1))

    def total(params):
        _, dual = one.model.module.apply(
            one.variables | {"params": params},
            one.catalogue,
            request,
            chosen,
            np.ones((7, 2), np.float32),
            method="forward_window",
        )
        signs = np.random.default_rng(2).normal(size=dual.shape)
        return (dual * signs.astype(np.float32)).sum()

    gradient = jax.jit(jax.grad(total))(one.variables["params"])
    largest = {name: largest_of(part) for name, part in gradient.items()}
    own = ("user_mlp", "mlp_item", "first_mlp", "first_pair", "tower", "pair_features")
    assert all(largest[name] > 1e-5 for name in own)
    shared = ("item_mlp", "temporal", "level_query", "level_category")
    assert all((largest[name] == 0) == mf_path for name in shared)
    assert largest["prior"] == 0 if mf_path else largest["prior"] > 0


def largest_of(tree):
    return max(np.abs(leaf).max() for leaf in jax.tree.leaves(tree))
