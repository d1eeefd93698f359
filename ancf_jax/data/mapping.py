"""What a table tells of events, items and users, with its columns named by `TableConfig`."""

import numpy as np
import pandas as pd
import pyarrow as pa

from ancf_jax.config import TableConfig
from ancf_jax.data.assemble import ITEM_SURPLUS, NOTHING_KNOWN, Entities
from ancf_jax.data.columns import encode, feature, release_memory
from ancf_jax.data.tabular import Table
from ancf_jax.errors import UserError

DEFAULTS = TableConfig()
# Option that names a column of events -> how that column is read.
EVENT_COLUMNS = {
    "user": Table.ids,
    "item": Table.ids,
    "time": Table.times,
    "event": Table.kinds,
    "clicked": Table.flags,
    "rating": Table.numbers,
    "dwell": Table.numbers,
    "hover": Table.numbers,
    "quantity": Table.numbers,
}
# Entity -> the option that names the columns of its features.
FEATURE_OPTIONS = {"item": "features", "user": "user_features"}


def check_columns(mapping: TableConfig) -> None:
    """Raises UserError where the column of users, items or times is that of something else, too."""
    for option in ("user", "item", "time"):
        column = getattr(mapping, option)
        others = [name for name in EVENT_COLUMNS if name != option]
        shared = [name for name in others if getattr(mapping, name) == column]
        if shared:
            raise UserError(
                f'--table.{option} and --table.{shared[0]} both name the column "{column}", '
                "expected a column for each; name another for one of them"
            )


def usable_events(table: Table, mapping: TableConfig) -> pa.Table:
    """The rows of a table of events that are fit for use, as `assemble` takes them.

    The columns are users, items, and what else `mapping` names or the table has by default.
    """
    found = {}
    columns = [
        (option, column)
        for option in EVENT_COLUMNS
        for column in _columns_of(table, mapping, option)
    ]
    for number, (option, column) in enumerate(columns, start=1):
        read = EVENT_COLUMNS[option]
        found[option] = read(table, column)
        if all(column != later for _, later in columns[number:]):
            table.columns.pop(column, None)  # memory is short with many events
        release_memory()
    # Filtered last, for every column that is read may leave out more rows.
    events = pa.table(found)
    if not table.keep.all():
        events = events.filter(pa.array(table.keep))
    return _with_gap_dwell(events, mapping) if mapping.dwell_gap_cap > 0 else events


def _with_gap_dwell(events: pa.Table, mapping: TableConfig) -> pa.Table:
    columns = dict(zip(events.column_names, events.columns, strict=True))
    if "time" not in columns or not pa.types.is_timestamp(columns["time"].type):
        raise UserError(
            "--table.dwell-gap-cap needs the times of events; "
            "name their column with --table.time"
        )
    _, user = encode(columns["user"])
    micros = columns["time"].to_numpy().astype(np.int64)
    columns["dwell"] = gap_dwell(
        user, micros, mapping.dwell_gap_cap, mapping.dwell_gap_drop
    )
    return pa.table(columns)


def gap_dwell(
    user: np.ndarray, micros: np.ndarray, cap: float, drop: float
) -> np.ndarray:
    """The time from each event to its user's next event, as an estimate of the dwell.

    Args:
        user: int [N] user of each event.
        micros: int64 [N] time of each event in microseconds.
        cap: the longest dwell in seconds; longer gaps count as this long.
        drop: a gap of exactly this many seconds is unknown; 0 for none.

    Returns:
        float32 [N] seconds, NaN for the last event of a user and where the gap is unknown.
    """
    time = pd.Series(micros).sort_values(kind="stable")
    gap = time.groupby(user[time.index]).diff(-1).sort_index() / -1e6
    is_unknown = (drop > 0) & ((gap - drop).abs() < 1e-6)
    return gap.mask(is_unknown).clip(upper=cap).to_numpy(np.float32)


def usable_entities(table: Table | None, mapping: TableConfig, entity: str) -> Entities:
    """What a table of items or users tells: ids, features and, of items, names.

    Args:
        table: the table; None where there is none, and nothing is known.
        mapping: names its columns.
        entity: "item" or "user".
    """
    if table is None:
        return NOTHING_KNOWN
    (id_column,) = _columns_of(table, mapping, entity)
    ids = table.ids(id_column, only_once=True)
    lists = {
        column: table.multi_valued(column)
        for column in _columns_of(table, mapping, FEATURE_OPTIONS[entity])
    }
    # Filtered last, for every column that is read may leave out more rows.
    keep = pa.array(table.keep)
    ids = ids.filter(keep)
    features = {
        column: feature(values.filter(keep)) for column, values in lists.items()
    }
    if entity == "user":
        return Entities(ids, features=features)
    names = _names(table, mapping)
    surplus = np.inf if mapping.keep_unsold_items else ITEM_SURPLUS
    return Entities(ids, names, features, surplus)


def _names(table: Table, mapping: TableConfig) -> list[str]:
    """The names of items; none where the table has no column of names."""
    names = []
    for column in _columns_of(table, mapping, "name"):
        texts = table.texts(column).filter(pa.array(table.keep))
        # At most 80 characters of each, for an array is as wide as its longest text.
        names += [name.strip()[:80] for name in texts.to_pylist()]
    return names


def _columns_of(table: Table, mapping: TableConfig, option: str) -> list[str]:
    """The columns that an option names.

    Those of ids must exist, and those that the user named. Others may be absent.
    """
    named = getattr(mapping, option)
    names = (named,) if isinstance(named, str) else named
    is_default = named == getattr(DEFAULTS, option)
    if is_default and option not in ("user", "item"):
        names = [name for name in names if name in table.names]
    flag = f"--table.{option.replace('_', '-')}"
    return [table.require(name, flag) for name in names]
