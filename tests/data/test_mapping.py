"""Columns are found by their names, and tables of items and users tell of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ancf_jax.config import Config, TableConfig
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.mapping import gap_dwell
from ancf_jax.data.readers import read
from ancf_jax.errors import UserError

PLAIN = """\
user_id,item_id,timestamp,rating
bob,tea,1490000007,3
ann,milk,1490000005,4.5
ann,tea,1490000003,
"""


def _read(folder: Path, content: bytes | str, **columns: object) -> Interactions:
    data = content.encode() if isinstance(content, str) else content
    (folder / "events.csv").write_bytes(data)
    mapping = TableConfig(**columns)  # type: ignore[arg-type]
    return read(Config(data=str(folder / "events.csv"), table=mapping))


def _values(log: Interactions, feature: str) -> dict[str, list[str]]:
    values = log.item_features[feature].values
    rows = log.item_features[feature].ids
    return {
        str(item): values[row[row >= 0]].tolist()
        for item, row in zip(log.items, rows, strict=True)
    }


def _folder(folder: Path, items: str, **columns: object) -> Interactions:
    (folder / "interactions.csv").write_text(
        "user_id,item_id\nann,tea\nbob,milk\nann,milk\nbob,egg\n"
    )
    (folder / "items.csv").write_text(items)
    mapping = TableConfig(**columns)  # type: ignore[arg-type]
    return read(Config(data=str(folder), table=mapping))


def test_a_missing_column_is_named_with_the_nearest_and_the_flag(tmp_path):
    nearest = r'no column "item_id" \(did you mean "item"\?\); it has .*--table\.item'
    with pytest.raises(UserError, match=nearest):
        _read(tmp_path, "user_id,item\na,x\n")
    with pytest.raises(UserError, match=r'no column "stars"; .*--table\.rating'):
        _read(tmp_path, PLAIN, rating="stars")
    with pytest.raises(UserError, match=r"--table\.items-file"):
        _read(tmp_path, PLAIN, features=("aisle",))
    with pytest.raises(UserError, match=r"--table\.users-file"):
        _read(tmp_path, PLAIN, user_features=("age",))
    with pytest.raises(UserError, match=r"--table\.items-file shelf\.csv"):
        _read(tmp_path, PLAIN, items_file="shelf.csv")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"user": "item_id"},
            r"--table.user and --table.item both name the column \"item_id\"",
        ),
        ({"time": "user_id"}, r"--table.user and --table.time both name the column"),
        (
            {"rating": "timestamp"},
            r"--table.time and --table.rating both name the column",
        ),
    ],
)
def test_a_column_has_one_role(tmp_path, columns, words):
    with pytest.raises(UserError, match=words):
        _read(tmp_path, PLAIN, **columns)


def test_one_column_may_hold_two_signals(tmp_path):
    log = _read(tmp_path, PLAIN, quantity="rating")
    np.testing.assert_array_equal(log.quantity, log.rating)


def test_an_item_table_gives_names_features_and_new_products(tmp_path):
    items = """\
