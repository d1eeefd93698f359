from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from ancf_jax import data
from ancf_jax.batching.histories import request_after_log
from ancf_jax.config import CORNER_STORE, Config, override
from ancf_jax.data.corner_store import Truth
from ancf_jax.data.engagement import Scales, engagement_score, fit_scales
from ancf_jax.data.interactions import (
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    Feature,
    Interactions,
)
from ancf_jax.errors import UserError
from ancf_jax.models.registry import default_config
from ancf_jax.types import Heldout

NAN = float("nan")


def random_events(
    events: int = 997, users: int = 13, items: int = 37, seed: int = 0
) -> Interactions:
    """A log with all columns; every user has events, ids are text that other types would spoil."""
    rng = np.random.default_rng(seed)
    user = np.sort(rng.integers(0, users, events)).astype(np.int32)
    time = rng.integers(1_500_000_000, 1_600_000_000, events)
    traces = {
        name: rng.lognormal(2, 2, events).astype(np.float32)
        for name in ("dwell", "hover")
    }
    traces["dwell"][::7] = NAN
    return Interactions(
        user=user,
        item=rng.integers(0, items, events).astype(np.int32),
        time=time[np.lexsort([time, user])],
        clock=True,
        users=np.array([f"00{n}" for n in range(users)]),
        items=np.array(["NA", "é\u2028", ""] + [f"{n}e5" for n in range(items - 3)]),
        names=np.array([f"item {n}" for n in range(items)]),
        kind=rng.integers(0, 3, events).astype(np.int8),
        kinds=("view", "click", "purchase"),
        clicked=rng.integers(0, 2, events).astype(np.float32),
        item_features={
            "department": Feature(
                np.array(["a", "b"]), rng.integers(0, 2, (items, 1)).astype(np.int32)
            ),
            "tag/x": Feature(
                np.array(["p", "q", "r"]),
                rng.integers(-1, 3, (items, 2)).astype(np.int32),
            ),
        },
        user_features={
            "age": Feature(np.array(["old"]), np.zeros((users, 1), np.int32))
        },
        left_out={"bad": 2},
        remarks=("note: made up",),
        digest="f00",
        **traces,
    )


@pytest.fixture
def build(monkeypatch):
    """build(interactions, {"field": value}): the dataset made of these events in place of a file."""

    def make(interactions: Interactions, changes: dict | None = None) -> data.Dataset:
        monkeypatch.setattr(data.readers, "read", lambda config: interactions)
        return data.build(override(Config(data="shop"), changes or {}))

    return make


def test_resolve_fills_the_run_and_keeps_what_was_asked():
    assert (
        data.resolve(Config(data="some where/ml-100k/", model="neumf")).run
        == "runs/ml-100k-neumf"
    )
    assert data.resolve(Config(data="events.csv", run="mine")).run == "mine"
    assert data.resolve(Config(data="events.csv")).split.events == ()


def test_resolve_corner_store():
    store = data.resolve(Config())
    assert (store.split.events, store.run) == (("purchase",), "runs/corner-store-ancf")
    assert data.resolve(default_config("engagement")).split.events == ()
    assert data.resolve(
        override(Config(), {"split.events": ("view",)})
    ).split.events == ("view",)
    assert data.resolve(store) == store


def test_engagement_value_uses_scales_of_training_events_only(build):
    source = random_events()
    made = build(source, {"objective.label": "engagement"})
    train = made.part == TRAIN
    assert made.audit["split"] == "ratio"
    assert made.scales == fit_scales(source.hover[train], source.dwell[train])
    assert made.scales != fit_scales(source.hover, source.dwell)
    expected = engagement_score(source.hover, source.dwell, source.clicked, made.scales)
    np.testing.assert_array_equal(made.value, expected)
    hidden = np.where(train, source.dwell, 1e6).astype(np.float32)
    assert (
        build(
            dataclasses.replace(source, dwell=hidden), {"objective.label": "engagement"}
        ).scales
        == made.scales
    )


def test_engagement_leaves_out_events_without_any_trace(build):
    source = dataclasses.replace(random_events(), hover=None, clicked=None)
    made = build(source, {"objective.label": "engagement"})
    assert made.audit["left_out"] == {"bad": 2, "no_trace": len(source.dwell[::7])}
    assert not np.isnan(made.value).any()
    assert len(made.value) == (~np.isnan(source.dwell)).sum()


def test_engagement_without_traces_names_the_columns(build):
    source = dataclasses.replace(random_events(), hover=None, dwell=None, clicked=None)
    with pytest.raises(
        UserError,
        match=r'"hover_seconds", "dwell_seconds" and "clicked".*--table.dwell',
    ):
        build(source, {"objective.label": "engagement"})


