"""Rows 15, 16 and 18 to 23: events that come twice, in any order, at any time, with odd ids."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ancf_jax import data
from ancf_jax.batching.histories import request_after_log
from ancf_jax.config import Config, SplitConfig
from ancf_jax.data import TEST, TRAIN, VALIDATION, audits
from ancf_jax.models.registry import default_config
from ancf_jax.recommender import load_recommender
from ancf_jax.runs import load
from ancf_jax.training.fit import fit


@pytest.mark.parametrize("kind", ["leave_one_out", "next_basket", "ratio", "time"])
def test_row_15_rows_that_come_twice_are_counted_and_never_in_two_parts(
    shop, plain_rows, kind
):
    path = shop([row for row in plain_rows for _ in range(2)])
    found = data.build(Config(data=str(path), split=SplitConfig(kind=kind)))
    log = found.interactions
    columns = {"user": log.user, "item": log.item, "time": log.time, "part": found.part}
    parts = pd.DataFrame(columns).groupby(["user", "item", "time"])["part"]
    assert (parts.size() == 2).all()
    assert (parts.nunique() == 1).all()
    assert f"exact duplicates: {len(plain_rows)}" in audits.describe(found.audit)


def test_row_15_rows_that_come_twice_are_dropped_if_asked(shop, plain_rows):
    path = shop([row for row in plain_rows for _ in range(2)])
    once = data.build(
        Config(data=str(shop(plain_rows)), split=SplitConfig(duplicates="first"))
    )
    path = shop([row for row in plain_rows for _ in range(2)])
    twice = data.build(Config(data=str(path), split=SplitConfig(duplicates="first")))
    np.testing.assert_array_equal(twice.interactions.item, once.interactions.item)
    np.testing.assert_array_equal(twice.part, once.part)
    again = once.audit["left_out"].get("duplicate", 0)
    assert twice.audit["left_out"]["duplicate"] == len(plain_rows) + again


def test_row_16_repeat_purchases_are_events_and_recommending_them_is_a_setting(
    shop, tmp_path, leave
):
    """Everybody buys tea every day, and one of 11 other products."""
    rows = []
    for user, day in itertools.product(range(7), range(5)):
        time = 1_700_000_000 + 86_400 * day
        rows += [f"u{user},tea,{time}", f"u{user},i{(3 * user + day) % 11},{time + 60}"]
    run = tmp_path / "run"
    flags = ["--data", shop(rows), "--model", "popularity", "--run", run]
    code, _, err = leave("train", *flags)
    assert code == 0, err
    assert "repeat an earlier one, so items already had are kept in the ranking" in err
    recommender = load_recommender(run)
    assert len(recommender.dataset.interactions.user) == len(rows)
    assert recommender.recommend(["u3"], 1)["item_id"].tolist() == ["tea"]
    new = recommender.recommend(["u3"], 12, keep_seen=False)["item_id"]
    assert sorted(new) == sorted(
        {f"i{n}" for n in range(11)} - {f"i{(9 + d) % 11}" for d in range(5)}
    )


def test_row_18_a_user_without_history_has_finite_scores(planted_shop, tmp_path, tiny):
    """All events of `late` are the test; a model that reads histories knows none of them."""
    rows = (planted_shop / "interactions.csv").read_text()
    late = [
        f"late,p{item:02d},1800000000,5,1,1,1,view"
        for item in (1, 5, 7, 11, 13, 17, 19)
    ]
    path = tmp_path / "events.csv"
    path.write_text(rows + "\n".join(late) + "\n")
    size = {
        "epochs": 1,
        "split__validation": 0,
        "table__user_features": (),
        "network__temporal": (),
        "network__hierarchy": False,
    }
    config = tiny("ancf", **size, split__kind="time", run=str(tmp_path / "run"))
    fit(dataclasses.replace(config, data=str(path)))
    run = load(config.run, data.known_parts(TEST))
    users = run.dataset.interactions.users.tolist()
    user = np.array([users.index("late"), users.index("u03")], np.int32)
    assert not (np.asarray(run.prepared.log.user) == user[0]).any()
    minute = np.full(2, 30_000_000, np.int32)
    for items, scores in run.ranker.top_n(user, minute, 5, True):
        assert (items >= 0).all()
        assert np.isfinite(scores).all()


def test_row_19_of_a_long_history_the_last_events_count(shop):
    """100,000 events in random order: the history of a request holds the last 5 of them."""
    order = np.random.default_rng(0).permutation(100_000)
    rows = [f"long,i{event % 97},{1_500_000_000 + 60 * event}" for event in order]
    rows += [f"short,i{event},{1_500_000_000 + event}" for event in range(3)]
    found = data.build(
        Config(data=str(shop(rows)), split=SplitConfig(kind="leave_one_out"))
    )
    log = data.event_log(found, (TRAIN, VALIDATION, TEST))
    row = found.interactions.users.tolist().index("long")
    request = request_after_log(log, np.array([row]), np.array([40_000_000]), 5)
    items = found.interactions.items[np.asarray(request.token)]
    assert items.tolist() == [[f"i{event % 97}" for event in range(99_995, 100_000)]]


BROKEN_RATINGS = ["nan", "inf", "-inf", "-1", "1e300", "3e38", "good"]


@pytest.mark.parametrize("rating", BROKEN_RATINGS)
def test_row_20_a_rating_that_is_none_is_refused_with_its_line(
    shop, leave, tmp_path, rating
):
    path = shop(["a,x,4", f"b,y,{rating}", "c,z,5"], "user_id,item_id,rating")
    code, _, err = leave("train", "--data", path, "--run", tmp_path / "run")
    assert code == 2
    assert (
        f"events.csv, line 3, column \"rating\": found '{rating}', expected a number"
        in err
    )
    assert "--table.drop-broken" in err
    assert not (tmp_path / "run").exists()


def test_row_20_broken_ratings_are_dropped_and_counted_if_asked(
    shop, plain_rows, leave, tmp_path
):
    rows = [f"{row},{n % 5}" for n, row in enumerate(plain_rows)]
    rows += [f"u00,p00,1700000000,{rating}" for rating in BROKEN_RATINGS]
    path = shop(rows, "user_id,item_id,timestamp,rating")
    flags = ["--data", path, "--model", "popularity", "--run", tmp_path / "run"]
    code, _, err = leave("train", *flags, "--table.drop-broken")
    assert code == 0, err
    assert "left out: broken rows (events.csv: rating) 7;" in err
    assert f"13 users, 23 items, {len(plain_rows)} events" in err


ODD_IDS = (
    "007", "7", "NA", "True", "1e5", "100000", "9223372036854775808", "née", " a ", "null",
    "1.0", "1", "🥛", "-0", "None", "''", "=1+1", "a|b",
)  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_row_21_ids_come_out_as_they_went_in(shop, tmp_path, leave, ending):
    """Whole numbers in the table of items are the same ids as text in that of events."""
    rows = [
        f"{user},{item},{1_700_000_000 + 86_400 * day}"
        for user in ODD_IDS
        for day, item in enumerate(ODD_IDS)
    ]
    path = shop(rows)
    numbers = {
        "item_id": pa.array([7, 1, 100000]),
        "name": pa.array(["seven", "one", "many"]),
    }
    pq.write_table(pa.table(numbers), tmp_path / "items.parquet")
    run = tmp_path / "run"
    model = ["--model", "popularity", "--keep-seen"]
    code, _, err = leave("train", "--data", path, "--run", run, *model)
    assert code == 0, err
    out = tmp_path / f"lists.{ending}"
    code, _, err = leave(
        "recommend", "--run", run, "--top-n", len(ODD_IDS), "--out", out
    )
    assert code == 0, err
    read = {
        "csv": lambda: pd.read_csv(out, dtype=str, keep_default_na=False),
        "parquet": lambda: pd.read_parquet(out),
        "jsonl": lambda: pd.DataFrame(
            map(json.loads, out.read_text("utf-8").splitlines())
        ),
    }
    found = read[ending]()
    assert found["user_id"].drop_duplicates().tolist() == [*ODD_IDS]
    for _, items in found.groupby("user_id")["item_id"]:
        assert sorted(items) == sorted(ODD_IDS)
    names = dict(zip(found["item_id"], found["name"], strict=True))
    expected = {item: item for item in ODD_IDS} | {
        "7": "seven",
        "1": "one",
        "100000": "many",
    }
    assert names == expected


def test_row_22_shuffled_rows_give_the_same_lists(shop, plain_rows, tmp_path):
    found = []
    for name, rows in (
        ("one", plain_rows),
        ("other", np.random.default_rng(5).permutation(plain_rows).tolist()),
    ):
        path = shop(rows)
        config = dataclasses.replace(
            default_config("ease"),
            data=str(path),
            run=str(tmp_path / name),
            keep_seen=True,
            split=SplitConfig(kind="leave_one_out"),
        )
        fit(config)
        lists = load_recommender(config.run).recommend(
            sorted({row[:3] for row in rows}), 3
        )
        found.append(lists)
    one, other = found
    assert one["item_id"].tolist() == other["item_id"].tolist()
    np.testing.assert_allclose(one["score"], other["score"], rtol=1e-4)


def test_row_22_events_of_one_moment_keep_the_order_of_the_file(shop):
    rows = [f"a,{item},1700000000" for item in "cabd"] + ["a,z,1600000000"]
    found = data.build(Config(data=str(shop([*rows, "b,c,1700000000"]))))
    log = found.interactions
    assert log.items[log.item[log.user == 0]].tolist() == ["z", "c", "a", "b", "d"]


def in_dress(seconds: int, dress: str) -> str:
    moment = pd.Timestamp(seconds, unit="s", tz="UTC")
    dresses = {
        "seconds": str(seconds),
        "milliseconds": str(1000 * seconds),
        "naive": moment.strftime("%Y-%m-%d %H:%M:%S"),
        "zoned": moment.tz_convert("Asia/Kolkata").isoformat(),
        "utc": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return dresses[dress]


@pytest.mark.parametrize("dress", ["milliseconds", "naive", "zoned", "utc"])
def test_row_23_times_of_every_kind_are_the_same_moments(shop, plain_rows, dress):
    def built(dress: str) -> data.Dataset:
        rows = []
        for row in plain_rows:
            user, item, seconds = row.split(",")
            rows.append(f"{user},{item},{in_dress(int(seconds), dress)}")
        return data.build(Config(data=str(shop(rows)), split=SplitConfig(kind="time")))

    expected = built("seconds")
    found = built(dress)
    assert found.interactions.clock
    np.testing.assert_array_equal(found.interactions.time, expected.interactions.time)
    assert found.audit["test_begins"] == expected.audit["test_begins"]


@pytest.mark.parametrize(
    ("dresses", "words"),
    [
        (
            ("naive", "zoned"),
            "expected an offset such as +02:00 in every time or in none",
        ),
        (
            ("utc", "naive"),
            "expected an offset such as +02:00 in every time or in none",
        ),
        (
            ("seconds", "milliseconds"),
            "expected times in one unit, seconds or milliseconds",
        ),
    ],
)
def test_row_23_mixed_times_are_refused(shop, leave, tmp_path, dresses, words):
    rows = [f"a,x,{in_dress(1_700_000_000, dress)}" for dress in dresses]
    code, _, err = leave("train", "--data", shop(rows), "--run", tmp_path / "run")
    assert code == 2
    assert 'line 3, column "timestamp"' in err
    assert words in err
