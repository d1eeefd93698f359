"""Tables of any ids: what goes in comes out, however the file is written and its rows are ordered."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancf_jax.config import Config
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.readers import read

BEGIN = 1_500_000_000
LONGEST_ID = 256


class Event(NamedTuple):
    user_id: str
    item_id: str
    timestamp: int
    rating: int


# Surrogates are no characters, and NUL is refused. Python's writer leaves CR without quotes.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r")
odd = st.sampled_from(
    ["007", "7", "NA", "null", "1e5", "True", '"', "a,b", "a;b", " a ", "é", "=1"]
)
ids = odd | st.text(characters, min_size=1, max_size=LONGEST_ID).filter(str.strip)


@st.composite
def tables(draw: st.DrawFn) -> list[Event]:
    """Events of few users and items, so that these come again, at times that all differ."""
    users = draw(st.lists(ids, min_size=1, max_size=5, unique=True))
    items = draw(st.lists(ids, min_size=1, max_size=7, unique=True))
    times = draw(
        st.lists(
            st.integers(BEGIN, BEGIN + 10**8), min_size=1, max_size=13, unique=True
        )
    )
    user = st.sampled_from(users)
    item = st.sampled_from(items)
    rating = st.integers(0, 10)
    return [Event(draw(user), draw(item), time, draw(rating)) for time in times]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tables")


def as_csv(
    rows: Sequence[Sequence[object]], names: Sequence[str] = Event._fields
) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue().encode()


def read_bytes(folder: Path, content: bytes) -> Interactions:
    path = folder / "events.csv"
    path.write_bytes(content)
    return read(Config(data=str(path)))


def events_of(log: Interactions) -> list[Event]:
    """The events with their ids, in the order of the log."""
    assert log.rating is not None
    users = log.users[log.user].tolist()
    items = log.items[log.item].tolist()
    columns = (users, items, log.time.tolist(), log.rating.astype(int).tolist())
    return [Event(*row) for row in zip(*columns, strict=True)]


def expected_order(events: list[Event]) -> list[Event]:
    """By user in order of first appearance, and time."""
    first = list(dict.fromkeys(event.user_id for event in events))
    return sorted(
        events, key=lambda event: (first.index(event.user_id), event.timestamp)
    )


@given(tables())
def test_what_goes_in_comes_out(folder, events):
    log = read_bytes(folder, as_csv(events))
    expected = expected_order(events)
    assert events_of(log) == expected
    assert log.users.tolist() == list(dict.fromkeys(event.user_id for event in events))
    assert log.items.tolist() == list(dict.fromkeys(event.item_id for event in events))


@given(tables(), st.randoms(use_true_random=False))
def test_shuffled_rows_are_the_same_events(folder, events, random):
    expected = sorted(events_of(read_bytes(folder, as_csv(events))))
    random.shuffle(events)
    log = read_bytes(folder, as_csv(events))
    assert sorted(events_of(log)) == expected
    assert events_of(log) == expected_order(events)


@given(tables(), st.data())
def test_other_columns_change_nothing(folder, events, data):
    """Any number of columns that nobody knows, at any place, with any text."""
    names = list(Event._fields)
    rows = [list(event) for event in events]
    for number in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(names)))
        names.insert(place, f"other {number}")
        for row in rows:
            row.insert(place, data.draw(st.just("") | st.text(characters, max_size=20)))
    log = read_bytes(folder, as_csv(rows, names))
    assert events_of(log) == expected_order(events)


@given(
    tables(), st.sampled_from(["string", "large_string", "coded"]), st.integers(1, 5)
)
def test_parquet_and_csv_of_one_table_are_equal(folder, events, kind, rows_per_group):
    from_csv = read_bytes(folder, as_csv(events))
    columns = {
        name: pa.array([getattr(event, name) for event in events])
        for name in Event._fields
    }
    for name in ("user_id", "item_id"):
        column = columns[name]
        columns[name] = (
            column.dictionary_encode() if kind == "coded" else column.cast(kind)
        )
    path = folder / "events.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=rows_per_group)
    from_parquet = read(Config(data=str(path)))
    for name in ("user", "item", "time", "rating", "users", "items", "names", "kind"):
        found = getattr(from_parquet, name)
        np.testing.assert_array_equal(found, getattr(from_csv, name), err_msg=name)
    assert from_parquet.clock is from_csv.clock


@given(tables(), st.sampled_from([",", ";", "\t"]), st.booleans(), st.booleans())
def test_the_dress_of_a_file_changes_nothing(folder, events, delimiter, quoted, marked):
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(
        text, delimiter=delimiter, quoting=quoting, lineterminator="\r\n"
    )
    writer.writerow(Event._fields)
    writer.writerows(events)
    content = text.getvalue().encode("utf-8-sig" if marked else "utf-8")
    assert events_of(read_bytes(folder, content)) == expected_order(events)