name,item_id,category,department
Whole milk,milk,dairy| drinks,cold
,bun,bread,
Green tea,tea,,dry
"""
    log = _folder(tmp_path, items)
    assert log.items.tolist() == ["tea", "milk", "egg", "bun"]
    assert log.names.tolist() == ["Green tea", "Whole milk", "egg", "bun"]
    assert list(log.item_features) == ["department", "category"]
    assert _values(log, "category") == {
        "tea": [],
        "milk": ["dairy", "drinks"],
        "egg": [],
        "bun": ["bread"],
    }
    assert _values(log, "department") == {
        "tea": ["dry"],
        "milk": ["cold"],
        "egg": [],
        "bun": [],
    }
    assert log.item_features["category"].ids.shape == (4, 2)
    assert log.item_features["category"].ids.dtype == np.int32


def test_a_value_of_a_feature_has_at_most_256_characters(tmp_path):
    items = (
        f"item_id,department,category\ntea,dry,{'h' * 257}\nmilk,cold,a|{'b' * 256}\n"
    )
    message = r"items\.csv, line 2, column \"category\": found 'h+', expected values of at most 256"
    with pytest.raises(UserError, match=message):
        _folder(tmp_path, items)
    log = _folder(tmp_path, items, drop_broken=True)
    assert _values(log, "category") == {"tea": [], "milk": ["a", "b" * 256], "egg": []}
    assert _values(log, "department") == {"tea": [], "milk": ["cold"], "egg": []}


def test_from_a_far_larger_item_table_only_items_with_events_are_kept(tmp_path):
    many = "item_id,department\n" + "".join(f"new{n},dry\n" for n in range(5))
    log = _folder(tmp_path, many + "tea,dry\n")  # 6 rows, 3 items with events
    assert len(log.items) == 8
    assert log.left_out == {}
    table = many + "tea,dry\nmilk,cold\n"
    log = _folder(tmp_path, table, keep_unsold_items=True)  # 7 rows
    assert len(log.items) == 8
    log = _folder(tmp_path, table)
    assert log.items.tolist() == ["tea", "milk", "egg"]
    assert log.left_out == {"items without events": 5}
    assert _values(log, "department") == {"tea": ["dry"], "milk": ["cold"], "egg": []}


def test_user_features_and_tables_named_by_flag(tmp_path):
    (tmp_path / "people.csv").write_text(
        "user_id,segment\nbob,new|young\ncid,old\nann,old\n"
    )
    (tmp_path / "shelf.csv").write_text("item_id,aisle\ntea,3\nmilk,1\n")
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nann,tea\nbob,milk\n")
    mapping = TableConfig(
        users_file=str(tmp_path / "people.csv"),
        user_features=("segment",),
        items_file="shelf.csv",
        features=("aisle",),
        name="aisle",
    )
    log = read(Config(data=str(tmp_path / "interactions.csv"), table=mapping))
    segment = log.user_features["segment"]
    assert [segment.values[row[row >= 0]].tolist() for row in segment.ids] == [
        ["old"],
        ["new", "young"],
    ]
    assert log.names.tolist() == ["3", "1"]


def test_gap_dwell_is_the_time_to_the_users_next_event():
    user = np.array([1, 0, 1, 1, 0])
    micros = np.array([10.0, 5.0, 40.0, 0.5, 5000.0]) * 1e6
    dropped = gap_dwell(user, micros.astype(np.int64), cap=100.0, drop=30.0)
    kept = gap_dwell(user, micros.astype(np.int64), cap=100.0, drop=0.0)
    expected = np.array([30, 100, np.nan, 9.5, np.nan], np.float32)
    np.testing.assert_array_equal(kept, expected)
    expected[0] = np.nan
    np.testing.assert_array_equal(dropped, expected)


def test_gap_dwell_tells_30_000_from_30_001_seconds(tmp_path):
    rows = ["a,x,1490000000000", "a,y,1490000030000", "a,z,1490000060001"]
    text = "user_id,item_id,timestamp\n" + "\n".join(rows)
    log = _read(tmp_path, text, dwell_gap_cap=100.0, dwell_gap_drop=30.0)
    np.testing.assert_allclose(
        log.dwell, np.array([np.nan, 30.001, np.nan], np.float32)
    )
    with pytest.raises(UserError, match=r"--table\.dwell-gap-cap needs the times"):
        _read(tmp_path, "user_id,item_id\na,x\n", dwell_gap_cap=1.0)


def test_the_digest_tells_any_change_of_any_file(tmp_path):
    digest = _folder(tmp_path, "item_id,department\ntea,dry\n").digest
    assert digest == _folder(tmp_path, "item_id,department\ntea,dry\n").digest
    assert digest != _folder(tmp_path, "item_id,department\ntea,wet\n").digest
    assert len(digest) == 64


def test_completejourney_joins_every_product_with_its_department(shared_data):
    mapping = TableConfig(
        user="household_id",
        item="product_id",
        time="transaction_timestamp",
        items_file="products.csv",
        features=("department", "product_category", "product_type"),
        name="product_type",
    )
    events = shared_data / "completejourney" / "transactions.csv"
    log = read(Config(data=str(events), table=mapping))
    assert (len(log.users), len(log.items), len(log.user)) == (2405, 23950, 100000)
    assert len(log.item_features["department"].values) == 32
    assert len(log.item_features["product_category"].values) == 303
    has_no_department = log.item_features["department"].ids[:, 0] < 0
    assert has_no_department.sum() == 5  # bought, but not in products.csv
    assert log.names[log.items == "940996"].tolist() == ["HAM"]
    assert log.clock
    assert log.quantity is not None
