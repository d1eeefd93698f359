"""Format `table`: events in one CSV or Parquet file with columns of any name, and tables of items and users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ancf_jax.config import TableConfig
from ancf_jax.data import columns
from ancf_jax.data.assemble import Entities, assemble
from ancf_jax.data.columns import Rows, Texts
from ancf_jax.data.files import sha256
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.tabular import PARQUET_SUFFIXES, Table, read_table, require
from ancf_jax.data.times import times
from ancf_jax.errors import UserError

_SUFFIXES = (".csv", ".tsv", *PARQUET_SUFFIXES)
_SIGNALS = {
    "rating": columns.numbers,
    "clicked": columns.flags,
    "dwell": columns.numbers,
    "hover": columns.numbers,
    "quantity": columns.numbers,
}
_DEFAULTS = TableConfig()


def read_folder(path: Path, config: TableConfig) -> Interactions:
    """The events of a file, or of a folder that holds interactions.csv or .parquet, with its tables.

    Only the columns of user and item must be there; a column whose name was given must be, too.
    Without a time column the order of the file is the time. Item and user tables lie beside the
    events as items.csv and users.csv (or .parquet), or are named by `items_file` and `users_file`.
    Raises UserError for a missing file or column and for broken rows, unless `drop_broken`.
    """
    events = find(path)
    if events is None:
        found = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
        raise UserError(
            f"{path} has no interactions.csv or interactions.parquet, but {found}; pass the file of events itself"
        )
    items = _side_file(config.items_file, events.parent, "items", "--table.items-file")
    users = _side_file(config.users_file, events.parent, "users", "--table.users-file")
    wanted = [getattr(config, name) for name in ("user", "item", "time", "event", *_SIGNALS)]
    table = read_table(events, wanted, config.drop_broken)
    return from_tables(
        table,
        None if items is None else read_table(items, [config.item, config.name, *config.features], config.drop_broken),
        None if users is None else read_table(users, [config.user, *config.user_features], config.drop_broken),
        config,
        digest=sha256(file for file in (events, items, users) if file is not None),
    )


def find(path: Path) -> Path | None:
    """The file of events: the path itself, interactions.csv or .parquet in a folder, or its only such file."""
    if path.is_file():
        return path
    tables = [file for file in sorted(path.iterdir()) if file.suffix in _SUFFIXES]
    return _beside(path, "interactions") or (tables[0] if len(tables) == 1 else None)


def from_tables(
    events: Table,
    items: Table | None,
    users: Table | None,
    config: TableConfig,
    *,
    part: np.ndarray | None = None,
    digest: str = "",
) -> Interactions:
    """Events with the columns that `config` names, joined with what the other tables know.

    The whole item table becomes items, new products included, as long as it has at most twice as
    many items as have events; from a larger one only the items with events, and `left_out` counts
    the rest. `part` (int8 [rows]) is passed on as `given_part`.
    """
    _check_mapped(events, items, users, config)
    rows = Rows(events, config.drop_broken)
    user, item = columns.ids(rows, config.user), columns.ids(rows, config.item)
    time, clock = times(rows, config.time) if config.time in events.names else (None, False)
    signals = {n: read(rows, getattr(config, n)) for n, read in _SIGNALS.items() if getattr(config, n) in events.names}
    kind = columns.ids(rows, config.event, "a kind of event") if config.event in events.names else None
    keep, mask = rows.keep, pa.array(rows.keep)
    user, item = pc.filter(user, mask), pc.filter(item, mask)
    time = None if time is None else time[keep]
    signals = {name: column[keep] for name, column in signals.items()}
    if config.dwell_gap_cap > 0:
        if time is None or not clock:
            raise UserError("--table.dwell-gap-cap needs the times of events; name their column with --table.time")
        signals["dwell"] = gap_dwell(columns.encode(user)[1], time, config.dwell_gap_cap, config.dwell_gap_drop)
    left_out = rows.left_out
    return assemble(
        user,
        item,
        time=time,
        clock=clock,
        kind=None if kind is None else pc.filter(kind, mask),
        signals=signals,
        part=None if part is None else part[keep],
        item_table=None if items is None else worth_keeping(_item_table(items, config, left_out), item, left_out),
        user_table=None if users is None else _user_table(users, config, left_out),
        left_out=left_out,
        digest=digest,
    )


def worth_keeping(table: Entities, items: Texts | pa.Array, left_out: Counter[str]) -> Entities:
    """The whole item table, or only its items with events where it is more than twice as long as these."""
    with_events = pc.unique(items)
    if len(table.ids) <= 2 * len(with_events):
        return table
    known = pc.is_in(table.ids, value_set=with_events).to_numpy(zero_copy_only=False)
    left_out["items without events"] = int((~known).sum())
    return table.select(known)


def gap_dwell(user: np.ndarray, micros: np.ndarray, cap: float, drop: float) -> np.ndarray:
    """Seconds from each event to its user's next one, at most `cap`, as float32 [N] in input order.

    NaN for a user's last event, and where the gap is exactly `drop` seconds (if `drop` is above 0).
    """
    order = np.lexsort((micros, user))
    gap = np.diff(micros[order]) / 1e6
    unknown = np.diff(user[order]) != 0
    if drop > 0:
        unknown |= np.abs(gap - drop) < 1e-6
    dwell = np.full(len(user), np.nan, np.float32)
    dwell[order[:-1]] = np.where(unknown, np.nan, np.minimum(gap, cap))
    return dwell


def _side_file(given: str, folder: Path, stem: str, flag: str) -> Path | None:
    if not given:
        return _beside(folder, stem)
    for path in (Path(given), folder / given):
        if path.is_file():
            return path
    raise UserError(f"{flag} {given} is neither here nor in {folder}; pass the path of a CSV or Parquet file")


def _beside(folder: Path, stem: str) -> Path | None:
    return next((folder / (stem + suffix) for suffix in _SUFFIXES if (folder / (stem + suffix)).is_file()), None)


def _check_mapped(events: Table, items: Table | None, users: Table | None, config: TableConfig) -> None:
    """Raises UserError where a column is missing that must be there, or that was asked for by name."""
    for name in ("user", "item", "time", "event", *_SIGNALS):
        column = getattr(config, name)
        if name in ("user", "item") or column != getattr(_DEFAULTS, name) or column in events.names:
            require(events, column, f"--table.{name}")
    there = () if items is None else items.names
    asked = [name for name in config.features if config.features != _DEFAULTS.features or name in there]
    _check_side(items, config.item, "item", asked, "features")
    _check_side(users, config.user, "user", config.user_features, "user-features")
    if items is not None and (config.name != _DEFAULTS.name or config.name in items.names):
        require(items, config.name, "--table.name")


def _check_side(table: Table | None, key: str, side: str, features: Iterable[str], flag: str) -> None:
    if table is None and features:
        raise UserError(
            f"--table.{flag} are columns of the {side} table, and there is none; pass it with --table.{side}s-file"
        )
    if table is not None:
        require(table, key, f"--table.{side}")
        for name in features:
            require(table, name, f"--table.{flag}")


def _item_table(items: Table, config: TableConfig, left_out: Counter[str]) -> Entities:
    asked = config.features != _DEFAULTS.features
    features = [name for name in config.features if asked or name in items.names]
    names = config.name if config.name in items.names else ""
    return _entities(items, config.item, features, names, config.drop_broken, left_out)


def _user_table(users: Table, config: TableConfig, left_out: Counter[str]) -> Entities:
    return _entities(users, config.user, config.user_features, "", config.drop_broken, left_out)


def _entities(
    table: Table, key: str, features: Iterable[str], names: str, drop_broken: bool, left_out: Counter[str]
) -> Entities:
    rows = Rows(table, drop_broken)
    ids = columns.ids(rows, key)
    again = np.ones(table.rows, bool)
    again[np.unique(columns.encode(ids)[1], return_index=True)[1]] = False
    rows.refuse(again, key, "every id once")
    left_out.update(rows.left_out)
    told = pc.utf8_trim_whitespace(columns.texts(table, names)) if names else None
    return Entities(ids, told, {name: columns.multi_valued(table, name) for name in features}).select(rows.keep)