def test_value_is_the_rating_where_there_is_one_else_one(build):
    source = random_events()
    assert (build(source).value == 1).all()
    rating = (np.arange(997) % 5 + 1).astype(np.float32)
    np.testing.assert_array_equal(
        build(dataclasses.replace(source, rating=rating)).value, rating
    )
    rating[3] = NAN
    mixed = dataclasses.replace(source, rating=rating)
    assert build(mixed).value[3] == 1
    only_rated = build(mixed, {"objective.loss": "mse"})
    np.testing.assert_array_equal(only_rated.value, np.delete(rating, 3))
    assert only_rated.audit["left_out"] == {"bad": 2, "no_rating": 1}


@pytest.mark.parametrize("loss", ["mse", "log_loss"])
def test_values_are_not_learned_where_there_are_none(build, loss):
    words = (
        f"--objective.loss {loss} learns the values of ratings, but the data has none"
    )
    with pytest.raises(UserError, match=words):
        build(random_events(), {"objective.loss": loss})
    build(random_events(), {"objective.loss": loss, "objective.label": "engagement"})


def simulated(
    monkeypatch, changes: dict | None = None
) -> tuple[data.Dataset, Truth, Interactions]:
    source = random_events()
    kind = np.where(source.user == 4, 0, source.kind).astype(
        np.int8
    )  # user 4 never buys
    source = dataclasses.replace(source, kind=kind)
    rng = np.random.default_rng(3)
    truth = Truth(*rng.random((2, 13, 37)).astype(np.float32))
    monkeypatch.setattr(data.corner_store, "simulate", lambda seed: (source, truth))
    return data.build(override(Config(data=CORNER_STORE), changes or {})), truth, source


def test_corner_store_learns_from_purchases_and_truth_follows_the_users(monkeypatch):
    made, truth, source = simulated(monkeypatch)
    assert (made.interactions.kind == 2).all()
    assert made.audit["left_out"]["other_kind"] == (source.kind != 2).sum()
    assert len(made.interactions.users) == 12
    assert made.truth is not None
    np.testing.assert_array_equal(made.truth.test, np.delete(truth.test, 4, axis=0))
    np.testing.assert_array_equal(
        made.truth.validation, np.delete(truth.validation, 4, axis=0)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"objective.label": "engagement"},
        {"split.kind": "ratio"},
        {"split.duplicates": "last"},
        {"split.events": ("view",)},
    ],
)
def test_truth_is_silent_where_it_does_not_apply(monkeypatch, changes):
    assert simulated(monkeypatch, changes)[0].truth is None


def _slow_log(made: data.Dataset, parts: tuple[int, ...]) -> list[tuple]:
    """The rows of the event log and the distinct items per user, by plain loops."""
    source, rows, seen = made.interactions, [], {}
    for user in range(len(source.users)):
        dwells, previous, mean = [], -1, 0.0
        for e in range(len(source.user)):
            if source.user[e] == user and made.part[e] in parts:
                dwell = min(
                    1.0, np.log1p(source.dwell[e]) / np.log1p(made.scales.dwell)
                )
                dwell = NAN if np.isnan(source.dwell[e]) else dwell
                dwells += [] if np.isnan(dwell) else [dwell]
                before, mean, kind = (
                    mean,
                    np.mean(dwells) if dwells else 0.0,
                    source.kind[e],
                )
                rows.append(
                    (
                        user,
                        source.item[e],
                        source.time[e] // 60,
                        kind,
                        mean,
                        previous,
                        before,
                    )
                )
                previous = kind
                seen.setdefault(user, set()).add(int(source.item[e]))
    return rows, seen


@pytest.mark.parametrize(
    "parts", [(TRAIN,), (TRAIN, VALIDATION, UNUSED), (VALIDATION,)]
)
def test_event_log_equals_a_slow_reference(build, parts):
    made = build(random_events(events=211), {"split.kind": "time", "split.test": 0.4})
    log = data.event_log(made, parts)
    rows, seen = _slow_log(made, parts)
    columns = (
        log.user,
        log.item,
        log.minute,
        log.kind,
        log.mean_dwell,
        log.prior_kind,
        log.prior_dwell,
    )
    for column, expected in zip(columns, zip(*rows, strict=True), strict=True):
        np.testing.assert_allclose(column, expected, atol=1e-6)
        assert column.dtype in (np.int32, np.float32)
    for user in range(13):
        mine = slice(log.start[user], log.start[user + 1])
        assert (log.user[mine] == user).all()
        items = log.seen_item[log.seen_start[user] : log.seen_start[user + 1]]
        assert items.tolist() == sorted(seen.get(user, ()))
    assert (log.start[0], log.start[-1]) == (0, len(rows))
    assert {log.start.dtype, log.seen_item.dtype, log.seen_start.dtype} == {
        np.dtype(np.int32)
    }


