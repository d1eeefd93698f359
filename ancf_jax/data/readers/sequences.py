"""Sequences of items, a user a line, as published with SASRec, S3-Rec and gSASRec."""

import dataclasses
import json
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ancf_jax.config import Config
from ancf_jax.data.assemble import ITEM_SURPLUS, NOTHING_KNOWN, Entities, assemble
from ancf_jax.data.columns import LONGEST_ID, feature
from ancf_jax.data.files import DELIMITERS
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION, Interactions
from ancf_jax.data.text import UTF_8, head_line, read_text
from ancf_jax.errors import UserError

_WORD = re.compile(r"[^ \t\n\v\f\r]+")
_OTHER_TEXTS = ("readme", "license", "validation_users")


def find_sequences(path: Path, encoding: str = UTF_8) -> Path | None:
    """The file itself, or the only .txt of a folder, if its first line is words and blanks."""
    texts = [path] if path.is_file() else path.glob("*.txt")
    files = [file for file in texts if not file.name.lower().startswith(_OTHER_TEXTS)]
    if len(files) != 1:
        return None
    line = head_line(files[0], encoding)
    has_delimiter = any(delimiter in line for delimiter in DELIMITERS)
    return files[0] if len(_words(line)) > 1 and not has_delimiter else None


def _words(text: str) -> list[str]:
    """The words between ASCII blanks; any other blank, such as U+00A0, is part of an id."""
    return _WORD.findall(text)


def read_sequences(path: Path, config: Config) -> Interactions:
    """Lines of `user item item ...`, oldest first.

    A user on several lines goes on where the last one ended. Beside NAME.txt,
    NAME_item2attributes.json holds the item feature "attribute", and validation_users.txt fixes
    the split as in gSASRec.

    Raises:
        UserError: for a line without items, or a listed user without a line.
    """
    encoding = config.table.encoding
    file = find_sequences(path, encoding)
    if file is None:
        raise UserError(
            f"{path} is not, and holds not one, .txt of words between blanks; "
            "pass one with --data"
        )
    events = _read_events(file, encoding)
    listed = file.with_name("validation_users.txt")
    attributes = file.with_name(file.stem + "_item2attributes.json")
    items = NOTHING_KNOWN
    if attributes.is_file():
        items = _read_attributes(attributes, encoding)
    files = [used for used in (file, listed, attributes) if used.is_file()]
    log = assemble(events, (), files, items=items)
    if not listed.is_file():
        return log
    return dataclasses.replace(log, given_part=_gsasrec_parts(log, listed, encoding))


def _read_events(file: Path, encoding: str) -> pa.Table:
    users = []
    items = []
    for number, line in enumerate(read_text(file, encoding).split("\n"), start=1):
        user, *sequence = _words(line) or [""]
        if user and not sequence:
            raise UserError(
                f'{file}, line {number}: "{user[:60]}" alone, '
                "expected a user and then items"
            )
        _check_ids(file, number, user, sequence)
        users += [user] * len(sequence)
        items += sequence
    columns = {"user": users, "item": items}
    schema = pa.schema([(name, pa.large_string()) for name in columns])
    return pa.table(columns, schema)


def _check_ids(file: Path, line: int, user: str, items: list[str]) -> None:
    for word in (user, *items):
        if len(word) > LONGEST_ID:
            raise UserError(
                f"{file}, line {line}: found {word[:60]!r}... of {len(word):,} characters, "
                f"expected ids of 1 to {LONGEST_ID} characters; shorten it"
            )


def _gsasrec_parts(log: Interactions, file: Path, encoding: str) -> np.ndarray:
    """int8 [N]: the part of every event by its place from the end of the user's history.

    Users whom `file` lists validate with the event before the last one. Of the others the event
    before the last one is unused, and of the listed ones that before it.
    """
    names = _words(read_text(file, encoding))
    unknown = sorted(set(names) - set(log.users.tolist()))
    if unknown:
        raise UserError(
            f'{file}: user "{unknown[0]}" has no line of items; '
            "remove it or add the line"
        )
    from_end = np.bincount(log.user)[log.user] - 1 - log.time
    is_listed = np.isin(log.users, names)[log.user]
    parts_from_end = np.array(
        [[TEST, UNUSED, TRAIN, TRAIN], [TEST, VALIDATION, UNUSED, TRAIN]], np.int8
    )
    return parts_from_end[is_listed.astype(int), np.minimum(from_end, 3)]


def _read_attributes(file: Path, encoding: str) -> Entities:
    """The feature "attribute" from a JSON object of item -> list of values."""
    try:
        attributes = json.loads(read_text(file, encoding))
        if not _is_object_of_lists(attributes):
            raise ValueError("it holds something else")
        ids = pa.array(attributes, pa.large_string())
        texts = [[str(value) for value in values] for values in attributes.values()]
        _check_texts(chain(attributes, *texts))
        lists = pa.array(texts, pa.list_(pa.large_string()))
    except (ValueError, RecursionError) as problem:
        raise UserError(
            f"{file} is not a JSON object of item -> list of values ({problem}); "
            "correct it"
        ) from None
    features = {"attribute": feature(lists)}
    return Entities(ids, features=features, surplus=ITEM_SURPLUS)


def _check_texts(texts: Iterable[str]) -> None:
    """Raises ValueError for text that is no id and no value of a feature."""
    for text in texts:
        if "\x00" in text:
            raise ValueError("it holds a NUL character")
        if len(text) > LONGEST_ID:
            raise ValueError(f"it holds a text of more than {LONGEST_ID} characters")


def _is_object_of_lists(value: Any) -> bool:
    if not isinstance(value, dict) or "" in value:
        return False
    return all(isinstance(values, list) for values in value.values())
