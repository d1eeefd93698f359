"""From raw columns in any order to `Interactions`: vocabularies, sorting, features aligned with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ancf_jax.data.columns import Texts, encode
from ancf_jax.data.interactions import Feature, Interactions
from ancf_jax.errors import UserError

LONGEST_NAME = 80
MOST_KINDS = 127  # fits int8


@dataclass(frozen=True)
class Entities:
    """What a table knows of items or users, one row each, ids without duplicates.

    Attributes:
        ids: text [R].
        names: text [R] or None; "" where there is none.
        features: by name, with R rows.
    """

    ids: Texts | pa.Array
    names: Texts | None = None
    features: dict[str, Feature] = field(default_factory=dict)

    def select(self, keep: np.ndarray) -> Entities:
        """The rows where `keep` (bool [R]) is true."""
        mask = pa.array(keep)
        features = {name: Feature(f.values, f.ids[keep]) for name, f in self.features.items()}
        return Entities(
            pc.filter(self.ids, mask), None if self.names is None else pc.filter(self.names, mask), features
        )


def assemble(
    users: Texts | pa.Array,
    items: Texts | pa.Array,
    *,
    time: np.ndarray | None = None,
    clock: bool = False,
    kind: Texts | None = None,
    signals: Mapping[str, np.ndarray] | None = None,
    part: np.ndarray | None = None,
    item_table: Entities | None = None,
    user_table: Entities | None = None,
    left_out: Mapping[str, int] | None = None,
    digest: str = "",
) -> Interactions:
    """The log of N raw events, sorted by (user, time, input order) and coded by order of first appearance.

    Args:
        users, items: text [N], the ids of each event.
        time: int64 [N] microseconds since 1970 if `clock`, else anything that orders; None for input order.
        clock: whether `time` is a real time; if not, the log's time is the position in the user's history.
        kind: text [N], the kind of each event.
        signals: rating, clicked, dwell, hover, quantity; float32 [N] each.
        part: int8 [N] as `Interactions.given_part`.
        item_table: every row becomes an item, whether it has events or not.
        user_table: rows of users without events are ignored.
        left_out, digest: passed on.

    Raises UserError where no event is left or there are more than 127 kinds of event.
    """
    if not len(users):
        raise UserError("no events are left to work with; look at the rows that were left out")
    user_ids, user = encode(users)
    item_ids, item = _encode_items(items, item_table)
    kinds, kind_code = encode(kind) if kind is not None else (np.array(["interaction"]), np.zeros(len(user), np.int32))
    if len(kinds) > MOST_KINDS:
        raise UserError(
            f"there are {len(kinds)} kinds of event ({kinds[0]}, {kinds[1]} ...), expected at most {MOST_KINDS}; "
            "name the column that holds view, click or purchase with --table.event"
        )
    order = np.argsort(user, kind="stable") if time is None else np.lexsort((time, user))
    user = user[order]
    item_rows, user_rows = _rows_of(item_ids, item_table), _rows_of(user_ids, user_table)
    return Interactions(
        user=user,
        item=item[order],
        time=time[order] // 1_000_000 if clock and time is not None else positions(user),
        clock=clock,
        users=user_ids,
        items=item_ids,
        names=_names(item_ids, item_table, item_rows),
        kind=kind_code[order].astype(np.int8),
        kinds=tuple(kinds.tolist()),
        **{name: column[order] for name, column in (signals or {}).items()},
        item_features=_aligned(item_table, item_rows),
        user_features=_aligned(user_table, user_rows),
        given_part=None if part is None else part[order].astype(np.int8),
        left_out={reason: count for reason, count in (left_out or {}).items() if count},
        digest=digest,
    )


def positions(user: np.ndarray) -> np.ndarray:
    """int64 [N], the position of every event in its user's history; `user` is ascending."""
    first = np.searchsorted(user, user, side="left")
    return np.arange(len(user), dtype=np.int64) - first


def _encode_items(items: Texts | pa.Array, table: Entities | None) -> tuple[np.ndarray, np.ndarray]:
    """Items with events first, in order of appearance, then the others of the table."""
    chunks = _chunks(items) + (_chunks(table.ids) if table is not None else [])
    ids, code = encode(pa.chunked_array(chunks, pa.large_string()))
    return ids, code[: len(items)]


def _chunks(column: Texts | pa.Array) -> list[pa.Array]:
    column = pc.cast(column, pa.large_string())
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _rows_of(ids: np.ndarray, table: Entities | None) -> np.ndarray:
    """int32 [R], the row of the table that tells of each id; -1 for none."""
    if table is None or not len(table.ids):
        return np.full(len(ids), -1, np.int32)
    known = pa.chunked_array(_chunks(table.ids), pa.large_string())
    place = pc.index_in(pa.array(ids.tolist(), pa.large_string()), value_set=known)
    return pc.fill_null(place, -1).to_numpy(zero_copy_only=False)


def _aligned(table: Entities | None, rows: np.ndarray) -> dict[str, Feature]:
    if table is None:
        return {}
    known = (rows >= 0)[:, None]
    aligned = {}
    for name, f in table.features.items():
        codes = np.where(known, f.ids[rows], -1) if len(f.ids) else np.full((len(rows), 1), -1, np.int32)
        aligned[name] = Feature(f.values, codes)
    return aligned


def _names(ids: np.ndarray, table: Entities | None, rows: np.ndarray) -> np.ndarray:
    if table is None or table.names is None or not len(table.names):
        return ids
    told = np.array(pc.utf8_slice_codeunits(table.names, 0, LONGEST_NAME).to_pylist(), str)[rows]
    return np.where((rows >= 0) & (told != ""), told, ids)
