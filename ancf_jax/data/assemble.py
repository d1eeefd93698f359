"""From columns in any order to `Interactions`: vocabularies, sorting, aligned features."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ancf_jax.data.columns import Texts, code, encode, release_memory
from ancf_jax.data.interactions import TEST, TRAIN, Feature, Interactions
from ancf_jax.data.tabular import Table
from ancf_jax.errors import UserError


class Entities(NamedTuple):
    """What is known of R items or users besides their events.

    Attributes:
        ids: text [R], every id once.
        names: text [R], "" where an item has none; or empty where no item has one.
        features: features by name, with R rows.
        surplus: those without events are kept if R is at most `surplus` times the number of
            those with events.
    """

    ids: Texts = pa.array([], pa.large_string())
    names: Sequence[str] = ()
    features: Mapping[str, Feature] = {}
    surplus: float = 0


class _Vocabulary(NamedTuple):
    """The V items or users of the log.

    Attributes:
        ids: text [V], those with events first, in order of first appearance.
        row: int32 [V] row in the `Entities`, -1 for none.
    """

    ids: np.ndarray
    row: np.ndarray


NOTHING_KNOWN = Entities()
# New items are wanted, but not a list that is far longer than that of the items with events.
ITEM_SURPLUS = 2
_MICROSECONDS = 1_000_000  # of a second
_ROWS = 1 << 18  # that are put in order at a time
_PIECE = 1 << 20  # bytes of a file that are held at a time
_TEXT_COLUMNS = ("user", "item", "event")


def assemble(
    events: pa.Table,
    tables: Sequence[Table],
    files: Sequence[Path] = (),
    items: Entities = NOTHING_KNOWN,
    users: Entities = NOTHING_KNOWN,
) -> Interactions:
    """The log of N raw events, sorted by (user, time, input order).

    Args:
        events: texts `user`, `item` and maybe `event` (its kind); maybe `time`, a timestamp or
            an int64 that only orders; maybe `given_part` and signals such as `rating`.
        tables: what all comes from; their broken rows are counted.
        files: further files that it comes from; all bytes make the digest.
        items: what is known of items.
        users: what is known of users.

    Raises:
        UserError: where there are no events.
    """
    columns = _numeric_columns(events)
    user, columns["user"] = _vocabulary(events["user"], users)
    item, columns["item"] = _vocabulary(events["item"], items)
    kinds, columns["kind"] = _kinds(events)
    del events  # memory is short with many events
    release_memory()
    log, clock = _in_order(columns)
    return Interactions(
        **log,
        clock=clock,
        users=user.ids,
        items=item.ids,
        names=_names(items, item),
        kinds=kinds,
        item_features=_aligned(items, item.row),
        user_features=_aligned(users, user.row),
        left_out=_count_left_out(tables, items, item),
        remarks=tuple(chain(*(table.remarks for table in tables))),
        digest=_digest([*(table.path for table in tables), *files]),
    )


def _vocabulary(
    column: pa.ChunkedArray, known: Entities
) -> tuple[_Vocabulary, np.ndarray]:
    """The users or items, and int32 [N] the place of each event's among them."""
    if not len(column):
        raise UserError(
            "no events are left to work with; look at the rows that were left out"
        )
    events = code(column)
    # The ids of the events come first, in their order; those that are known besides follow.
    known_ids = code(known.ids).cast(pa.large_string())
    ids, number = encode(pa.concat_arrays([events.dictionary, known_ids]))
    event_code = np.asarray(events.indices)
    known_code = number[len(events.dictionary) :]
    size = len(events.dictionary)
    if len(known_code) <= known.surplus * size:
        size = len(ids)
    row = np.full(len(ids), -1, np.int32)
    row[known_code] = np.arange(len(known_code))
    return _Vocabulary(ids[:size], row[:size]), event_code