def test_the_query_after_the_log_holds_the_mean_of_the_known_dwells_and_the_last_kind(
    build,
):
    made = build(random_events(events=211), {"split.kind": "time", "split.test": 0.4})
    log = data.event_log(made, (TRAIN,))
    rows, _ = _slow_log(made, (TRAIN,))
    last = {row[0]: row for row in rows}  # dwells of 1 in 7 events are unknown
    users = np.array([0, 5, 12, -1], np.int32)
    query = request_after_log(log, users, np.zeros(4, np.int32), 3)
    np.testing.assert_allclose(
        query.dwell, [last[0][4], last[5][4], last[12][4], 0], rtol=1e-6
    )
    assert query.kind.tolist() == [last[0][3], last[5][3], last[12][3], -1]


def test_event_log_knows_nothing_of_other_parts(build):
    made = build(random_events())
    hidden = made.part != TRAIN
    source = made.interactions
    spoiled = dataclasses.replace(
        source,
        item=np.where(hidden, 0, source.item).astype(np.int32),
        time=np.where(hidden, 0, source.time),
        dwell=np.where(hidden, 9e9, source.dwell).astype(np.float32),
        kind=np.where(hidden, 0, source.kind).astype(np.int8),
    )
    after = data.event_log(
        dataclasses.replace(made, interactions=spoiled, value=made.value + hidden),
        (TRAIN,),
    )
    for before, now in zip(data.event_log(made, (TRAIN,)), after, strict=True):
        np.testing.assert_array_equal(before, now)


def test_event_log_without_clock_or_dwell(build):
    source = dataclasses.replace(
        random_events(),
        clock=False,
        time=np.arange(997),
        dwell=None,
        hover=None,
        clicked=None,
    )
    made = build(source)
    assert made.scales is None
    log = data.event_log(made, (TRAIN, VALIDATION, TEST))
    np.testing.assert_array_equal(log.minute, np.arange(997))
    assert not log.mean_dwell.any()
    assert not log.prior_dwell.any()


def test_known_parts():
    assert data.known_parts(VALIDATION) == (TRAIN,)
    assert data.known_parts(TEST) == (TRAIN, VALIDATION, UNUSED)


def by_hand() -> data.Dataset:
    """User 0 takes items 5 2 5 3 and user 2 item 1 in the test part, user 1 has none there."""
    source = Interactions(
        user=np.array([0, 0, 0, 0, 0, 1, 2, 2], np.int32),
        item=np.array([4, 5, 2, 5, 3, 0, 0, 1], np.int32),
        time=np.array([0, 60, 120, 180, 240, 0, 59, 119], np.int64),
        clock=True,
        users=np.array(["a", "b", "c"]),
        items=np.array(list("uvwxyz")),
        names=np.array(list("uvwxyz")),
        kind=np.zeros(8, np.int8),
    )
    part = np.array([TRAIN, TEST, TEST, TEST, TEST, TRAIN, TRAIN, TEST], np.int8)
    return data.Dataset(source, part, {}, None, np.arange(8, dtype=np.float32))


def test_heldout_by_hand():
    held = data.heldout(by_hand(), TEST)
    expected = Heldout([0, 2], [1, 1], [5, 2, 3, 1], [1, 2, 4, 7], [0, 3, 4])
    for column, wanted in zip(held, expected, strict=True):
        np.testing.assert_array_equal(column, wanted)
        assert column.dtype in (np.int32, np.float32)


def test_heldout_limit_draws_whole_users(build):
    made = build(random_events(), {"split.kind": "time", "split.test": 0.3})
    whole, some = data.heldout(made, TEST), data.heldout(made, TEST, limit=5, seed=1)
    assert len(some.user) == 5
    assert (np.diff(some.user) > 0).all()
    for number, user in enumerate(some.user):
        there = int(np.flatnonzero(whole.user == user)[0])
        mine = slice(whole.start[there], whole.start[there + 1])
        assert whole.minute[there] == some.minute[number]
        np.testing.assert_array_equal(
            whole.item[mine], some.item[some.start[number] : some.start[number + 1]]
        )
    np.testing.assert_array_equal(
        some.user, data.heldout(made, TEST, limit=5, seed=1).user
    )
    assert some.user.tolist() != data.heldout(made, TEST, limit=5, seed=2).user.tolist()
    assert len(data.heldout(made, TEST, limit=99).user) == len(whole.user)


def test_heldout_of_an_empty_part():
    held = data.heldout(by_hand(), VALIDATION)
    assert [len(column) for column in held] == [0, 0, 0, 0, 1]


