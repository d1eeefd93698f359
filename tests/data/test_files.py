"""Text and Parquet files read alike, whatever their encoding, delimiter or types."""

from __future__ import annotations

import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ancf_jax.config import Config, TableConfig
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


def _read_parquet(folder: Path, table: dict[str, pa.Array]) -> Interactions:
    pq.write_table(pa.table(table), folder / "events.parquet")
    return read(Config(data=str(folder / "events.parquet")))


def _events(log: Interactions) -> list[tuple[str, str, int]]:
    users = log.users[log.user].tolist()
    items = log.items[log.item].tolist()
    return list(zip(users, items, log.time.tolist(), strict=True))


def _values(log: Interactions, feature: str) -> dict[str, list[str]]:
    values = log.item_features[feature].values
    rows = log.item_features[feature].ids
    return {
        str(item): values[row[row >= 0]].tolist()
        for item, row in zip(log.items, rows, strict=True)
    }


EXPECTED = [
    ("bob", "tea", 1490000007),
    ("ann", "tea", 1490000003),
    ("ann", "milk", 1490000005),
]


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


def test_quoted_fields_may_hold_delimiters_quotes_and_line_breaks(tmp_path):
    log = _read(
        tmp_path,
        'user_id,item_id,note\nann,"milk, 1 ""l""","two\nlines"\nbob,tea,"\n"\n',
    )
    assert log.items.tolist() == ['milk, 1 "l"', "tea"]


def test_a_byte_that_is_no_utf_8_is_refused_with_its_place(tmp_path):
    """One bad byte does not turn the names of all others into latin-1."""
    data = "user_id,item_id\r\nann,café\r\nbob,cr".encode() + b"\xe8me\r\n"
    words = (
        r"line 3, byte 7: found 0xe8, expected UTF-8; save the file as UTF-8, "
        r"or name its encoding with --table\.encoding, such as latin-1, cp1252 or shift_jis"
    )
    with pytest.raises(UserError, match=words):
        _read(tmp_path, data)
    with pytest.raises(UserError, match=words):
        _read(tmp_path, data, drop_broken=True)


@pytest.mark.parametrize(
    ("encoding", "item"),
    [
        ("latin-1", "café"),
        ("cp1252", "5 € “café”"),
        ("shift_jis", "抹茶ラテ"),
        ("utf-16-le", "抹茶"),
        ("UTF8", "抹茶"),
    ],
)
def test_other_encodings_are_read_where_a_flag_names_them(tmp_path, encoding, item):
    data = f"user_id,item_id\nann,{item}\nbob,tea\n".encode(encoding)
    log = _read(tmp_path, data, encoding=encoding)
    assert log.items.tolist() == [item, "tea"]


def test_a_byte_that_is_not_in_the_encoding_named_is_refused(tmp_path):
    data = "user_id,item_id\nann,抹茶\n".encode() + b"bob,\xff\n"
    with pytest.raises(UserError, match=r"line 3, byte 5: found 0xff, expected UTF-8"):
        _read(tmp_path, data)
    with pytest.raises(
        UserError, match=r"line 2, byte \d+: found 0x.*, expected ascii"
    ):
        _read(tmp_path, data, encoding="ascii")


@pytest.mark.parametrize("name", ["utf9", "base64", "", "a\x00b"])
def test_an_encoding_that_does_not_exist_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"--table\.encoding is .*such as utf-8"):
        _read(tmp_path, PLAIN, encoding=name)


def test_the_line_of_a_broken_value_counts_blank_lines_and_quoted_line_breaks(tmp_path):
    text = 'user_id,item_id,note,rating\n\na,x,"one\ntwo",1\n\nb,y,,bad\n'
    with pytest.raises(UserError, match=r'line 6, column "rating": found \'bad\''):
        _read(tmp_path, text)


def test_a_field_that_is_too_long_is_not_called_an_open_quote(tmp_path):
    head = "user_id,item_id,note\n\na,x,1\n"
    message = r"line 4: a field of more than 131,072 characters; shorten it, or close"
    with pytest.raises(UserError, match=message):
        _read(tmp_path, head + "b,y," + 'a" ' * 50_000)
    with pytest.raises(UserError, match=r"line 4: a quote \(\"\) that is not closed"):
        _read(tmp_path, head + 'b,y,"1\n')


def test_what_is_neither_file_nor_folder_is_called_by_its_name(tmp_path):
    pipe = tmp_path / "events.csv"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match=r"events.csv is a pipe, .* expected a file"):
        read(Config(data=str(pipe)))


def test_damaged_files_are_read_or_refused_but_never_crash(tmp_path):
    rng = np.random.default_rng(11)
    whole = np.frombuffer(PLAIN.replace("bob", '"bob"').encode(), np.uint8)
    junk = np.frombuffer(b'\x00\n\r",;\xff1e-|', np.uint8)
    refused = 0
    for _ in range(300):
        damaged = whole.copy()
        damaged[rng.integers(len(whole), size=3)] = rng.choice(junk, 3)
        data = damaged[: rng.integers(1, len(whole) + 1)].tobytes()
        drop_broken = bool(rng.integers(2))
        try:
            log = _read(tmp_path, data, drop_broken=drop_broken)
        except UserError:
            refused += 1
        else:
            assert len(log.user) == len(log.item) == len(log.time) > 0
    assert 0 < refused < 300


def test_fractions_in_parquet_are_ratings_and_times(tmp_path):
    events = {
        "user_id": pa.array([1e15, 7.0]),
        "item_id": pa.array(["x", "y"]),
        "timestamp": pa.array([1490004000.5, 1490004001.0]),
        "rating": pa.array([1.5, None]),
    }
    log = _read_parquet(tmp_path, events)
    assert log.users.tolist() == ["1000000000000000", "7"]
    assert log.time.tolist() == [1490004000, 1490004001]
    np.testing.assert_array_equal(log.rating, np.array([1.5, np.nan], np.float32))


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
    items = {
        "item_id": pa.array([3.0, 4.0]),
        "category": pa.array([["a", "b"], []]),
    }
    pq.write_table(pa.table(items), tmp_path / "items.parquet")
    zoned = pa.timestamp("s", tz="America/New_York")
    events = {
        "user_id": pa.array(["x", "x"]),
        "item_id": pa.array([3.0, 4.0]),
        "timestamp": pa.array([1490004000, 1490004001], zoned),
    }
    log = _read_parquet(tmp_path, events)
    assert log.items.tolist() == ["3", "4"]
    assert log.time.tolist() == [1490004000, 1490004001]
    assert _values(log, "category") == {"3": ["a", "b"], "4": []}
