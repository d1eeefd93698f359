"""Clean CSV and Parquet by Arrow's readers: the same as the strict reader gives, odd files not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ancf_jax.config import Config, TableConfig
from ancf_jax.data import clean_csv, files
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.readers import read
from ancf_jax.errors import UserError

PLAIN = """\
user_id,item_id,timestamp,rating
007,1e5,1490000007,3
NA,True,1490000005,4.5
007,née,1490000003,1
"""


def _read(folder: Path, data: bytes, drop_broken: bool = False) -> Interactions:
    path = folder / "events.csv"
    path.write_bytes(data)
    return read(Config(data=str(path), table=TableConfig(drop_broken=drop_broken)))


def _told(folder: Path, data: bytes, drop_broken: bool) -> tuple:
    """All that comes out of a file, or the sentence that refuses it."""
    try:
        log = _read(folder, data, drop_broken)
    except UserError as problem:
        return (str(problem),)
    columns = (log.user, log.item, log.time, log.rating, log.users, log.items)
    texts = tuple(repr(None if each is None else each.tolist()) for each in columns)
    return (*texts, log.clock, log.left_out, log.remarks)


@pytest.fixture
def strictly(monkeypatch):
    """Switches Arrow's reader off."""

    def switch() -> None:
        monkeypatch.setattr(files, "_read_clean", lambda *_: None)

    return switch


@pytest.fixture
def cleanly(monkeypatch):
    """Switches the strict reader off."""

    def fail(*_: object) -> str:
        raise AssertionError("the strict reader was called")

    def switch() -> None:
        monkeypatch.setattr(files, "read_text", fail)

    return switch


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.rstrip("\n").encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace("née", '"née"').replace("user_id", '"user_id"').encode(),
    ],
    ids=["plain", "bom", "no_last_newline", "crlf", "tab", "semicolon", "quoted"],
)
def test_clean_files_never_meet_the_strict_reader(tmp_path, cleanly, content):
    cleanly()
    log = _read(tmp_path, content)
    assert log.users.tolist() == ["007", "NA"]
    assert log.items.tolist() == ["1e5", "True", "née"]
    assert log.time.tolist() == [1490000003, 1490000007, 1490000005]
    np.testing.assert_array_equal(log.rating, np.array([1, 3, 4.5], np.float32))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (PLAIN + "b,x,1490000000,bad\n", 5),
        (PLAIN.replace("\n", "\n\n") + "b,x,1490000000,bad\n", 9),
        (PLAIN + '"b\n",x,1490000000,1\nb,x,1490000000,bad\n', 7),
        (PLAIN.replace("\n", "\r\n") + "b,x,1490000000,bad\r\n", 5),
        (PLAIN.replace("\n", "\r") + "b,x,1490000000,bad\r", 5),
    ],
    ids=["clean", "blank_lines", "quoted_line_end", "crlf", "cr"],
)
def test_the_line_is_told_by_either_reader(tmp_path, content, line):
    with pytest.raises(UserError, match=f"line {line}, column \"rating\": found 'bad'"):
        _read(tmp_path, content.encode())


def test_both_readers_say_the_same_of_damaged_files(tmp_path, strictly):
    rng = np.random.default_rng(3)
    text = PLAIN.replace("NA", '"NA"').encode()
    whole = np.frombuffer(text, np.uint8)
    junk = np.frombuffer(b'\x00\n\r",,;\xff1e-|. \xc3', np.uint8)
    cases = []
    for number in range(600):
        damaged = whole.copy()
        count = int(rng.integers(0, 4))
        damaged[rng.integers(len(whole), size=count)] = rng.choice(junk, count)
        end = len(whole) if number % 3 else rng.integers(1, len(whole) + 1)
        cases.append((damaged[:end].tobytes(), bool(number % 2)))
    by_arrow = [_told(tmp_path, *case) for case in cases]
    strictly()
    assert by_arrow == [_told(tmp_path, *case) for case in cases]
    accepted = sum(len(told) > 1 for told in by_arrow)
    assert 100 < accepted < 500


@pytest.mark.parametrize(
    ("data", "is_clean"),
    [
        (b'a,"b"\n"c",d\n', True),
        (b'a,""\n"",d', True),
        (b'"a","b"', True),
        (b'a,"b ""c"""\n', False),
        (b'a,b"c"\n', False),
        (b'a,"b" ,c\n', False),
        (b'"a,"b",c"\n', False),
        (b'a,"b\n', False),
        (b"a\rb\n", False),
        (b"a\x00\n", False),
        (b"a\xc3\n", False),
        ("é\n".encode(), True),
    ],
)
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1 << 22])
def test_what_is_clean(monkeypatch, data, is_clean, piece):
    """However the file is cut into pieces."""
    monkeypatch.setattr(clean_csv, "_PIECE", piece)
    assert clean_csv.is_clean(data, ",", quoted=True) == is_clean


def test_without_a_header_quotes_are_letters(tmp_path, cleanly):
    cleanly()
    (tmp_path / "u.data").write_text('"1\t2"0\t3\t881250949\n')
    log = read(Config(data=str(tmp_path)))
    assert log.users.tolist() == ['"1']
    assert log.items.tolist() == ['2"0']


def test_groups_of_rows_in_parquet_are_one_table(tmp_path):
    """Ids are numbered by first appearance, whatever the dictionaries of the groups hold."""
    ids = ["zoe", "ann", "bob", "ann", "zoe", "cid", "bob"]
    events = {
        "user_id": pa.array(ids),
        "item_id": pa.array([3, 2, 3, 1, 2, 2, 1], pa.uint8()),
        "timestamp": pa.array(range(1490000006, 1489999999, -1)),
    }
    path = tmp_path / "events.parquet"
    pq.write_table(pa.table(events), path, row_group_size=2)
    log = read(Config(data=str(path)))
    assert log.users.tolist() == ["zoe", "ann", "bob", "cid"]
    assert log.items.tolist() == ["3", "2", "1"]
    assert log.users[log.user].tolist() == sorted(ids, key=log.users.tolist().index)
    assert log.time.tolist()[:2] == [1490000002, 1490000006]


def test_of_coded_text_in_parquet_only_what_rows_hold_counts(tmp_path):
    distinct = pa.array(["unused", "b", "a\x00", "b", "c"])
    coded = pa.DictionaryArray.from_arrays(pa.array([4, 1, 3, 4], pa.int8()), distinct)
    path = tmp_path / "events.parquet"
    items = pa.array(["x", "y", "x", "z"])
    pq.write_table(pa.table({"user_id": coded, "item_id": items}), path)
    log = read(Config(data=str(path)))
    assert log.users.tolist() == ["c", "b"]
    assert log.user.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.array([5, None], pa.timestamp("us", "UTC")), "row 2, .* found nothing"),
        (
            pa.array([5, -1], pa.timestamp("ms")),
            r"row 2, .* found '1969-12-31 23:59:59.999",
        ),
        (pa.array([5, 2**62], pa.timestamp("us")), "row 2, .* found '.*out of range"),
        (pa.array([1490000000, -5]), "row 2, .* found '-5'"),
        (pa.array([1490000000, None]), "row 2, .* found nothing"),
    ],
)
def test_broken_times_of_parquet_are_told(tmp_path, column, found):
    path = tmp_path / "events.parquet"
    ids = pa.array(["a", "b"])
    pq.write_table(
        pa.table({"user_id": ids, "item_id": ids, "timestamp": column}), path
    )
    with pytest.raises(UserError, match=found):
        read(Config(data=str(path)))
