"""MovieLens as it is published: u.data (100K), ratings.dat (1M, 10M) and ratings.csv (20M and later)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ancf_jax.config import TableConfig
from ancf_jax.data import columns
from ancf_jax.data.columns import Rows
from ancf_jax.data.files import read_text, sha256
from ancf_jax.data.interactions import TEST, TRAIN, Interactions
from ancf_jax.data.table import from_tables
from ancf_jax.data.tabular import Table, read_csv, read_table, require
from ancf_jax.errors import UserError

_EVENTS = ("user_id", "item_id", "rating", "timestamp")
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime",
    "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery",
    "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_AGES = ("under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56+")  # the groups of MovieLens 1M
_AGE_STARTS = (18, 25, 35, 45, 50, 56)
_CSV_NAMES = {"userId": "user_id", "movieId": "item_id", "title": "name", "genres": "genre"}
_USER_FEATURES = ("gender", "age", "occupation")


def find(path: Path) -> str:
    """The edition that a folder, or the file of its ratings, holds: u.data, ratings.dat, ratings.csv, or ""."""
    for name in ("u.data", "ratings.dat", "ratings.csv"):
        file = path / name if path.is_dir() else path
        if file.name == name and file.is_file() and (name != "ratings.csv" or "movieId" in read_text(file)[:200]):
            return name
    return "u.data" if path.is_dir() and _folds(path) else ""


def read_folder(path: Path, fold: str, drop_broken: bool) -> Interactions:
    """Ratings with titles, genres (multi-valued) and, where there are any, gender, age group and occupation.

    With a `fold` such as u1 the events are those of u1.base and u1.test, marked TRAIN and TEST.
    Raises UserError where the fold or the ratings are missing.
    """
    edition, folder = find(path), path if path.is_dir() else path.parent
    if not edition:
        raise UserError(f"{path} holds no u.data, ratings.dat or ratings.csv (userId, movieId ...); pass their folder")
    if fold and fold not in _folds(folder):
        found = ", ".join(_folds(folder)) or "none"
        raise UserError(f'{folder} has no fold "{fold}" ({fold}.base and {fold}.test); it has {found}')
    names = [f"{fold}.base", f"{fold}.test"] if fold else [edition]
    tables = [_ratings(folder / name, drop_broken) for name in names]
    events = tables[0] if len(tables) == 1 else _joined(*tables)
    items, users = _items(folder, edition, drop_broken), _users(folder, edition, drop_broken)
    used = [folder / name for name in names] + [table.path for table in (items, users) if table is not None]
    return from_tables(
        events,
        items,
        users,
        TableConfig(
            features=() if items is None else ("genre",),
            user_features=() if users is None else _USER_FEATURES,
            drop_broken=drop_broken,
        ),
        part=np.repeat([TRAIN, TEST], [table.rows for table in tables]) if fold else None,
        digest=sha256(used),
    )


def _folds(folder: Path) -> list[str]:
    return sorted(base.stem for base in folder.glob("*.base") if base.with_suffix(".test").is_file())


def _ratings(path: Path, drop_broken: bool) -> Table:
    if path.suffix == ".csv":
        return _renamed(read_table(path, [*_EVENTS, *_CSV_NAMES], drop_broken))
    delimiter = "::" if path.suffix == ".dat" else "\t"
    return read_csv(path, _EVENTS, names=_EVENTS, delimiter=delimiter, drop_broken=drop_broken)


def _joined(base: Table, test: Table) -> Table:
    both = {name: pa.chunked_array(base.columns[name].chunks + test.columns[name].chunks) for name in _EVENTS}

    def locate(row: int) -> str:
        if row < base.rows:
            return base.locate(row)
        return f"(continued in {test.path.name}) {test.locate(row - base.rows)}"

    return Table(base.path, _EVENTS, both, base.rows + test.rows, locate, base.ragged + test.ragged)


def _items(folder: Path, edition: str, drop_broken: bool) -> Table | None:
    path = folder / {"u.data": "u.item", "ratings.dat": "movies.dat", "ratings.csv": "movies.csv"}[edition]
    if not path.is_file():
        return None
    if edition == "ratings.csv":
        table = _renamed(read_table(path, list(_CSV_NAMES), drop_broken))
        genre = columns.texts(table, "genre") if "genre" in table.columns else pa.array([""] * table.rows)
        return _with(table, "genre", pc.if_else(pc.equal(genre, "(no genres listed)"), "", genre))
    if edition == "ratings.dat":
        names = ("item_id", "name", "genre")
        return read_csv(path, names, names=names, delimiter="::", drop_broken=drop_broken)
    names = ("item_id", "name", "released", "video", "url", *_GENRES)
    table = read_csv(path, names, names=names, delimiter="|", drop_broken=drop_broken)
    rows = Rows(table, drop_broken)
    shown = np.stack([columns.flags(rows, genre) == 1 for genre in _GENRES], axis=1)
    return _with(table, "genre", [[_GENRES[at] for at in np.flatnonzero(row)] for row in shown])


def _users(folder: Path, edition: str, drop_broken: bool) -> Table | None:
    path = folder / {"u.data": "u.user", "ratings.dat": "users.dat", "ratings.csv": "users.csv"}[edition]
    if not path.is_file() or edition == "ratings.csv":
        return None
    if edition == "u.data":
        names, delimiter = ("user_id", "years", "gender", "occupation", "zip"), "|"
    else:
        names, delimiter = ("user_id", "gender", "years", "occupation", "zip"), "::"
    table = read_csv(path, names, names=names, delimiter=delimiter, drop_broken=drop_broken)
    years = columns.numbers(Rows(table, drop_broken), "years")
    group = np.array([*_AGES, ""])[np.where(np.isnan(years), len(_AGES), np.digitize(years, _AGE_STARTS))]
    return _with(table, "age", group.tolist())


def _renamed(table: Table) -> Table:
    require(table, "movieId", "--format table --table.item")
    names = tuple(_CSV_NAMES.get(name, name) for name in table.names)
    found = {_CSV_NAMES.get(name, name): column for name, column in table.columns.items()}
    return dataclasses.replace(table, names=names, columns=found)


def _with(table: Table, name: str, column: pa.ChunkedArray | list[str] | list[list[str]]) -> Table:
    added = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([pa.array(column)])
    names = table.names if name in table.names else (*table.names, name)
    return dataclasses.replace(table, names=names, columns=table.columns | {name: added})
