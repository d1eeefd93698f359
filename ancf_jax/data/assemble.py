"""From columns in any order to `Interactions`: vocabularies, sorting, features aligned with them."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from ancf_jax.config import TableConfig
from ancf_jax.data.interactions import Feature, Interactions
from ancf_jax.data.tabular import Table, Texts, encode
from ancf_jax.errors import UserError

COLUMNS = {
    "user": Table.ids,
    "item": Table.ids,
    "time": Table.times,
    "event": Table.kinds,
}
COLUMNS |= {"clicked": Table.flags} | dict.fromkeys(
    ("rating", "dwell", "hover", "quantity"), Table.numbers
)
FEATURES = {
    "item": "features",
    "user": "user_features",
}  # the setting that lists the columns of features
DEFAULTS = TableConfig()


class Entities(NamedTuple):
    """What is known of R items or users besides their events; no id stands twice."""

    ids: Texts = pa.array([], pa.large_string())
    names: Sequence[str] = ()  # "" where a row has none, or no names at all
    features: Mapping[str, Feature] = {}  # with R rows
    spare: float = 0  # those without events are kept if R is at most so many times the number of those with events


def usable_events(table: Table, mapping: TableConfig) -> pa.Table:
    """The rows that are fit for use, as `assemble` takes them: users, items, and what else `mapping` names or finds."""
    found = {
        name: read(table, column)
        for name, read in COLUMNS.items()
        for column in _asked(table, mapping, name)
    }
    events = pa.table(found).filter(pa.array(table.keep))
    if mapping.dwell_gap_cap > 0:
        if "time" not in found or found["time"].dtype.kind != "M":
            raise UserError(
                "--table.dwell-gap-cap needs the times of events; name their column with --table.time"
            )
        user, micros = (
            encode(events["user"])[1],
            events["time"].to_numpy().astype(np.int64),
        )
        dwell = gap_dwell(user, micros, mapping.dwell_gap_cap, mapping.dwell_gap_drop)
        events = pa.table(
            dict(zip(found, events.columns, strict=True)) | {"dwell": dwell}
        )
    return events


def gap_dwell(
    user: np.ndarray, micros: np.ndarray, cap: float, drop: float
) -> np.ndarray:
    """Seconds from each event to its user's next one, at most `cap`; float32 [N], NaN for the last, or for `drop`."""
    time = pd.Series(micros).sort_values(kind="stable")
    gap = time.groupby(user[time.index]).diff(-1).sort_index() / -1e6
    return (
        gap.mask((drop > 0) & ((gap - drop).abs() < 1e-6))
        .clip(upper=cap)
        .to_numpy(np.float32)
    )


def entities(table: Table, mapping: TableConfig, side: str) -> Entities:
    """What a table of the `side` ("item" or "user") tells: ids, features and, of items, names."""
    ids = table.ids(*_asked(table, mapping, side), only_once=True)
    features = {
        column: table.multi_valued(column)
        for column in _asked(table, mapping, FEATURES[side])
    }
    named, kept = (
        _asked(table, mapping, "name") if side == "item" else [],
        pa.array(table.keep),
    )
    # At most 80 characters of each, for an array is as wide as its longest.
    names = [
        name.strip()[:80]
        for column in named
        for name in table.texts(column).filter(kept).to_pylist()
    ]
    return Entities(ids.filter(kept), names, features, spare=2 if side == "item" else 0)


def _asked(table: Table, mapping: TableConfig, option: str) -> list[str]:
    """The columns that an option names; other ones than ids, by their default name, only where they are there."""
    named, flag = getattr(mapping, option), f"--table.{option.replace('_', '-')}"
    optional = named == getattr(DEFAULTS, option) and option not in ("user", "item")
    names = (named,) if isinstance(named, str) else named
    return [
        table.require(name, flag)
        for name in names
        if name in table.names or not optional
    ]


def assemble(
    events: pa.Table,
    tables: Sequence[Table],
    files: Sequence[Path] = (),
    **known: Entities,
) -> Interactions:
    """The log of N raw events, sorted by (user, time, input order) and coded by order of first appearance.

    `events` holds texts `user`, `item` and maybe `event` (its kind), `given_part`, signals, and `time`: a timestamp
    or int64 that only orders. `known` tells of `item` and `user`. All comes from `tables` and `files`: their broken
    rows are counted, their bytes make the digest.
    """
    items, users = known.get("item", Entities()), known.get("user", Entities())
    named = [
        name for name in events.column_names if name not in ("user", "item", "event")
    ]
    log: dict[str, Any] = {name: events[name].to_numpy() for name in named}
    user_ids, log["user"], user_rows = _vocabulary(events["user"], users)
    item_ids, log["item"], item_rows = _vocabulary(events["item"], items)
    event = (
        events["event"]
        if "event" in events.column_names
        else pa.repeat(pa.scalar("interaction"), len(events))
    )
    kinds, kind = encode(event)
    order = np.lexsort((log.get("time", np.zeros(len(events))), log["user"]))
    log = {
        name: column[order]
        for name, column in (log | {"kind": kind.astype(np.int8)}).items()
    }
    clock = "time" in log and log["time"].dtype.kind == "M"
    place = np.arange(len(order)) - np.searchsorted(
        log["user"], log["user"]
    )  # in the user's history
    log["time"] = (
        log["time"].astype("datetime64[s]").astype(np.int64) if clock else place
    )
    names = np.array([*(items.names or [""] * len(items.ids)), ""])[
        item_rows
    ]  # row -1 is the last
    log |= {
        "users": user_ids,
        "items": item_ids,
        "names": np.where(names != "", names, item_ids),
    }
    log |= {
        "item_features": _aligned(items, item_rows),
        "user_features": _aligned(users, user_rows),
    }
    unsold = Counter(
        {"items without events": len(items.ids) - int((item_rows >= 0).sum())}
    )
    left_out = dict(sum((table.left_out for table in tables), +unsold))
    digest = hashlib.sha256()
    for path in [*(table.path for table in tables), *files]:
        digest.update(path.read_bytes())
    return Interactions(
        **log,
        clock=clock,
        kinds=tuple(kinds.tolist()),
        left_out=left_out,
        digest=digest.hexdigest(),
    )


def _vocabulary(
    column: pa.ChunkedArray, table: Entities
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, those of events first; int32 [N] the place of each event's; int32 [ids] the table's row of each, or -1."""
    if not len(column):
        raise UserError(
            "no events are left to work with; look at the rows that were left out"
        )
    ids, code = encode(pa.chunked_array([*column.chunks, table.ids]))
    code, told = code[: len(column)], code[len(column) :]
    with_events = int(code.max()) + 1
    size = len(ids) if len(told) <= table.spare * with_events else with_events
    row = np.full(len(ids), -1, np.int32)
    row[told] = np.arange(len(told))
    return ids[:size], code, row[:size]


def _aligned(table: Entities, row: np.ndarray) -> dict[str, Feature]:
    """The features of each id; row -1 meets the empty one that is put at the end."""
    padded = {
        name: np.pad(f.ids, ((0, 1), (0, 0)), constant_values=-1)
        for name, f in table.features.items()
    }
    return {
        name: Feature(table.features[name].values, ids[row])
        for name, ids in padded.items()
    }
