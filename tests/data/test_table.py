"""Tables of events: ids, times, signals, their order, and rows that are dropped."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ancf_jax.config import Config, TableConfig
from ancf_jax.data.columns import encode
from ancf_jax.data.interactions import Interactions
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


def _events(log: Interactions) -> list[tuple[str, str, int]]:
    users = log.users[log.user].tolist()
    items = log.items[log.item].tolist()
    return list(zip(users, items, log.time.tolist(), strict=True))


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
    rows = "".join(f"{value},x{value}\n" for value in odd)
    log = _read(tmp_path, "user_id,item_id\n" + rows)
    assert log.users.tolist() == odd
    assert log.items.tolist() == [f"x{value}" for value in odd]


def test_text_that_numpy_would_cut_is_never_coded():
    with pytest.raises(UserError, match=r"found 'a\\x00', expected text without NUL"):
        encode(pa.array(["a", "a\x00", "b"], pa.large_string()))


def test_without_times_the_order_of_the_file_is_the_time(tmp_path):
    log = _read(tmp_path, "user_id,item_id\na,x\nb,y\na,z\na,x\n")
    assert not log.clock
    assert _events(log) == [("a", "x", 0), ("a", "z", 1), ("a", "x", 2), ("b", "y", 0)]


def test_small_whole_numbers_are_an_order_without_a_clock(tmp_path):
    log = _read(tmp_path, "user_id,item_id,timestamp\na,x,12\na,y,7.5\na,z,7.25\n")
    assert not log.clock
    assert _events(log) == [("a", "z", 0), ("a", "y", 1), ("a", "x", 2)]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (
            ["20200131", "20191201"],
            "WARNING: .* such as 20200131, .* look like dates such as",
        ),
        (
            ["43861.25", "43500"],
            "WARNING: .* such as 43861.25, .* as a spreadsheet counts",
        ),
        (
            ["20200131", "20201301"],
            "note: .* such as 20200131, .* no hours and no seasons$",
        ),
        (
            ["3", "17"],
            'note: .*events.csv, column "timestamp" holds numbers below 10\\^8',
        ),
    ],
)
def test_numbers_that_are_no_times_are_told(tmp_path, times, words):
    rows = [f"a,x,{times[0]}", f"b,y,{times[1]}"]
    log = _read(tmp_path, "\n".join(["user_id,item_id,timestamp", *rows]))
    assert not log.clock
    (remark,) = log.remarks
    assert re.match(words, remark)
    broken = "\n".join(["user_id,item_id,timestamp", *rows, "c,z,soon"])
    assert _read(tmp_path, broken, drop_broken=True).remarks == log.remarks


def test_of_times_nothing_is_told(tmp_path):
    assert _read(tmp_path, PLAIN).remarks == ()
    assert _read(tmp_path, "user_id,item_id\na,x\n").remarks == ()


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
    expected = datetime(2017, 3, 20, 10, tzinfo=UTC)
    assert log.time.tolist() == [int(expected.timestamp())]


def test_equal_times_keep_the_order_of_the_file_and_milliseconds_count(tmp_path):
    rows = ["a,x,1490000000100", "a,y,1490000000100", "a,z,1490000000099"]
    log = _read(tmp_path, "user_id,item_id,timestamp\n" + "\n".join(rows))
    assert [item for _, item, _ in _events(log)] == ["z", "x", "y"]
    assert log.time.dtype == np.int64


def test_shuffled_rows_give_the_same_events(tmp_path):
    rng = np.random.default_rng(5)
    rows = [
        f"u{rng.integers(7)},i{rng.integers(11)},{1490000000 + second}"
        for second in range(53)
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
    rows = [
        "user_id,item_id,timestamp,rating",
        "a,x,1490000000,1",
        "b,,1490000001,2",
        "c,y,soon,2",
        "d,z,1490000002,-1",
        "e,w,1490000003,5,extra",
        "a,v,1490000004,3",
    ]
    text = "\n".join(rows) + "\n"
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
    # Were it dropped, the rest of the file would be one dropped row.
    with pytest.raises(UserError, match="line 3: a quote"):
        _read(tmp_path, 'user_id,item_id,n\na,x,1\nb,"y,1\nc,z,1\n', drop_broken=True)


def test_times_in_another_unit_or_dress_than_the_first_are_dropped_when_asked(tmp_path):
    head = "user_id,item_id,timestamp\n"
    units = "a,x,1490000000\na,y,1490000001000\na,z,1e305\na,w,1490000002\n"
    log = _read(tmp_path, head + units, drop_broken=True)
    assert _events(log) == [("a", "x", 1490000000), ("a", "w", 1490000002)]
    offsets = "a,x,2017-03-20T10:00Z\na,y,2017-03-20T10:00\n"
    log = _read(tmp_path, head + offsets, drop_broken=True)
    assert _events(log) == [("a", "x", 1490004000)]
    assert log.left_out == {"broken rows (events.csv: timestamp)": 1}
