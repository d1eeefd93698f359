"""Layouts are told apart, and read as their sources define them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ancf_jax.config import Config, SplitConfig
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION, Interactions
from ancf_jax.data.readers import detect, read
from ancf_jax.errors import UserError


def _write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="latin-1")
    return folder


def _read(path: Path, fold: str = "") -> Interactions:
    return read(Config(data=str(path), split=SplitConfig(fold=fold)))


def _items(log: Interactions) -> dict[str, list[str]]:
    return {
        str(user): log.items[log.item[log.user == number]].tolist()
        for number, user in enumerate(log.users)
    }


def _parts(log: Interactions) -> dict[str, list[int]]:
    assert log.given_part is not None
    return {
        str(user): log.given_part[log.user == number].tolist()
        for number, user in enumerate(log.users)
    }


def _feature(log: Interactions, name: str) -> list[list[str]]:
    feature = (log.item_features | log.user_features)[name]
    return [feature.values[row[row >= 0]].tolist() for row in feature.ids]


ML_100K = {
    "u__data": "1\t20\t3\t881250949\n2\t10\t4\t881250940\n1\t10\t5\t881250948\n",
    "u__item": (
        "10|Café (1995)|01-Jan-1995||u|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|1|0\n"
        "20|Toy|01-Jan-1995||u|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    ),
    "u__user": "1|17|F|artist|85711\n2|53|M|other|94043\n",
    "u1__base": "1\t20\t3\t881250949\n2\t10\t4\t881250940\n",
    "u1__test": "1\t10\t5\t881250948\n",
}


def test_movielens_100k(tmp_path):
    log = _read(_write(tmp_path, **ML_100K))
    assert _items(log) == {"1": ["10", "20"], "2": ["10"]}
    assert log.rating.tolist() == [5, 3, 4]
    assert log.time.tolist() == [881250948, 881250949, 881250940]
    assert log.names.tolist() == ["Toy", "Café (1995)"]
    assert _feature(log, "genres") == [[], ["Action", "War"]]
    assert _feature(log, "age") == [["17"], ["53"]]
    assert _feature(log, "gender") == [["F"], ["M"]]
    assert _feature(log, "occupation") == [["artist"], ["other"]]
    assert log.given_part is None


def test_movielens_fold_marks_train_and_test(tmp_path):
    folder = _write(tmp_path, **ML_100K)
    log = _read(folder, fold="u1")
    assert _parts(log) == {"1": [TEST, TRAIN], "2": [TRAIN]}
    with pytest.raises(UserError, match=r'no fold "u7".*it has u1'):
        _read(folder, fold="u7")


def test_movielens_1m(tmp_path):
    folder = _write(
        tmp_path,
        ratings__dat="1::20::3::978300760\n2::10::4::978300761\n",
        movies__dat="10::Crème: Part 2::Drama|War\n20::Toy::Comedy\n",
        users__dat="1::F::1::10::48067\n2::M::56::16::70072\n",
    )
    log = _read(folder)
    assert log.names.tolist() == ["Toy", "Crème: Part 2"]
    assert _feature(log, "genres") == [["Comedy"], ["Drama", "War"]]
    assert _feature(log, "age") == [["1"], ["56"]]


def test_titles_of_movielens_10m_are_in_utf_8(tmp_path):
    folder = _write(tmp_path, ratings__dat="1::20::3::978300760\n")
    (folder / "movies.dat").write_text("20::Crème::Drama\n", encoding="utf-8")
    assert _read(folder).names.tolist() == ["Crème"]


def test_movielens_csv(tmp_path):
    folder = _write(
        tmp_path,
        ratings__csv="userId,movieId,rating,timestamp\n1,20,3.5,978300760\n",
        movies__csv='movieId,title,genres\n20,"Toy, The",Comedy|War\n30,New,(no genres listed)\n',
    )
    for path in (folder, folder / "ratings.csv"):
        log = _read(path)
        assert log.names.tolist() == ["Toy, The", "New"]
        assert _feature(log, "genres") == [["Comedy", "War"], ["(no genres listed)"]]


def test_other_columns_of_movielens_csv_are_read_too(tmp_path):
    text = (
        "userId,movieId,rating,timestamp,event\n"
        "1,20,3.5,978300760,rate\n"
        "1,30,2,978300761,watch\n"
    )
    log = _read(_write(tmp_path, ratings__csv=text))
    assert log.kinds == ("rate", "watch")
    assert log.item_features == {}


def test_ncf_files(tmp_path):
    folder = _write(
        tmp_path,
        s__train__rating="a\tx\t1\t978300009\na\ty\t1\t978300002\nb\tx\t1\t978300005\n",
        s__test__rating="b\tz\t5\t978300001\na\tz\t4\t978300001\n",
        s__test__negative="(a,z)\tx\tq\n(b,z)\ty\tr\ts\tt\tu\tv\n",
    )
    log = _read(folder)
    assert not log.clock
    assert _items(log) == {"a": ["y", "x", "z"], "b": ["x", "z"]}
    assert _parts(log) == {"a": [TRAIN, TRAIN, TEST], "b": [TRAIN, TEST]}
    assert log.rating is None  # the training file has one value only
    assert log.items[log.given_negatives[0, :2]].tolist() == ["x", "q"]
    assert log.given_negatives[0, 2:].tolist() == [-1] * 4
    assert log.items[log.given_negatives[1]].tolist() == ["y", "r", "s", "t", "u", "v"]
    assert log.given_negatives.dtype == np.int32
    assert detect(folder / "s.test.rating") == "ncf"


def test_sequences_with_attributes(tmp_path):
    folder = _write(
        tmp_path,
        shop__txt="1 20 10 20\n2 30\n1 40\n",
        shop_item2attributes__json=json.dumps({"10": [7, 8], "30": [8], "50": [9]}),
    )
    log = _read(folder)
    assert _items(log) == {"1": ["20", "10", "20", "40"], "2": ["30"]}
    assert log.time.tolist() == [0, 1, 2, 3, 0]
    assert not log.clock
    assert _feature(log, "attribute") == [[], ["7", "8"], ["8"], [], ["9"]]
    assert log.given_part is None


def test_sequences_are_split_at_ascii_blanks_alone(tmp_path):
    text = "ann té\u00a0vert\x1fx  milk egg\nbob\u2003b\t\x0begg\n"
    (tmp_path / "shop.txt").write_text(text, encoding="utf-8")
    (tmp_path / "validation_users.txt").write_text("bob\u2003b ann", encoding="utf-8")
    log = _read(tmp_path)
    assert _items(log) == {
        "ann": ["té\u00a0vert\x1fx", "milk", "egg"],
        "bob\u2003b": ["egg"],
    }
    assert _parts(log)["ann"] == [UNUSED, VALIDATION, TEST]


@pytest.mark.parametrize("line", ["bob milk {long} egg", "{long} milk"])
def test_ids_of_sequences_have_at_most_256_characters(tmp_path, line):
    path = tmp_path / "shop.txt"
    path.write_text("ann tea\n" + line.format(long="é" * 256) + "\n", encoding="utf-8")
    assert "é" * 256 in {*_read(path).users.tolist(), *_read(path).items.tolist()}
    path.write_text("ann tea\n" + line.format(long="é" * 1_000_003), encoding="utf-8")
    words = (
        r"line 2: found 'é+'\.\.\. of 1,000,003 characters, expected ids of 1 to 256"
    )
    with pytest.raises(UserError, match=words):
        _read(path)


def test_negatives_and_attributes_have_at_most_256_characters(tmp_path):
    folder = _write(
        tmp_path / "ncf",
        s__train__rating="a\tx\t1\t978300009\n",
        s__test__rating="a\tz\t4\t978300001\n",
        s__test__negative=f"(a,z)\tx\t{'q' * 257}\n",
    )
    with pytest.raises(UserError, match=r"line 1: found .*, expected .* of 1 to 256"):
        _read(folder)
    folder = _write(
        tmp_path / "sequences",
        shop__txt="ann tea milk\n",
        shop_item2attributes__json=json.dumps({"tea": ["h" * 257]}),
    )
    with pytest.raises(UserError, match="holds a text of more than 256 characters"):
        _read(folder)


def test_validation_users_fix_the_split_of_gsasrec(tmp_path):
    folder = _write(
        tmp_path,
        sequences__txt="a 1 2 3 4 5\nb 1 2 3 4\nc 9\n",
        validation_users__txt="a\n",
    )
    assert _parts(_read(folder)) == {
        "a": [TRAIN, TRAIN, UNUSED, VALIDATION, TEST],
        "b": [TRAIN, TRAIN, UNUSED, TEST],
        "c": [TEST],
    }


@pytest.mark.parametrize(
    ("name", "text", "layout"),
    [
        ("shop.csv", "user_id,item_id\na,x\n", "table"),
        ("shop.txt", "user_id;item_id\na;x\n", "table"),
        ("shop.txt", "a x y\n", "sequences"),
        ("u.data", "1\t2\t3\t4\n", "movielens"),
        ("ratings.csv", "userId,movieId,rating\n1,2,3\n", "movielens"),
        ("ratings.csv", "user_id,item_id,rating\n1,2,3\n", "table"),
        ("interactions.parquet", "", "table"),
        ("x.train.rating", "", "ncf"),
    ],
)
def test_the_layout_is_told_from_the_file_or_its_folder(tmp_path, name, text, layout):
    (tmp_path / name).write_text(text)
    assert detect(tmp_path / name) == layout
    if not (name == "shop.txt" and layout == "table"):
        assert detect(tmp_path) == layout


def test_what_cannot_be_found_or_told_is_explained(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist; pass .*--data"):
        _read(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no known layout: it holds nothing"):
        _read(tmp_path)
    for name in ("table", "movielens", "ncf", "sequences"):
        with pytest.raises(UserError):
            read(Config(data=str(tmp_path), format=name))  # type: ignore[arg-type]
    _write(tmp_path, a__csv="user_id,item_id\na,x\n")
    with pytest.raises(UserError, match=r"--split\.fold u1 is for movielens"):
        _read(tmp_path, fold="u1")


def test_a_folder_of_tables_is_refused_with_the_file_to_pass(shared_data):
    message = (
        r"it holds products\.csv, transactions\.csv; .* --data .*/transactions\.csv$"
    )
    with pytest.raises(UserError, match=message):
        _read(shared_data / "completejourney")


@pytest.mark.parametrize(
    ("name", "layout", "users", "items", "events"),
    [
        ("ml-100k", "movielens", 943, 1682, 100000),
        ("ncf-ml-1m", "ncf", 6040, 3706, 994169 + 6040),
        ("gsasrec-ml-1m", "sequences", 6040, 3416, 999611),
        ("s3rec-beauty", "sequences", 22363, 12101, 198502),
    ],
)
def test_real_data_has_the_published_size(
    shared_data, name, layout, users, items, events
):
    assert detect(shared_data / name) == layout
    log = _read(shared_data / name)
    assert (len(log.users), len(log.items), len(log.user)) == (users, items, events)
    assert (np.diff(log.user) >= 0).all()
    assert (np.diff(log.time)[np.diff(log.user) == 0] >= 0).all()
    if name == "gsasrec-ml-1m":
        # One test item each, 512 validation items, one unused each (third- or second-last).
        training = events - 2 * 6040 - 512
        assert np.bincount(log.given_part).tolist() == [training, 512, 6040, 6040]
    if name == "ncf-ml-1m":
        assert log.given_negatives.shape == (6040, 99)
