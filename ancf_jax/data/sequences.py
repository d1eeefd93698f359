"""Sequences as SASRec and its kin keep them: one line per user, `user item item ...`, oldest first."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from ancf_jax.data.assemble import Entities, assemble, positions
from ancf_jax.data.columns import feature
from ancf_jax.data.files import lines_of, read_text, sha256
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION, Interactions
from ancf_jax.data.table import worth_keeping
from ancf_jax.data.tabular import DELIMITERS
from ancf_jax.errors import UserError

VALIDATION_USERS = "validation_users.txt"
ATTRIBUTES = "_item2attributes.json"


def read_folder(path: Path) -> Interactions:
    """The lines of a text file; `clock` is false, a user on several lines goes on where the last one ended.

    Beside it may lie NAME_item2attributes.json, the values of the item feature "attribute", and
    validation_users.txt, which fixes the split as in gSASRec: the last item of every user is TEST,
    the second-last VALIDATION for listed users and UNUSED for the others, and the third-last of
    listed users is UNUSED; all the rest is TRAIN. Raises UserError for a line without items, a
    listed user without a line, or a file that cannot be read.
    """
    file = find(path)
    if file is None:
        raise UserError(f"{path} holds no single .txt file of sequences; pass the file itself with --data")
    users, items = _tokens(file)
    listed, attributes = file.parent / VALIDATION_USERS, file.with_name(file.stem + ATTRIBUTES)
    left_out: Counter[str] = Counter()
    table = _attributes(attributes) if attributes.is_file() else None
    log = assemble(
        users,
        items,
        item_table=None if table is None else worth_keeping(table, items, left_out),
        left_out=left_out,
        digest=sha256(used for used in (file, listed, attributes) if used.is_file()),
    )
    if listed.is_file():
        log = dataclasses.replace(log, given_part=_parts(log, listed))
    return log


def find(path: Path) -> Path | None:
    """The file of sequences in a folder: sequences.txt, the one with attributes, or the only .txt that fits."""
    if path.is_file():
        return path
    texts = [file for file in sorted(path.glob("*.txt")) if file.name != VALIDATION_USERS]
    texts = [file for file in texts if not file.stem.lower().startswith(("readme", "license"))]
    named = [file for file in texts if file.stem == "sequences" or file.with_name(file.stem + ATTRIBUTES).is_file()]
    candidates = named or texts
    return candidates[0] if len(candidates) == 1 else None


def looks_right(file: Path) -> bool:
    """Whether the first line is of words separated by blanks, not of columns."""
    first = next((line for line in lines_of(read_text(file)) if line.strip()), "")
    return not any(mark in first for mark in DELIMITERS) and len(first.split()) > 1


def _tokens(file: Path) -> tuple[pa.Array, pa.Array]:
    """User and item of every event, as text [N]."""
    lines = [line.split() for line in lines_of(read_text(file))]
    bare = next((at for at, line in enumerate(lines, start=1) if len(line) == 1), None)
    if bare is not None:
        raise UserError(f'{file}, line {bare}: "{lines[bare - 1][0][:60]}" alone, expected a user and then items')
    lines = [line for line in lines if line]
    if not lines:
        raise UserError(f"{file} holds only blanks, expected a user and then items on each line")
    if any(mark in lines[0][0] for mark in DELIMITERS):
        raise UserError(f"{file}, line 1: columns, expected words separated by blanks; pass --format table")
    counts = np.array([len(line) - 1 for line in lines])
    users = pa.array([line[0] for line in lines], pa.large_string())
    items = pa.array(list(chain.from_iterable(line[1:] for line in lines)), pa.large_string())
    return users.take(pa.array(np.repeat(np.arange(len(lines)), counts))), items


def _parts(log: Interactions, file: Path) -> np.ndarray:
    """int8 [N]: the split of gSASRec, see `read_folder`."""
    names = read_text(file).split()
    unknown = sorted(set(names) - set(log.users.tolist()))
    if unknown:
        raise UserError(f'{file}: user "{unknown[0]}" has no line of items; remove it or add the line')
    is_listed = np.isin(log.users, names)[log.user]
    length = np.bincount(log.user)[log.user]
    from_end = length - 1 - positions(log.user)
    part = np.full(len(log.user), TRAIN, np.int8)
    part[from_end == 0] = TEST
    part[from_end == 1] = np.where(is_listed, VALIDATION, UNUSED)[from_end == 1]
    part[(from_end == 2) & is_listed] = UNUSED
    return part


def _attributes(file: Path) -> Entities:
    """The feature "attribute" from a JSON object of item -> list of values."""
    try:
        told = json.loads(read_text(file))
        if not isinstance(told, dict) or "" in told or not all(isinstance(values, list) for values in told.values()):
            raise UserError(f"{file} holds something else than an object of item -> list of values; correct it")
        ids = pa.array(list(told), pa.large_string())
        values = pa.array([str(value) for values in told.values() for value in values], pa.large_string())
    except (ValueError, RecursionError) as problem:
        raise UserError(f"{file} is not JSON ({problem}); expected an object of item -> list of values") from None
    row = np.repeat(np.arange(len(told)), [len(values) for values in told.values()])
    return Entities(ids, None, {"attribute": feature(row, values, len(told))})
