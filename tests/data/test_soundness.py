"""The saved events of a run are those that were written, or they are refused in one sentence."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.data import TEST, TRAIN, Dataset, Feature, Interactions
from ancf_jax.data.corner_store import Truth
from ancf_jax.data.engagement import Scales
from ancf_jax.data.storage import write_tree
from ancf_jax.errors import UserError


def whole_numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def numbers(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def sound() -> Dataset:
    """5 events of 2 users with 3 items, with every column."""
    log = Interactions(
        user=whole_numbers(0, 0, 0, 1, 1),
        item=whole_numbers(2, 0, 2, 1, 0),
        time=np.array([60, 120, 120, 0, 240]),
        clock=True,
        users=np.array(["a", "b"]),
        items=np.array(["x", "y", "z"]),
        names=np.array(["an x", "a y", "a z"]),
        kind=np.array([0, 1, 1, 0, 1], np.int8),
        kinds=("view", "buy"),
        rating=numbers(1, np.nan, 3, 4, 5),
        dwell=numbers(0, 1, 2, 3, np.nan),
        item_features={
            "department": Feature(
                np.array(["p", "q"]), whole_numbers(0, 1, -1).reshape(3, 1)
            )
        },
        user_features={"age": Feature(np.array(["old"]), np.zeros((2, 1), np.int32))},
        given_part=np.array([0, 2, 2, 0, 2], np.int8),
        given_negatives=whole_numbers(1, -1, 2, -1).reshape(2, 2),
        left_out={"bad": 2},
        digest="f00",
    )
    part = np.array([TRAIN, TEST, TEST, TRAIN, TEST], np.int8)
    truth = Truth(np.full((2, 3), 0.25, np.float32), np.zeros((2, 3), np.float32))
    value = numbers(1, 1, 3, 4, 5)
    place = whole_numbers(0, 0, 1, 0, 0)
    return Dataset(log, part, {"users": 2}, Scales(2.0, 3.0), value, truth, place)


def refusal(folder: Path) -> str:
    """What is said of the file in `folder`."""
    with pytest.raises(UserError) as refused:
        data.load(folder)
    message = str(refused.value)
    assert message.startswith(f"{folder / 'dataset.npz'} is damaged (")
    assert message.endswith("; train again into a new --run")
    return message


def test_a_sound_one_with_a_feature_called_column_is_read(tmp_path):
    log = sound().interactions
    features = {"column": log.item_features["department"]}
    named = replace(log, item_features=features)
    data.save(replace(sound(), interactions=named), tmp_path)
    found = data.load(tmp_path)
    feature = found.interactions.item_features["column"]
    np.testing.assert_array_equal(feature.ids, [[0], [1], [-1]])
    assert found.truth is not None
    assert found.scales == Scales(2.0, 3.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item": whole_numbers(2, 0, 3, 1, 0)}, "item holds 3, expected 0 to 2"),
        ({"item": whole_numbers(2, 0, -1, 1, 0)}, "item holds -1, expected 0 to 2"),
        ({"item": numbers(2, 0, 2, 1, 0)}, "item is float32[5], expected [5] whole"),
        ({"item": whole_numbers(2, 0, 2, 1)}, "item is int32[4], expected [5] whole"),
        ({"user": whole_numbers(0, 0, 0, 1, 2)}, "user holds 2, expected 0 to 1"),
        ({"user": whole_numbers(0, 0, 1, 0, 1)}, "events are in disorder"),
        ({"time": np.array([60, 120, 60, 0, 240])}, "events are in disorder"),
        ({"time": np.array([0, 0, 0, 0, 2**62])}, "time holds 4611686018427387904"),
        ({"time": np.array([-1, 0, 0, 0, 0])}, "time holds -1"),
        ({"kind": np.array([0, 0, 0, 0, 2], np.int8)}, "kind holds 2, expected 0 to 1"),
        ({"names": np.array(["an x"])}, "names is str128[1], expected [3] texts"),
        ({"users": whole_numbers(1, 2)}, "users is int32[2], expected [any] texts"),
        ({"rating": numbers(1, 2, 3, 4, np.inf)}, "rating holds inf"),
        ({"dwell": numbers(1, 2)}, "dwell is float32[2], expected [5] numbers"),
        ({"dwell": [1.0, 2.0]}, "dwell is no column, expected [5] numbers"),
        ({"given_part": np.full(5, 4, np.int8)}, "given_part holds 4, expected 0 to 3"),
        ({"given_negatives": np.full((2, 2), 3)}, "given_negatives holds 3"),
        ({"given_negatives": np.zeros((3, 2), int)}, "given_negatives is int64[3, 2]"),
        ({"item_features": {"f": Feature(np.array(["p"]), np.ones((3, 1), int))}}, "1"),
        (
            {"item_features": {"f": Feature(np.array(["p"]), np.zeros((2, 1), int))}},
            "3",
        ),
        (
            {"user_features": {"f": {"ids": whole_numbers(1)}}},
            "values is a column miss",
        ),
        ({"user_features": [1]}, "user_features is no set of columns"),
        ({"clock": 1}, "clock is 1"),
        ({"kinds": (1, 2)}, "kinds is (1, 2)"),
        ({"left_out": {"bad": "many"}}, "left_out is {'bad': 'many'}"),
        ({"remarks": (5,)}, "remarks is (5,)"),
        ({"digest": None}, "digest is None"),
    ],
)
def test_events_that_cannot_be_are_refused(tmp_path, changes: dict, message: str):
    log = replace(sound().interactions, **changes)
    data.save(replace(sound(), interactions=log), tmp_path)
    assert message in refusal(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": np.full(5, 4, np.int8)}, "part holds 4, expected 0 to 3"),
        ({"part": np.zeros(3, np.int8)}, "part is int8[3], expected [5] whole numbers"),
        ({"value": numbers(1, 2, 3, 4, np.nan)}, "value holds nan"),
        ({"value": None}, "value is no column"),
        ({"audit": [1]}, "audit is no set of figures"),
        ({"scales": {"hover": 0.0, "dwell": 1.0}}, "the scale of hover is 0.0"),
        ({"scales": {"hoover": 1.0}}, "hoover is a column that is none"),
        ({"basket_place": whole_numbers(0, 0, 6, 0, 0)}, "basket_place holds 6"),
        ({"truth": (np.zeros((2, 3)), np.zeros((3, 2)))}, "truth is float64[3, 2]"),
        ({"truth": (np.zeros((2, 3)), np.full((2, 3), 2.0))}, "truth holds 2.0"),
    ],
)
def test_decisions_that_cannot_be_are_refused(tmp_path, changes: dict, message: str):
    data.save(replace(sound(), **changes), tmp_path)
    assert message in refusal(tmp_path)


def tree_of(made: Dataset) -> dict[str, Any]:
    return vars(made) | {"interactions": vars(made.interactions).copy()}


@pytest.mark.parametrize("place", ["data", "events"])
def test_a_column_that_is_none_is_refused_and_a_missing_one_told(tmp_path, place):
    tree = tree_of(sound())
    within = tree if place == "data" else tree["interactions"]
    needed = "part" if place == "data" else "item"
    write_tree(tmp_path / "dataset.npz", tree | {"mood": whole_numbers(1)})
    assert "mood is a column that is none" in refusal(tmp_path)
    del within[needed]
    write_tree(tmp_path / "dataset.npz", tree)
    assert f"the {place}: {needed} is a column missing" in refusal(tmp_path)


def test_older_files_without_remarks_digest_and_baskets_are_read(tmp_path):
    tree = tree_of(sound())
    del tree["interactions"]["remarks"]
    del tree["basket_place"]
    file = tmp_path / "dataset.npz"
    write_tree(file, tree)
    with np.load(file) as columns:
        older = {name: columns[name] for name in columns if name != "digest"}
    np.savez(file, **older)
    found = data.load(tmp_path)
    assert found.interactions.remarks == ()
    assert found.basket_place is None


def columns_of(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as columns:
        return dict(columns)


def test_a_column_that_was_changed_is_not_what_its_digest_says(tmp_path):
    """Also where its own checksum and its range are right."""
    file = tmp_path / "dataset.npz"
    data.save(sound(), tmp_path)
    columns = columns_of(file)
    (item,) = [
        name
        for name, column in columns.items()
        if column.tolist() == sound().interactions.item.tolist()
    ]
    np.savez(file, **columns | {item: whole_numbers(2, 0, 2, 1, 1)})
    assert "not what its digest says" in refusal(tmp_path)
    np.savez(file, **columns | {"surplus": whole_numbers(1)})
    refusal(tmp_path)
    del columns["digest"]
    np.savez(file, **columns | {"surplus": whole_numbers(1)})
    assert "surplus is a column that is none" in refusal(tmp_path)


def header(shape: tuple[int, ...], kind: str = "<i4") -> bytes:
    """What stands before the numbers of a column."""
    stream = io.BytesIO()
    said = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, said)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((10**12,), "<i4"),
        ((10**9, 10**9), "<i4"),
        ((10**12,), "<U0"),
        ((-1, -5), "<i4"),
    ],
)
def test_a_shape_that_its_file_cannot_hold_is_refused_before_memory_is_taken(
    tmp_path, shape, kind
):
    file = tmp_path / "dataset.npz"
    data.save(sound(), tmp_path)
    columns = columns_of(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("column 0.npy", header(shape, kind) + bytes(20))
        for name, column in columns.items():
            if name != "column 0":
                stream = io.BytesIO()
                np.save(stream, column)
                archive.writestr(f"{name}.npy", stream.getvalue())
    assert f"column 0.npy says {kind}{list(shape)}, which is no 20 bytes" in refusal(
        tmp_path
    )


def test_a_column_that_grows_when_it_is_unpacked_is_refused(tmp_path):
    file = tmp_path / "dataset.npz"
    data.save(sound(), tmp_path)
    np.savez_compressed(file, **columns_of(file) | {"zeros": np.zeros(10**7)})
    assert "larger than their file" in refusal(tmp_path)
