"""Tables of events in every dress: columns, times, numbers, features, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ancf_jax.config import Config, TableConfig
from ancf_jax.data.assemble import gap_dwell
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.readers import read
from ancf_jax.errors import UserError

PLAIN = "user_id,item_id,timestamp,rating\nbob,tea,1490000007,3\nann,milk,1490000005,4.5\nann,tea,1490000003,\n"


def _read(folder: Path, content: bytes | str, **columns: object) -> Interactions:
    data = content.encode() if isinstance(content, str) else content
    (folder / "events.csv").write_bytes(data)
    return read(Config(data=str(folder / "events.csv"), table=TableConfig(**columns)))  # type: ignore[arg-type]


def _read_parquet(
    folder: Path, table: dict[str, pa.Array], **columns: object
) -> Interactions:
    pq.write_table(pa.table(table), folder / "events.parquet")
    return read(
        Config(data=str(folder / "events.parquet"), table=TableConfig(**columns))
    )  # type: ignore[arg-type]


def _events(log: Interactions) -> list[tuple[str, str, int]]:
    return list(
        zip(
            log.users[log.user].tolist(),
            log.items[log.item].tolist(),
            log.time.tolist(),
            strict=True,
        )
    )


def _values(log: Interactions, feature: str) -> dict[str, list[str]]:
    f = log.item_features[feature]
    return {
        str(i): f.values[row[row >= 0]].tolist()
        for i, row in zip(log.items, f.ids, strict=True)
    }


EXPECTED = [
    ("bob", "tea", 1490000007),
    ("ann", "tea", 1490000003),
    ("ann", "milk", 1490000005),
]


def test_events_are_sorted_by_user_and_time_and_coded_by_first_appearance(tmp_path):
    log = _read(tmp_path, PLAIN)
    assert log.users.tolist() == ["bob", "ann"]
    assert log.items.tolist() == log.names.tolist() == ["tea", "milk"]
    assert _events(log) == EXPECTED
    assert log.clock
    np.testing.assert_array_equal(log.rating, np.array([3, np.nan, 4.5], np.float32))
    assert log.kinds == ("interaction",)
    assert log.given_part is None
    assert log.clicked is None


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\n\n").encode(),
        b"\n" + PLAIN.encode(),
        PLAIN.rstrip("\n").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", ";").replace("4.5", "4,5").encode(),
        PLAIN.replace("user_id,item_id", ' user_id , "item_id"').encode(),
        PLAIN.replace("bob,tea", '"bob","tea"').encode(),
        PLAIN.replace("1490000007", " 1490000007 ").encode(),
    ],
    ids=[
        "bom",
        "utf16",
        "crlf",
        "cr",
        "blank_lines",
        "lead_line",
        "no_last_newline",
        "tab",
        "decimal_comma",
        "padded",
        "quoted",
        "padded_number",
    ],
)
def test_the_same_table_in_other_dress_reads_alike(tmp_path, content):
    log = _read(tmp_path, content)
    assert _events(log) == EXPECTED
    np.testing.assert_array_equal(log.rating, np.array([3, np.nan, 4.5], np.float32))


def test_ids_come_out_as_they_went_in(tmp_path):
    odd = [
        "007",
        "NA",
        "True",
        "1e5",
        "9223372036854775808",
        "née",
        " a ",
        "null",
        "1.0",
        "🥛",
        "-0",
        "None",
    ]
    log = _read(
        tmp_path, "user_id,item_id\n" + "".join(f"{value},x{value}\n" for value in odd)
    )
    assert log.users.tolist() == odd
    assert log.items.tolist() == [f"x{value}" for value in odd]


def test_quoted_fields_may_hold_delimiters_quotes_and_line_breaks(tmp_path):
    log = _read(
        tmp_path,
        'user_id,item_id,note\nann,"milk, 1 ""l""","two\nlines"\nbob,tea,"\n"\n',
    )
    assert log.items.tolist() == ['milk, 1 "l"', "tea"]


def test_latin_1_is_read_where_it_is_not_utf_8(tmp_path):
    assert _read(
        tmp_path, "user_id,item_id\nann,café\n".encode("latin-1")
    ).items.tolist() == ["café"]


