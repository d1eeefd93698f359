"""Reads any supported layout of files into `Interactions`; the layout is detected or forced.

Layouts are tables, and those of published data: MovieLens, the files of the NCF paper, and sequences of items.
"""

import dataclasses
import json
import os
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa

from ancf_jax.config import Config, FormatName, TableConfig
from ancf_jax.data.assemble import (
    COLUMNS,
    DEFAULTS,
    FEATURES,
    Entities,
    assemble,
    entities,
    usable_events,
)
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION, Interactions
from ancf_jax.data.tabular import (
    DELIMITERS,
    SUFFIXES,
    Table,
    feature,
    read_csv,
    read_table,
    read_text,
)
from ancf_jax.errors import UserError

_NCF_ENDS = (".train.rating", ".test.rating", ".test.negative")
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_RATINGS = ("userId", "movieId", "rating", "timestamp")
_MOVIELENS_FILES = {  # those without header: delimiter and columns; any other one holds ratings and tabs
    "ratings.dat": ("::", _RATINGS),
    "u.item": ("|", ("movieId", "title", "released", "video", "url", *_GENRES)),
    "movies.dat": ("::", ("movieId", "title", "genres")),
    "u.user": ("|", ("userId", "age", "gender", "occupation", "zip")),
    "users.dat": ("::", ("userId", "gender", "age", "occupation", "zip")),
}
_SIDES = {
    "u.item": "item",
    "movies.dat": "item",
    "movies.csv": "item",
    "u.user": "user",
    "users.dat": "user",
}
_PERSONAL = ("gender", "age", "occupation")
_MOVIELENS = TableConfig(
    "userId", "movieId", name="title", features=("genres",), user_features=_PERSONAL
)
_WANTED = (
    *(getattr(_MOVIELENS, name) for name in COLUMNS),
    "title",
    "genres",
    *_GENRES,
    *_PERSONAL,
)


def read(config: Config) -> Interactions:
    """The events of `config.data`, laid out as `config.format` says or files show; UserError where they are broken."""
    path = Path(os.path.expanduser(config.data))
    if not os.path.exists(path):  # unlike Path.exists, never raises
        raise UserError(
            f"{path} does not exist; pass a file or folder of events, or corner-store, with --data"
        )
    readers = {
        "movielens": _read_movielens,
        "ncf": _read_ncf,
        "sequences": _read_sequences,
    }
    try:
        layout = detect(path) if config.format == "auto" else config.format
        if config.split.fold and layout != "movielens":
            raise UserError(
                f"--split.fold {config.split.fold} is for movielens; {path} is in format {layout}"
            )
        return readers.get(layout, _read_tables)(path, config)
    except OSError as problem:
        raise UserError(
            f"{problem.filename or path} cannot be read ({problem.strerror})"
        ) from None


def detect(path: Path) -> FormatName:
    """The layout of a file or folder from its names and, for .txt, the first line; `table` if no other one fits."""
    if _movielens_ratings(path):
        return "movielens"
    if path.name.endswith(_NCF_ENDS) or (
        path.is_dir() and any(path.glob("*" + _NCF_ENDS[0]))
    ):
        return "ncf"
    is_table = [file.suffix in SUFFIXES for file in _event_files(path)] == [True]
    return "sequences" if not is_table and _sequences(path) else "table"


def _read_tables(path: Path, config: Config) -> Interactions:
    """The events of a file, or of a folder's interactions.csv or .parquet, with the tables that lie beside them."""
    files, mapping = _event_files(path), config.table
    if len(files) != 1:
        found = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
        largest = max(
            files, key=lambda file: file.stat().st_size, default=path / "FILE"
        )
        expected = "interactions.csv or .parquet, MovieLens files, *.train.rating or a .txt of sequences"
        remedy = f"pass the file of events itself, such as --data {largest}"
        raise UserError(
            f"{path} is in no known layout: it holds {found}; expected {expected}; {remedy}"
        )
    table = read_table(
        files[0], [getattr(mapping, name) for name in COLUMNS], mapping.drop_broken
    )
    events = usable_events(table, mapping)
    sides = {
        side: found
        for side in FEATURES
        if (found := _side_table(mapping, files[0].parent, side))
    }
    known = {side: entities(found, mapping, side) for side, found in sides.items()}
    return assemble(events, [table, *sides.values()], (), **known)


