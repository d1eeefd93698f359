"""The files that were published with the paper on neural collaborative filtering.

Source: He et al. 2017, "Neural Collaborative Filtering".
"""

import dataclasses
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from ancf_jax.config import Config, TableConfig
from ancf_jax.data.assemble import Entities, assemble, join_parts
from ancf_jax.data.columns import LONGEST_ID
from ancf_jax.data.files import read_csv
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.mapping import usable_events
from ancf_jax.data.text import read_text
from ancf_jax.errors import UserError

_TRAIN_END = ".train.rating"
_TEST_END = ".test.rating"
_NEGATIVES_END = ".test.negative"
_ENDS = (_TRAIN_END, _TEST_END, _NEGATIVES_END)
_NAMES = ("user_id", "item_id", "rating", "timestamp")


def is_ncf(path: Path) -> bool:
    """Whether `path` is one of the three files, or a folder that holds training events."""
    if path.name.endswith(_ENDS):
        return True
    return path.is_dir() and any(path.glob("*" + _TRAIN_END))


def read_ncf(path: Path, config: Config) -> Interactions:
    """Events of *.train.rating (TRAIN) and *.test.rating (TEST), one test event a user.

    The lists of *.test.negative become `given_negatives`. Negatives without events are items,
    too. Times only order training events (`clock` is false), and the test event comes last.
    Ratings are kept where those of training differ.
    """
    files = _find_files(path if path.is_dir() else path.parent)
    train_file, test_file, negatives_file = files
    settings = TableConfig(
        encoding=config.table.encoding, drop_broken=config.table.drop_broken
    )
    train = read_csv(train_file, _NAMES, settings, _NAMES, "\t")
    test_names = (*_NAMES[:3], "unused")  # the times of test events do not count
    test = read_csv(test_file, _NAMES[:3], settings, test_names, "\t")
    test.ids("user_id", only_once=True)
    train_events = usable_events(train, TableConfig())
    test_events = usable_events(test, TableConfig())
    events = _join_events(train_events, test_events)
    negatives = _read_negatives(negatives_file, test_events, settings.encoding)
    items = Entities(_distinct_items(negatives), surplus=np.inf)
    log = assemble(events, (train, test), [negatives_file], items=items)
    given_negatives = _given_negatives(log, negatives)
    return dataclasses.replace(log, given_negatives=given_negatives)


def _find_files(folder: Path) -> list[Path]:
    """The files of training events, test events and negatives."""
    files = [sorted(folder.glob("*" + end)) for end in _ENDS]
    if any(len(found) != 1 for found in files):
        names = ", ".join(file.name for file in chain(*files)) or "none"
        raise UserError(
            f"{folder} should hold one file each of *{', *'.join(_ENDS)}, found {names}"
        )
    return [*chain(*files)]


def _join_events(train: pa.Table, test: pa.Table) -> pa.Table:
    events = join_parts(train, test)
    # Test events have no time here; the largest int64 puts them last.
    order = events["time"].cast(pa.int64()).fill_null(np.iinfo(np.int64).max)
    unwanted = ["time"]
    if len(train["rating"].unique()) == 1:
        unwanted.append("rating")
    return events.drop_columns(unwanted).append_column("time", order)


def _read_negatives(
    path: Path, test_events: pa.Table, encoding: str
) -> dict[str, list[str]]:
    """User -> items of the user's line, which begins with the user and the test item."""
    users = test_events["user"].to_pylist()
    items = test_events["item"].to_pylist()
    test_item = dict(zip(users, items, strict=True))
    negatives: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path, encoding).split("\n"), start=1):
        pair, *listed = line.rstrip().split("\t")
        if not pair:
            continue
        user, _, item = pair.strip("() ").partition(",")
        is_expected = test_item.get(user) == item and user not in negatives
        is_listed = all(1 <= len(item) <= LONGEST_ID for item in listed)
        if not is_expected or not listed or not is_listed:
            raise UserError(
                f"{path}, line {number}: found {line[:40]!r}, "
                f"expected (user,item) of {_TEST_END}, every user once, "
                f"and then items of 1 to {LONGEST_ID} characters, all separated by tabs; "
                "correct one of the files"
            )
        negatives[user] = listed
    lacking = sorted(set(test_item) - set(negatives))
    if lacking:
        raise UserError(
            f'{path} has no line for user "{lacking[0]}" of {_TEST_END}; add one'
        )
    return negatives


def _distinct_items(negatives: dict[str, list[str]]) -> pa.Array:
    items = dict.fromkeys(chain(*negatives.values()))
    return pa.array(items, pa.large_string())


def _given_negatives(log: Interactions, negatives: dict[str, list[str]]) -> np.ndarray:
    """int32 [U, K] the negatives of each user as numbers of items, -1 padded."""
    number_of = {item: number for number, item in enumerate(log.items.tolist())}
    width = max(map(len, negatives.values()), default=0)
    given = np.full((len(log.users), width), -1, np.int32)
    for row, user in zip(given, log.users.tolist(), strict=True):
        numbers = [number_of[item] for item in negatives.get(user, [])]
        row[: len(numbers)] = numbers
    return given