def test_without_times_the_order_of_the_file_is_the_time(tmp_path):
    log = _read(tmp_path, "user_id,item_id\na,x\nb,y\na,z\na,x\n")
    assert not log.clock
    assert _events(log) == [("a", "x", 0), ("a", "z", 1), ("a", "x", 2), ("b", "y", 0)]


def test_small_whole_numbers_are_an_order_without_a_clock(tmp_path):
    log = _read(tmp_path, "user_id,item_id,timestamp\na,x,12\na,y,7.5\na,z,7.25\n")
    assert not log.clock
    assert _events(log) == [("a", "z", 0), ("a", "y", 1), ("a", "x", 2)]


@pytest.mark.parametrize(
    "text",
    [
        "1490004000",
        "1490004000.9",
        "1490004000999",
        "1490004000000000",
        "1490004000000000000",
        "1.490004e9",
        "2017-03-20 10:00:00",
        "2017-03-20T10:00",
        "2017-03-20T10:00:00.75",
        "2017-03-20T10:00:00Z",
        "2017-03-20 12:00:00+02:00",
        "2017-03-20T05:00:00-0500",
    ],
)
def test_times_of_every_kind_become_utc_seconds(tmp_path, text):
    log = _read(tmp_path, f"user_id,item_id,timestamp\na,x,{text}\n")
    assert log.clock
    assert log.time.tolist() == [int(datetime(2017, 3, 20, 10, tzinfo=UTC).timestamp())]


def test_equal_times_keep_the_order_of_the_file_and_milliseconds_count(tmp_path):
    rows = ["a,x,1490000000100", "a,y,1490000000100", "a,z,1490000000099"]
    log = _read(tmp_path, "user_id,item_id,timestamp\n" + "\n".join(rows))
    assert [item for _, item, _ in _events(log)] == ["z", "x", "y"]
    assert log.time.dtype == np.int64


def test_shuffled_rows_give_the_same_events(tmp_path):
    rng = np.random.default_rng(5)
    rows = [
        f"u{rng.integers(7)},i{rng.integers(11)},{1490000000 + at}" for at in range(53)
    ]
    head = "user_id,item_id,timestamp\n"
    one = _read(tmp_path, head + "\n".join(rows))
    other = _read(tmp_path, head + "\n".join(rng.permutation(rows)))
    assert sorted(_events(one)) == sorted(_events(other))
    for log in (one, other):
        assert (np.diff(log.user) >= 0).all()
        assert (np.diff(log.time)[np.diff(log.user) == 0] > 0).all()


def test_signals_and_kinds(tmp_path):
    log = _read(
        tmp_path,
        "user_id,item_id,event,clicked,dwell_seconds,hover_seconds,quantity\n"
        "a,x,view,TRUE,1.5,0,2\na,y,buy,no,,3,1e1\na,z,view,,7,.5,+3\n",
    )
    assert log.kinds == ("view", "buy")
    assert log.kind.tolist() == [0, 1, 0]
    assert log.kind.dtype == np.int8
    np.testing.assert_array_equal(log.clicked, np.array([1, 0, np.nan], np.float32))
    np.testing.assert_array_equal(log.dwell, np.array([1.5, np.nan, 7], np.float32))
    np.testing.assert_array_equal(log.hover, np.array([0, 3, 0.5], np.float32))
    np.testing.assert_array_equal(log.quantity, np.array([2, 10, 3], np.float32))


def test_broken_rows_are_dropped_and_counted_when_asked(tmp_path):
    text = "user_id,item_id,timestamp,rating\na,x,1490000000,1\nb,,1490000001,2\nc,y,soon,2\nd,z,1490000002,-1\n"
    text += "e,w,1490000003,5,extra\na,v,1490000004,3\n"
    log = _read(tmp_path, text, drop_broken=True)
    assert _events(log) == [("a", "x", 1490000000), ("a", "v", 1490000004)]
    assert log.users.tolist() == ["a"]
    assert log.left_out == {
        "broken rows (events.csv: item_id)": 1,
        "broken rows (events.csv: timestamp)": 1,
        "broken rows (events.csv: rating)": 1,
        "broken rows (events.csv: number of fields)": 1,
    }
    with pytest.raises(UserError, match="no events are left"):
        _read(tmp_path, "user_id,item_id\n,x\n", drop_broken=True)
    with pytest.raises(
        UserError, match="line 3: a quote"
    ):  # else the rest of the file would be one dropped row
        _read(tmp_path, 'user_id,item_id,n\na,x,1\nb,"y,1\nc,z,1\n', drop_broken=True)