def _event_files(path: Path) -> list[Path]:
    """The path itself if it is a file, else interactions.csv or .parquet in the folder, else all tables of it."""
    files = (
        [path]
        if path.is_file()
        else [file for suffix in SUFFIXES for file in sorted(path.glob("*" + suffix))]
    )
    return [file for file in files if file.stem == "interactions"][:1] or files


def _side_table(mapping: TableConfig, folder: Path, side: str) -> Table | None:
    """The table of a side, which lies beside the events or where --table.items-file or --table.users-file says."""
    given, wanted = getattr(mapping, f"{side}s_file"), getattr(mapping, FEATURES[side])
    places = (
        [Path(given), folder / given]
        if given
        else [folder / f"{side}s{suffix}" for suffix in SUFFIXES]
    )
    file = next(filter(Path.is_file, places), None)
    if given and not file:
        raise UserError(
            f"--table.{side}s-file {given} is neither here nor in {folder}; pass a CSV or Parquet file"
        )
    if wanted != getattr(DEFAULTS, FEATURES[side]) and not file:
        raise UserError(
            f"no {side} table holds the columns {', '.join(wanted)}; pass it with --table.{side}s-file"
        )
    return (
        read_table(
            file, [getattr(mapping, side), mapping.name, *wanted], mapping.drop_broken
        )
        if file
        else None
    )


def _movielens_ratings(path: Path) -> Path | None:
    """The ratings that a folder holds, or their file: u.data, ratings.dat or ratings.csv with a movieId."""
    names = ("u.data", "ratings.dat", "ratings.csv")
    files = (
        file
        for name in names
        for file in (path, path / name)
        if file.name == name and file.is_file()
    )
    return next(
        (
            file
            for file in files
            if file.suffix != ".csv" or "movieId" in read_text(file)[:200]
        ),
        None,
    )


def _read_movielens(path: Path, config: Config) -> Interactions:
    """Ratings with titles, genres (multi-valued) and, where there are any, gender, age and occupation.

    With a `config.split.fold` such as u1 the events are those of u1.base (TRAIN) and u1.test (TEST).
    """
    ratings, fold, drop = (
        _movielens_ratings(path),
        config.split.fold,
        config.table.drop_broken,
    )
    if ratings is None:
        raise UserError(
            f"{path} holds no u.data, ratings.dat or ratings.csv (userId, movieId ...); pass their folder"
        )
    folder = ratings.parent
    files = [folder / f"{fold}.base", folder / f"{fold}.test"] if fold else [ratings]
    if not all(file.is_file() for file in files):
        found = ", ".join(sorted(base.stem for base in folder.glob("*.base"))) or "none"
        raise UserError(
            f'{folder} has no fold "{fold}" ({fold}.base and {fold}.test); it has {found}'
        )
    tables = [_movielens_table(file, drop) for file in files]
    parts = [usable_events(table, _MOVIELENS) for table in tables]
    sides = {
        side: _movielens_table(folder / name, drop)
        for name, side in _SIDES.items()
        if (folder / name).is_file()
    }
    known = {side: entities(table, _MOVIELENS, side) for side, table in sides.items()}
    return assemble(
        _train_and_test(*parts) if fold else parts[0],
        [*tables, *sides.values()],
        (),
        **known,
    )


