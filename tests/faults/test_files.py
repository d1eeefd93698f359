"""Rows 26 to 28: files of every dress are read alike, or refused in one sentence."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ancf_jax import data
from ancf_jax.config import Config, SplitConfig, TableConfig

BADINPUT = Path(__file__).resolve().parents[1] / "badinput"


def names(ending: str) -> list[str]:
    return sorted(path.name for path in BADINPUT.glob(f"*.{ending}"))


def refused(leave, tmp_path: Path, name: str) -> None:
    """train.py says what is wrong with a file in one sentence, and makes nothing."""
    code, out, err = leave(
        "train", "--data", BADINPUT / name, "--run", tmp_path / "run"
    )
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert name in err
    assert err.count("\n") == 1
    assert len(err) < 500
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", names("csv"))
def test_row_26_a_broken_csv_file_is_one_sentence(leave, tmp_path, name):
    refused(leave, tmp_path, name)


def test_row_26_a_table_in_other_dress_is_the_same_data(tmp_path, plain_rows):
    rows = [f"{row},{n % 9 / 2}" for n, row in enumerate(plain_rows)]
    text = "\n".join(["user_id,item_id,timestamp,rating", *rows]) + "\n"
    other = text.replace(",", ";").replace(".", ",").replace("\n", "\r\n")
    dresses = {"plain.csv": text.encode(), "other.csv": other.encode("utf-16")}
    plain, dressed = (
        built(tmp_path / name, content) for name, content in dresses.items()
    )
    for column in ("user", "item", "time", "rating", "users", "items"):
        expected = getattr(plain.interactions, column)
        np.testing.assert_array_equal(getattr(dressed.interactions, column), expected)
    np.testing.assert_array_equal(dressed.part, plain.part)


def built(path: Path, content: bytes) -> data.Dataset:
    path.write_bytes(content)
    return data.build(Config(data=str(path)))


@pytest.mark.parametrize("name", names("parquet"))
def test_row_27_a_broken_parquet_file_is_one_sentence(leave, tmp_path, name):
    refused(leave, tmp_path, name)


def test_row_27_columns_of_every_type_are_read(tmp_path):
    """Dictionaries, decimals, dates in nanoseconds and lists, as other programs write them."""
    table = {
        "user_id": pa.array(["a", "b", "a", "b", "a"]).dictionary_encode(),
        "item_id": pa.array([1, 2, 3, 1, 2], pa.int64()),
        "timestamp": pa.array(
            range(1_700_000_000 * 10**9, 1_700_000_005 * 10**9, 10**9)
        ).cast(pa.timestamp("ns")),
        "rating": pa.array(
            [Decimal("4.5"), None, Decimal("3"), Decimal("1"), Decimal("2")]
        ),
    }
    pq.write_table(pa.table(table), tmp_path / "events.parquet")
    split = SplitConfig(kind="ratio", test=0.3, validation=0.3)
    log = data.build(
        Config(data=str(tmp_path / "events.parquet"), split=split)
    ).interactions
    assert log.users.tolist() == ["a", "b"]
    assert log.items[log.item].tolist() == ["1", "3", "2", "2", "1"]
    assert log.time.tolist() == [1_700_000_000 + n for n in (0, 2, 4, 1, 3)]
    np.testing.assert_array_equal(
        log.rating, np.array([4.5, 3, 2, np.nan, 1], np.float32)
    )


def test_row_28_a_missing_column_is_told_with_the_nearest_and_the_flag(
    shop, plain_rows, leave, tmp_path
):
    path = shop(plain_rows, "user_id,itemid,timestamp")
    flags = ["--data", path, "--model", "popularity", "--run", tmp_path / "run"]
    code, _, err = leave("train", *flags)
    assert code == 2
    assert (
        'no column "item_id" (did you mean "itemid"?); it has user_id, itemid, timestamp'
        in err
    )
    assert "--table.item" in err
    code, _, err = leave("train", *flags, "--table.item", "item")
    assert code == 2
    assert 'no column "item" (did you mean "itemid"?)' in err
    mapping = TableConfig(item="itemid")
    assert (
        len(data.build(Config(data=str(path), table=mapping)).interactions.items) == 23
    )