def test_catalogue_counts_training_events_only():
    made = data.catalogue(by_hand())
    np.testing.assert_array_equal(made.popularity, [2, 0, 0, 0, 1, 0])
    assert made.total_events == 3


def test_catalogue_counts_the_events_of_the_parts_that_are_known():
    dataset = by_hand()
    every_part = tuple(np.unique(dataset.part))
    made = data.catalogue(dataset, every_part)
    expected = np.bincount(dataset.interactions.item, minlength=6)
    np.testing.assert_array_equal(made.popularity, expected)
    assert made.total_events == len(dataset.part)


def test_catalogue_counts_what_was_had_again_in_training():
    """One user has u v v, another u u v and, held out, v: u and v are each had again once."""
    source = Interactions(
        user=np.array([0, 0, 0, 1, 1, 1, 1], np.int32),
        item=np.array([0, 1, 1, 0, 0, 1, 1], np.int32),
        time=np.arange(7, dtype=np.int64),
        clock=False,
        users=np.array(["a", "b"]),
        items=np.array(list("uvw")),
        names=np.array(list("uvw")),
        kind=np.zeros(7, np.int8),
    )
    part = np.array([TRAIN, TRAIN, TRAIN, TRAIN, TRAIN, TRAIN, TEST], np.int8)
    made = data.catalogue(data.Dataset(source, part, {}, None, np.ones(7, np.float32)))
    np.testing.assert_array_equal(made.popularity, [3, 3, 0])
    np.testing.assert_array_equal(made.repeat_counts, [[[3, 1]], [[3, 1]], [[0, 0]]])
    assert made.total_repeats == 2


def test_catalogue_and_sizes(build):
    made = build(random_events())
    shape = data.sizes(made)
    assert shape[:3] == (13, 37, 3)
    assert shape.item_features == (("department", 2), ("tag/x", 3))
    assert shape.user_features == (("age", 1),)
    assert not shape.baskets
    features = data.catalogue(made).item_features
    assert {name: ids.shape for name, ids in features.items()} == {
        "department": (37, 1),
        "tag/x": (37, 2),
    }


def assert_same(one: object, other: object) -> None:
    """Equality of nested dataclasses, dicts and arrays, types of numbers included."""
    assert type(one) is type(other)
    if dataclasses.is_dataclass(one):
        for f in dataclasses.fields(one):
            assert_same(getattr(one, f.name), getattr(other, f.name))
    elif isinstance(one, Truth):
        assert_same(one._asdict(), other._asdict())
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def test_saved_and_loaded_is_the_same(build, tmp_path, monkeypatch):
    store = simulated(monkeypatch)[0]
    assert store.truth is not None
    given = dataclasses.replace(
        random_events(), given_negatives=np.full((13, 5), -1, np.int32)
    )
    for number, made in enumerate(
        [
            build(random_events()),
            build(given, {"objective.label": "engagement"}),
            by_hand(),
            store,
        ]
    ):
        folder = tmp_path / f"run {number}"
        data.save(made, folder)
        assert_same(made, data.load(folder))
        assert [path.name for path in folder.iterdir()] == ["dataset.npz"]
    json.dumps(store.audit)


def test_load_refuses_what_is_missing_or_damaged(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        data.load(tmp_path)
    data.save(by_hand(), tmp_path)
    path = tmp_path / "dataset.npz"
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[:-100], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            data.load(tmp_path)


def test_no_flipped_bit_passes_for_the_data(tmp_path):
    data.save(by_hand(), tmp_path)
    path = tmp_path / "dataset.npz"
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 13):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            assert_same(
                by_hand(), data.load(tmp_path)
            )  # a flipped date or attribute of the archive is harmless
        except UserError:
            refused += 1
    assert refused > len(whole) // 13 // 2


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    data.save(by_hand(), tmp_path)
    before = (tmp_path / "dataset.npz").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="No space left on device"):
        data.save(by_hand(), tmp_path)
    assert (tmp_path / "dataset.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.npz"]


def test_scales_default_where_only_clicks_are_known(build):
    source = dataclasses.replace(random_events(), hover=None, dwell=None)
    made = build(source, {"objective.label": "engagement"})
    assert made.scales == Scales()
    np.testing.assert_array_equal(made.value, source.clicked)


def test_data_that_is_no_path_is_told_how_to_be_passed():
    frame = pd.DataFrame({"user_id": ["a"], "item_id": ["b"]})
    with pytest.raises(
        UserError, match=r"data is a DataFrame, expected the path .*to_parquet"
    ):
        data.build(dataclasses.replace(default_config("mf"), data=frame))