def _movielens_table(path: Path, drop_broken: bool) -> Table:
    delimiter, names = _MOVIELENS_FILES.get(
        path.name, ("", ()) if path.suffix == ".csv" else ("\t", _RATINGS)
    )
    table = read_csv(path, _WANTED, drop_broken, names, delimiter)
    if path.name == "u.item":  # a flag for each genre
        shown = np.stack([table.flags(genre) == 1 for genre in _GENRES], axis=1)
        genres = pa.array(
            ["|".join(np.array(_GENRES)[row]) for row in shown], pa.large_string()
        )
        table.names, table.columns["genres"] = [*names, "genres"], genres
    return table


def _train_and_test(train: pa.Table, test: pa.Table) -> pa.Table:
    """Both sets of events, marked; columns that one of them lacks are null there."""
    if (
        len(
            {
                events["time"].type
                for events in (train, test)
                if "time" in events.column_names
            }
        )
        > 1
    ):
        raise UserError(
            "the times of the training and the test events are of different kinds; correct one file"
        )
    part = np.repeat(np.array([TRAIN, TEST], np.int8), [len(train), len(test)])
    return pa.concat_tables([train, test], promote_options="default").append_column(
        "given_part", pa.array(part)
    )


def _read_ncf(path: Path, config: Config) -> Interactions:
    """Events of *.train.rating (TRAIN) and *.test.rating (TEST), with `given_negatives` of *.test.negative.

    Times only order training events (`clock` is false), the test event comes last, and ratings are kept
    where those of training differ. Negatives without events are items, too. Source: He et al. 2017.
    """
    folder, drop = path if path.is_dir() else path.parent, config.table.drop_broken
    files = [file for end in _NCF_ENDS for file in sorted(folder.glob("*" + end))]
    if [
        next(end for end in _NCF_ENDS if file.name.endswith(end)) for file in files
    ] != list(_NCF_ENDS):
        found = ", ".join(file.name for file in files) or "none"
        raise UserError(
            f"{folder} should hold one file each of *{', *'.join(_NCF_ENDS)}, found {found}"
        )
    names = ("user_id", "item_id", "rating", "timestamp")
    train = read_csv(files[0], names, drop, names, "\t")
    test = read_csv(files[1], names[:3], drop, (*names[:3], "unused"), "\t")
    test.ids("user_id", only_once=True)
    parts = [usable_events(table, TableConfig()) for table in (train, test)]
    events = _train_and_test(*parts)
    order = (
        events["time"].cast(pa.int64()).fill_null(np.iinfo(np.int64).max)
    )  # the test event comes last
    constant = ["rating"] if len(parts[0]["rating"].unique()) == 1 else []
    events = events.drop_columns(["time", *constant]).append_column("time", order)
    negatives = _negatives(
        files[2],
        dict(
            zip(*(parts[1][name].to_pylist() for name in ("user", "item")), strict=True)
        ),
    )
    listed = Entities(
        pa.array(dict.fromkeys(chain(*negatives.values())), pa.large_string()),
        spare=np.inf,
    )
    log = assemble(events, (train, test), files[2:], item=listed)
    place = {item: at for at, item in enumerate(log.items.tolist())} | {"": -1}
    given = zip_longest(
        *(negatives.get(user, []) for user in log.users.tolist()), fillvalue=""
    )
    return dataclasses.replace(
        log,
        given_negatives=np.array(
            [[place[i] for i in row] for row in given], np.int32
        ).T,
    )


def _negatives(path: Path, pairs: dict[str, str]) -> dict[str, list[str]]:
    """The items of each test user's line, after checking that it begins with the user's test pair."""
    found: dict[str, list[str]] = {}
    for at, line in enumerate(read_text(path).split("\n"), start=1):
        pair, *items = line.rstrip().split("\t")
        user, _, item = pair.strip("() ").partition(",")
        if pair and (
            pairs.get(user) != item or user in found or not items or "" in items
        ):
            expected = f"(user,item) of {_NCF_ENDS[1]}, every user once, and then items, all separated by tabs"
            raise UserError(
                f"{path}, line {at}: found {line[:40]!r}, expected {expected}; correct one of the files"
            )
        found |= {user: items} if pair else {}
    if lacking := sorted(set(pairs) - set(found)):
        raise UserError(
            f'{path} has no line for user "{lacking[0]}" of {_NCF_ENDS[1]}; add one'
        )
    return found