def test_times_in_another_unit_or_dress_than_the_first_are_dropped_when_asked(tmp_path):
    head = "user_id,item_id,timestamp\n"
    log = _read(
        tmp_path,
        head + "a,x,1490000000\na,y,1490000001000\na,z,1e305\na,w,1490000002\n",
        drop_broken=True,
    )
    assert _events(log) == [("a", "x", 1490000000), ("a", "w", 1490000002)]
    log = _read(
        tmp_path,
        head + "a,x,2017-03-20T10:00Z\na,y,2017-03-20T10:00\n",
        drop_broken=True,
    )
    assert _events(log) == [("a", "x", 1490004000)]
    assert log.left_out == {"broken rows (events.csv: timestamp)": 1}


def test_fractions_in_parquet_are_ratings_and_times(tmp_path):
    events = {"user_id": pa.array([1e15, 7.0]), "item_id": pa.array(["x", "y"])}
    log = _read_parquet(
        tmp_path,
        events
        | {"timestamp": pa.array([1490004000.5, 1490004001.0])}
        | {"rating": [1.5, None]},
    )
    assert log.users.tolist() == ["1000000000000000", "7"]
    assert log.time.tolist() == [1490004000, 1490004001]
    np.testing.assert_array_equal(log.rating, np.array([1.5, np.nan], np.float32))


def test_the_line_of_a_broken_value_counts_blank_lines_and_quoted_line_breaks(tmp_path):
    text = 'user_id,item_id,note,rating\n\na,x,"one\ntwo",1\n\nb,y,,bad\n'
    with pytest.raises(UserError, match=r'line 6, column "rating": found \'bad\''):
        _read(tmp_path, text)


def test_a_missing_column_is_named_with_the_nearest_and_the_flag(tmp_path):
    with pytest.raises(
        UserError,
        match=r'no column "item_id" \(did you mean "item"\?\); it has .*--table\.item',
    ):
        _read(tmp_path, "user_id,item\na,x\n")
    with pytest.raises(UserError, match=r'no column "stars"; .*--table\.rating'):
        _read(tmp_path, PLAIN, rating="stars")
    with pytest.raises(UserError, match=r"--table\.items-file"):
        _read(tmp_path, PLAIN, features=("aisle",))
    with pytest.raises(UserError, match=r"--table\.users-file"):
        _read(tmp_path, PLAIN, user_features=("age",))
    with pytest.raises(UserError, match=r"--table\.items-file shelf\.csv"):
        _read(tmp_path, PLAIN, items_file="shelf.csv")


def _folder(folder: Path, items: str, **columns: object) -> Interactions:
    (folder / "interactions.csv").write_text(
        "user_id,item_id\nann,tea\nbob,milk\nann,milk\nbob,egg\n"
    )
    (folder / "items.csv").write_text(items)
    return read(Config(data=str(folder), table=TableConfig(**columns)))  # type: ignore[arg-type]


def test_an_item_table_gives_names_features_and_new_products(tmp_path):
    items = "name,item_id,category,department\nWhole milk,milk,dairy| drinks,cold\n,bun,bread,\nGreen tea,tea,,dry\n"
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


def test_from_a_far_larger_item_table_only_items_with_events_are_kept(tmp_path):
    many = "item_id,department\n" + "".join(f"new{n},dry\n" for n in range(5))
    log = _folder(tmp_path, many + "tea,dry\n")  # 6 rows, 3 items with events
    assert len(log.items) == 8
    assert log.left_out == {}
    log = _folder(tmp_path, many + "tea,dry\nmilk,cold\n")  # 7 rows
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