def _kinds(events: pa.Table) -> tuple[tuple[str, ...], np.ndarray]:
    """The kinds of events, and int8 [N] the kind of each."""
    if "event" not in events.column_names:
        return ("interaction",), np.zeros(len(events), np.int8)
    kinds, kind = encode(events["event"])
    return tuple(kinds.tolist()), kind.astype(np.int8)


def _numeric_columns(events: pa.Table) -> dict[str, np.ndarray]:
    names = [name for name in events.column_names if name not in _TEXT_COLUMNS]
    return {name: events[name].to_numpy() for name in names}


def _in_order(columns: dict[str, np.ndarray]) -> tuple[dict[str, Any], bool]:
    """The columns sorted by (user, time, input order), and whether `time` is a real time.

    The columns are given up, one by one. A real time becomes seconds, any other the number of
    the moment in the user's history.
    """
    columns.setdefault("time", np.arange(len(columns["user"])))
    order = np.lexsort((columns["time"], columns["user"])).astype(np.int32)
    log = {}
    for name in list(columns):
        log[name] = _reordered(columns.pop(name), order)
        release_memory()
    clock = log["time"].dtype.kind == "M"
    if clock:
        micros = log["time"].view(np.int64)
        log["time"] = np.floor_divide(micros, _MICROSECONDS, out=micros)
    else:
        log["time"] = _number_of_moment(log["user"], log["time"])
    return log, clock


def _reordered(column: np.ndarray, order: np.ndarray) -> np.ndarray:
    """column[order], some rows at a time, for NumPy makes wider numbers of the whole order."""
    ordered = np.empty_like(column)
    for begin in range(0, len(order), _ROWS):
        rows = slice(begin, begin + _ROWS)
        ordered[rows] = column[order[rows]]
    return ordered


def _number_of_moment(user: np.ndarray, time: np.ndarray) -> np.ndarray:
    """How many earlier moments the user of each event has: int64 [N]; both sorted."""
    is_first = np.diff(user, prepend=-1) != 0
    is_new = is_first | (np.diff(time, prepend=0) != 0)
    moment = np.cumsum(is_new)
    first_event = np.maximum.accumulate(np.where(is_first, np.arange(len(user)), 0))
    return moment - moment[first_event]


def _names(items: Entities, vocabulary: _Vocabulary) -> np.ndarray:
    """text [I]: the name of each item, or its id where it has none."""
    known = items.names or [""] * len(items.ids)
    # An item without a row has row -1, which meets the empty name at the end.
    names = np.array([*known, ""])[vocabulary.row]
    return np.where(names != "", names, vocabulary.ids)


def _aligned(known: Entities, row: np.ndarray) -> dict[str, Feature]:
    """The features of each id; row -1 meets the row without values that is put at the end."""
    aligned = {}
    for name, feature in known.features.items():
        padded = np.pad(feature.ids, ((0, 1), (0, 0)), constant_values=-1)
        aligned[name] = Feature(feature.values, padded[row])
    return aligned


def _count_left_out(
    tables: Sequence[Table], items: Entities, vocabulary: _Vocabulary
) -> dict[str, int]:
    kept = int((vocabulary.row >= 0).sum())
    # The unary plus drops a count of zero, as each sum does.
    left_out = +Counter({"items without events": len(items.ids) - kept})
    for table in tables:
        left_out += table.left_out
    return dict(left_out)


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()


def join_parts(train: pa.Table, test: pa.Table) -> pa.Table:
    """Training and test events in one table, marked in a column `given_part`.

    A column that only one of them has is null in the rows of the other.

    Raises:
        UserError: where only one of them has real times.
    """
    types = {
        events["time"].type for events in (train, test) if "time" in events.column_names
    }
    if len(types) > 1:
        raise UserError(
            "the times of the training and the test events are of different kinds; "
            "correct one file"
        )
    part = np.repeat(np.array([TRAIN, TEST], np.int8), [len(train), len(test)])
    events = pa.concat_tables([train, test], promote_options="default")
    return events.append_column("given_part", pa.array(part))