def _sequences(path: Path) -> Path | None:
    """The file itself, or the only .txt of a folder, if its first line is of words separated by blanks."""
    texts = [path] if path.is_file() else path.glob("*.txt")
    texts = [
        file
        for file in texts
        if not file.name.lower().startswith(("readme", "license", "validation_users"))
    ]
    first = (
        read_text(texts[0]).lstrip("\n").partition("\n")[0] if len(texts) == 1 else ""
    )
    return (
        texts[0]
        if len(first.split()) > 1 and not any(mark in first for mark in DELIMITERS)
        else None
    )


def _read_sequences(path: Path, config: Config) -> Interactions:
    """Lines of `user item item ...`, oldest first; a user on several lines goes on where the last one ended.

    NAME_item2attributes.json beside NAME.txt holds the item feature "attribute"; validation_users.txt fixes
    the split as in gSASRec. Raises UserError for a line without items, or a listed user without a line.
    """
    file = _sequences(path)
    if file is None:
        raise UserError(
            f"{path} is not, and holds not one, .txt of words between blanks; pass one with --data"
        )
    lines = [line.split() for line in read_text(file).split("\n")]
    if alone := [
        (at, line[0]) for at, line in enumerate(lines, start=1) if len(line) == 1
    ]:
        raise UserError(
            f'{file}, line {alone[0][0]}: "{alone[0][1][:60]}" alone, expected a user and then items'
        )
    users = pa.array([line[0] for line in lines for _ in line[1:]], pa.large_string())
    items = pa.array([item for line in lines for item in line[1:]], pa.large_string())
    listed, attributes = (
        file.with_name("validation_users.txt"),
        file.with_name(file.stem + "_item2attributes.json"),
    )
    known = _attributes(attributes) if attributes.is_file() else Entities()
    files = [used for used in (file, listed, attributes) if used.is_file()]
    log = assemble(pa.table({"user": users, "item": items}), (), files, item=known)
    return (
        dataclasses.replace(log, given_part=_gsasrec_parts(log, listed))
        if listed.is_file()
        else log
    )


def _gsasrec_parts(log: Interactions, file: Path) -> np.ndarray:
    """int8 [N]: the parts of the table below, from a user's last event backwards, not listed and listed in `file`."""
    names = read_text(file).split()
    if unknown := sorted(set(names) - set(log.users.tolist())):
        raise UserError(
            f'{file}: user "{unknown[0]}" has no line of items; remove it or add the line'
        )
    is_listed = np.isin(log.users, names)[log.user]
    from_end = np.bincount(log.user)[log.user] - 1 - log.time
    parts = np.array(
        [[TEST, UNUSED, TRAIN, TRAIN], [TEST, VALIDATION, UNUSED, TRAIN]], np.int8
    )
    return parts[is_listed.astype(int), np.minimum(from_end, 3)]


def _attributes(file: Path) -> Entities:
    """The feature "attribute" from a JSON object of item -> list of values."""
    try:
        told = json.loads(read_text(file))
        if (
            not isinstance(told, dict)
            or "" in told
            or not all(isinstance(values, list) for values in told.values())
        ):
            raise ValueError("it holds something else")
        ids = pa.array(told, pa.large_string())
        lists = pa.array(
            [[str(value) for value in values] for values in told.values()],
            pa.list_(pa.large_string()),
        )
    except (ValueError, RecursionError) as problem:
        raise UserError(
            f"{file} is not a JSON object of item -> list of values ({problem}); correct it"
        ) from None
    return Entities(ids, features={"attribute": feature(lists)}, spare=2)
