"""The three files of the NCF paper: train, test, and the items to rank each test item against."""

from __future__ import annotations

import dataclasses
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from ancf_jax.data import columns
from ancf_jax.data.assemble import Entities, assemble
from ancf_jax.data.columns import Rows
from ancf_jax.data.files import lines_of, read_text, sha256
from ancf_jax.data.interactions import TEST, TRAIN, Interactions
from ancf_jax.data.tabular import Table, read_csv
from ancf_jax.data.times import times
from ancf_jax.errors import UserError

ENDS = (".train.rating", ".test.rating", ".test.negative")
_COLUMNS = ("user", "item", "rating", "time")


def read_folder(path: Path) -> Interactions:
    """Events of *.train.rating (TRAIN) and *.test.rating (TEST), with `given_negatives` of *.test.negative.

    The fourth column only orders a user's events (`clock` is false); the test event comes last.
    Ratings are kept where the training file holds more than one value of them. Items known from
    the negatives alone are items, too. Raises UserError where a file is missing or broken, or where
    the lines of negatives do not belong to the test pairs. Source: He et al. 2017.
    """
    files = _files(path)
    train, test = (read_csv(file, _COLUMNS, names=_COLUMNS, delimiter="\t", drop_broken=None) for file in files[:2])
    users, items = (_joined(train, test, name) for name in ("user", "item"))
    latest = np.iinfo(np.int64).max
    time = np.concatenate([times(Rows(train, None), "time")[0], np.full(test.rows, latest)])
    rating = np.concatenate([columns.numbers(Rows(table, None), "rating") for table in (train, test)])
    pairs = _test_pairs(test)
    negatives = _negatives(files[2], pairs)
    log = assemble(
        users,
        items,
        time=time,
        signals={"rating": rating} if np.ptp(rating[: train.rows]) > 0 else {},
        part=np.repeat([TRAIN, TEST], [train.rows, test.rows]),
        item_table=Entities(pa.array(list(dict.fromkeys(chain(*negatives.values()))), pa.large_string())),
        digest=sha256(files),
    )
    return dataclasses.replace(log, given_negatives=_coded(negatives, log))


def _files(path: Path) -> list[Path]:
    """Train, test and negative file of the one data set that `path` (a folder, or one of them) tells of."""
    folder = path if path.is_dir() else path.parent
    stems = sorted(file.name.removesuffix(ENDS[0]) for file in folder.glob("*" + ENDS[0]))
    if path.is_file():
        stems = [stem for stem in stems if path.name in [stem + end for end in ENDS]]
    if len(stems) != 1:
        found = ", ".join(stem + ENDS[0] for stem in stems) or "none"
        raise UserError(f"{path} should lead to one *{ENDS[0]} file, found {found}; pass the one to read with --data")
    files = [folder / (stems[0] + end) for end in ENDS]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UserError(f"{folder} has no {' and no '.join(missing)}; the format ncf needs {', '.join(ENDS)}")
    return files


def _joined(train: Table, test: Table, name: str) -> pa.ChunkedArray:
    parts = [columns.ids(Rows(table, None), name) for table in (train, test)]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks])


def _test_pairs(test: Table) -> dict[str, str]:
    users = test.columns["user"].to_pylist()
    pairs = dict(zip(users, test.columns["item"].to_pylist(), strict=True))
    if len(pairs) < len(users):
        rows = Rows(test, None)
        again = np.ones(len(users), bool)
        again[np.unique(users, return_index=True)[1]] = False
        rows.refuse(again, "user", "one test event per user")
    return pairs


def _negatives(path: Path, pairs: dict[str, str]) -> dict[str, list[str]]:
    """The items of each test user's line, after checking that it begins with the user's test pair."""
    found: dict[str, list[str]] = {}
    for at, line in enumerate(lines_of(read_text(path)), start=1):
        if not line.strip():
            continue
        head, *items = line.rstrip().split("\t")
        user, _, item = head.strip("() ").partition(",")
        if pairs.get(user) != item or user in found:
            raise UserError(
                f'{path}, line {at}: begins with {head[:60]}, expected the test pair of a user, "(user,item)" as in '
                "the .test.rating file, once; correct one of the two files"
            )
        if "" in items or not items:
            raise UserError(f"{path}, line {at}: an empty item or none at all, expected items separated by tabs")
        found[user] = items
    lacking = next((user for user in pairs if user not in found), None)
    if lacking is not None:
        raise UserError(f'{path} has no line for user "{lacking}" of the .test.rating file; add one')
    return found


def _coded(negatives: dict[str, list[str]], log: Interactions) -> np.ndarray:
    """int32 [U, K], -1 padded."""
    code = {item: at for at, item in enumerate(log.items.tolist())}
    table = np.full((len(log.users), max(map(len, negatives.values()))), -1, np.int32)
    for at, user in enumerate(log.users.tolist()):
        row = negatives.get(user, [])
        table[at, : len(row)] = [code[item] for item in row]
    return table