def test_parquet_columns_of_every_type(tmp_path):
    ids = pa.array([2**64 - 1, 7, None], pa.uint64()).fill_null(5)
    when = pa.array([datetime(2017, 3, 20, 10)] * 3, pa.timestamp("ms"))
    log = _read_parquet(
        tmp_path,
        {
            " user_id ": ids,
            "item_id": pa.array(["milk", "tea", "milk"]).dictionary_encode(),
            "timestamp": when,
            "rating": pa.array([Decimal("1.50"), None, Decimal("2.25")]),
            "clicked": pa.array([True, None, False]),
            "quantity": pa.array([1, 2, None], pa.int8()),
        },
    )
    assert log.users.tolist() == ["18446744073709551615", "7", "5"]
    assert log.items[log.item].tolist() == ["milk", "tea", "milk"]
    assert log.time.tolist() == [1490004000] * 3
    np.testing.assert_array_equal(log.rating, np.array([1.5, np.nan, 2.25], np.float32))
    np.testing.assert_array_equal(log.clicked, np.array([1, np.nan, 0], np.float32))
    np.testing.assert_array_equal(log.quantity, np.array([1, 2, np.nan], np.float32))


def test_parquet_zoned_times_whole_float_ids_and_lists_of_features(tmp_path):
    pq.write_table(
        pa.table(
            {"item_id": pa.array([3.0, 4.0]), "category": pa.array([["a", "b"], []])}
        ),
        tmp_path / "items.parquet",
    )
    log = _read_parquet(
        tmp_path,
        {
            "user_id": pa.array(["x", "x"]),
            "item_id": pa.array([3.0, 4.0]),
            "timestamp": pa.array(
                [1490004000, 1490004001], pa.timestamp("s", tz="America/New_York")
            ),
        },
    )
    assert log.items.tolist() == ["3", "4"]
    assert log.time.tolist() == [1490004000, 1490004001]
    assert _values(log, "category") == {"3": ["a", "b"], "4": []}


def test_gap_dwell_is_the_time_to_the_users_next_event():
    user = np.array([1, 0, 1, 1, 0])
    micros = np.array([10.0, 5.0, 40.0, 0.5, 5000.0]) * 1e6
    dwell = gap_dwell(user, micros.astype(np.int64), cap=100.0, drop=30.0)
    np.testing.assert_array_equal(
        dwell, np.array([np.nan, 100, np.nan, 9.5, np.nan], np.float32)
    )
    kept = gap_dwell(user, micros.astype(np.int64), cap=100.0, drop=0.0)
    np.testing.assert_array_equal(
        kept, np.array([30, 100, np.nan, 9.5, np.nan], np.float32)
    )


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
    first = _folder(tmp_path, "item_id,department\ntea,dry\n").digest
    assert first == _folder(tmp_path, "item_id,department\ntea,dry\n").digest
    assert first != _folder(tmp_path, "item_id,department\ntea,wet\n").digest
    assert len(first) == 64


def test_damaged_files_are_read_or_refused_but_never_crash(tmp_path):
    rng = np.random.default_rng(11)
    whole = np.frombuffer(PLAIN.replace("bob", '"bob"').encode(), np.uint8)
    junk = np.frombuffer(b'\x00\n\r",;\xff1e-|', np.uint8)
    refused = 0
    for _ in range(300):
        damaged = whole.copy()
        damaged[rng.integers(len(whole), size=3)] = rng.choice(junk, 3)
        try:
            log = _read(
                tmp_path,
                damaged[: rng.integers(1, len(whole) + 1)].tobytes(),
                drop_broken=bool(rng.integers(2)),
            )
        except UserError:
            refused += 1
        else:
            assert len(log.user) == len(log.item) == len(log.time) > 0
    assert 0 < refused < 300


def test_completejourney_joins_every_product_with_its_department(shared_data):
    mapping = TableConfig(
        user="household_id",
        item="product_id",
        time="transaction_timestamp",
        items_file="products.csv",
        features=("department", "product_category", "product_type"),
        name="product_type",
    )
    log = read(
        Config(
            data=str(shared_data / "completejourney" / "transactions.csv"),
            table=mapping,
        )
    )
    assert (len(log.users), len(log.items), len(log.user)) == (2405, 23950, 100000)
    assert len(log.item_features["department"].values) == 32
    assert len(log.item_features["product_category"].values) == 303
    assert (
        log.item_features["department"].ids[:, 0] < 0
    ).sum() == 5  # bought, but not in products.csv
    seen = (log.items == "940996").argmax()
    assert log.names[seen] == "HAM"
    assert log.clock
    assert log.quantity is not None
