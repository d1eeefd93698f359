"""MovieLens as GroupLens publishes it: ml-100k, ml-1m, ml-10m, and the CSV files since."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa

from ancf_jax.config import Config, TableConfig
from ancf_jax.data.assemble import assemble, join_parts
from ancf_jax.data.files import read_csv
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.mapping import EVENT_COLUMNS, usable_entities, usable_events
from ancf_jax.data.tabular import Table
from ancf_jax.data.text import UTF_8, head_line, is_utf_8
from ancf_jax.errors import UserError

_GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_USER_FEATURES = ("gender", "age", "occupation")
_MAPPING = TableConfig(
    user="userId",
    item="movieId",
    name="title",
    features=("genres",),
    user_features=_USER_FEATURES,
)
_WANTED = (
    *(getattr(_MAPPING, option) for option in EVENT_COLUMNS),
    "title",
    "genres",
    *_GENRES,
    *_USER_FEATURES,
)

# Titles are in latin-1 in ml-100k and ml-1m, and in UTF-8 in ml-10m.
_OFTEN_LATIN_1 = ("u.item", "movies.dat")
_RATINGS_FILES = ("u.data", "ratings.dat", "ratings.csv")
_ITEM_FILES = ("u.item", "movies.dat", "movies.csv")
_USER_FILES = ("u.user", "users.dat")
_RATINGS = ("userId", "movieId", "rating", "timestamp")
# File without header -> delimiter and columns; u.data and the files of folds hold ratings
# separated by tabs.
_FORMATS = {
    "ratings.dat": ("::", _RATINGS),
    "u.item": ("|", ("movieId", "title", "released", "video", "url", *_GENRES)),
    "movies.dat": ("::", ("movieId", "title", "genres")),
    "u.user": ("|", ("userId", "age", "gender", "occupation", "zip")),
    "users.dat": ("::", ("userId", "gender", "age", "occupation", "zip")),
}


def find_ratings(path: Path, encoding: str = UTF_8) -> Path | None:
    """The file of ratings, given by itself or by its folder; a ratings.csv has a movieId."""
    for name in _RATINGS_FILES:
        for file in (path, path / name):
            if file.name != name or not file.is_file():
                continue
            if file.suffix != ".csv" or "movieId" in head_line(file, encoding)[:200]:
                return file
    return None


def read_movielens(path: Path, config: Config) -> Interactions:
    """Ratings with titles, genres (multi-valued) and, where given, features of users.

    Those are gender, age and occupation. With a `config.split.fold` such as u1 the events are
    those of u1.base (TRAIN) and u1.test (TEST).
    """
    ratings = find_ratings(path, config.table.encoding)
    if ratings is None:
        raise UserError(
            f"{path} holds no u.data, ratings.dat or ratings.csv (userId, movieId ...); "
            "pass their folder"
        )
    folder = ratings.parent
    fold = config.split.fold
    settings = dataclasses.replace(
        _MAPPING, encoding=config.table.encoding, drop_broken=config.table.drop_broken
    )
    files = _fold_files(folder, fold) if fold else [ratings]
    tables = [_read_file(file, settings) for file in files]
    events = [usable_events(table, _MAPPING) for table in tables]
    items = _read_entities(folder, _ITEM_FILES, settings)
    users = _read_entities(folder, _USER_FILES, settings)
    return assemble(
        join_parts(*events) if fold else events[0],
        [read for read in (*tables, items, users) if read is not None],
        items=usable_entities(items, _MAPPING, "item"),
        users=usable_entities(users, _MAPPING, "user"),
    )


def _fold_files(folder: Path, fold: str) -> list[Path]:
    files = [folder / f"{fold}.base", folder / f"{fold}.test"]
    if not all(file.is_file() for file in files):
        names = sorted(base.stem for base in folder.glob("*.base"))
        found = ", ".join(names) or "none"
        raise UserError(
            f'{folder} has no fold "{fold}" ({fold}.base and {fold}.test); it has {found}'
        )
    return files


def _read_entities(
    folder: Path, names: tuple[str, ...], settings: TableConfig
) -> Table | None:
    """The table of the last of the named files that the folder holds."""
    table = None
    for name in names:
        file = folder / name
        if file.is_file():
            table = _read_file(file, settings)
    return table


def _read_file(path: Path, settings: TableConfig) -> Table:
    if path.suffix == ".csv":
        return read_csv(path, _WANTED, settings)
    if path.name in _OFTEN_LATIN_1 and settings.encoding == UTF_8:
        encoding = UTF_8 if is_utf_8(path) else "latin-1"
        settings = dataclasses.replace(settings, encoding=encoding)
    delimiter, names = _FORMATS.get(path.name, ("\t", _RATINGS))
    table = read_csv(path, _WANTED, settings, names, delimiter)
    return _with_genres(table) if path.name == "u.item" else table


def _with_genres(table: Table) -> Table:
    """The table with its columns of flags, one for each genre, as one column of genres."""
    flags = [table.flags(genre) == 1 for genre in _GENRES]
    names = np.array(_GENRES)
    genres = ["|".join(names[row]) for row in np.stack(flags, axis=1)]
    texts = pa.array(genres, pa.large_string())
    table.columns["genres"] = pa.chunked_array([texts])
    table.names = [*table.names, "genres"]
    return table
