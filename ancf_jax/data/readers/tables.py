"""Tables of events, with tables of items and users beside them: the layout `table`."""

from pathlib import Path
from typing import NoReturn

from ancf_jax.config import Config, TableConfig
from ancf_jax.data.assemble import assemble
from ancf_jax.data.files import SUFFIXES, read_table
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.mapping import (
    DEFAULTS,
    EVENT_COLUMNS,
    FEATURE_OPTIONS,
    check_columns,
    usable_entities,
    usable_events,
)
from ancf_jax.data.tabular import Table
from ancf_jax.errors import UserError


def read_tables(path: Path, config: Config) -> Interactions:
    """The events of a file, or of the interactions.csv or .parquet of a folder.

    items.csv and users.csv (or .parquet) beside them tell of items and users.
    """
    mapping = config.table
    check_columns(mapping)
    files = find_events(path)
    if len(files) != 1:
        _refuse(path, files)
    wanted = [getattr(mapping, option) for option in EVENT_COLUMNS]
    table = read_table(files[0], wanted, mapping)
    events = [usable_events(table, mapping)]
    items = _entity_table(mapping, files[0].parent, "item")
    users = _entity_table(mapping, files[0].parent, "user")
    return assemble(
        events.pop(),  # so that it can be given up early
        [read for read in (table, items, users) if read is not None],
        items=usable_entities(items, mapping, "item"),
        users=usable_entities(users, mapping, "user"),
    )


def find_events(path: Path) -> list[Path]:
    """The files that may hold the events.

    That is the path itself if it is a file, else the folder's interactions.csv or .parquet,
    else all tables of the folder.
    """
    if path.is_file():
        return [path]
    tables = [file for suffix in SUFFIXES for file in sorted(path.glob("*" + suffix))]
    named = [file for file in tables if file.stem == "interactions"]
    return named[:1] or tables


def _refuse(folder: Path, tables: list[Path]) -> NoReturn:
    names = sorted(file.name for file in folder.iterdir())
    found = ", ".join(names[:8]) or "nothing"
    largest = max(tables, key=lambda file: file.stat().st_size, default=folder / "FILE")
    raise UserError(
        f"{folder} is in no known layout: it holds {found}; "
        "expected interactions.csv or .parquet, MovieLens files, *.train.rating "
        "or a .txt of sequences; "
        f"pass the file of events itself, such as --data {largest}"
    )


def _entity_table(mapping: TableConfig, folder: Path, entity: str) -> Table | None:
    """The table of items or users ("item" or "user"), None where there is none.

    It lies beside the events, or where --table.items-file or --table.users-file says.
    """
    flag = f"--table.{entity}s-file"
    given = getattr(mapping, f"{entity}s_file")
    features = getattr(mapping, FEATURE_OPTIONS[entity])
    if given:
        places = [Path(given), folder / given]
    else:
        places = [folder / f"{entity}s{suffix}" for suffix in SUFFIXES]
    file = next((place for place in places if place.is_file()), None)
    if file:
        wanted = [getattr(mapping, entity), mapping.name, *features]
        return read_table(file, wanted, mapping)
    if given:
        raise UserError(
            f"{flag} {given} is neither here nor in {folder}; pass a CSV or Parquet file"
        )
    if features != getattr(DEFAULTS, FEATURE_OPTIONS[entity]):
        raise UserError(
            f"no {entity} table holds the columns {', '.join(features)}; "
            f"pass it with {flag}"
        )
    return None
