"""Reads any supported layout of files into `Interactions`; the layout is detected or forced."""

from __future__ import annotations

import os
from pathlib import Path

from ancf_jax.config import Config, FormatName, TableConfig
from ancf_jax.data import layouts
from ancf_jax.data.assemble import COLUMNS, DEFAULTS, FEATURES, assemble, entities, usable_events
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.tabular import SUFFIXES, Table, read_table
from ancf_jax.errors import UserError


def read(config: Config) -> Interactions:
    """The events of `config.data`, laid out as `config.format` says or files show; UserError where they are broken."""
    path = Path(os.path.expanduser(config.data))
    if not os.path.exists(path):  # unlike Path.exists, never raises
        raise UserError(f"{path} does not exist; pass a file or folder of events, or corner-store, with --data")
    readers = {"movielens": layouts.read_movielens, "ncf": layouts.read_ncf, "sequences": layouts.read_sequences}
    try:
        layout = detect(path) if config.format == "auto" else config.format
        if config.split.fold and layout != "movielens":
            raise UserError(f"--split.fold {config.split.fold} is for movielens; {path} is in format {layout}")
        return readers.get(layout, _read_tables)(path, config)
    except OSError as problem:
        raise UserError(f"{problem.filename or path} cannot be read ({problem.strerror})") from None


def detect(path: Path) -> FormatName:
    """The layout of a file or folder from its names and, for .txt, the first line; `table` if no other one fits."""
    if layouts.movielens_ratings(path):
        return "movielens"
    if path.name.endswith(layouts.NCF_ENDS) or (path.is_dir() and any(path.glob("*" + layouts.NCF_ENDS[0]))):
        return "ncf"
    is_table = [file.suffix in SUFFIXES for file in _event_files(path)] == [True]
    return "sequences" if not is_table and layouts.sequences(path) else "table"


def _read_tables(path: Path, config: Config) -> Interactions:
    """The events of a file, or of a folder's interactions.csv or .parquet, with the tables that lie beside them."""
    files, mapping = _event_files(path), config.table
    if len(files) != 1:
        found = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
        largest = max(files, key=lambda file: file.stat().st_size, default=path / "FILE")
        expected = "interactions.csv or .parquet, MovieLens files, *.train.rating or a .txt of sequences"
        remedy = f"pass the file of events itself, such as --data {largest}"
        raise UserError(f"{path} is in no known layout: it holds {found}; expected {expected}; {remedy}")
    table = read_table(files[0], [getattr(mapping, name) for name in COLUMNS], mapping.drop_broken)
    events = usable_events(table, mapping)
    sides = {side: found for side in FEATURES if (found := _side_table(mapping, files[0].parent, side))}
    known = {side: entities(found, mapping, side) for side, found in sides.items()}
    return assemble(events, [table, *sides.values()], (), **known)


def _event_files(path: Path) -> list[Path]:
    """The path itself if it is a file, else interactions.csv or .parquet in the folder, else all tables of it."""
    files = [path] if path.is_file() else [file for suffix in SUFFIXES for file in sorted(path.glob("*" + suffix))]
    return [file for file in files if file.stem == "interactions"][:1] or files


def _side_table(mapping: TableConfig, folder: Path, side: str) -> Table | None:
    """The table of a side, which lies beside the events or where --table.items-file or --table.users-file says."""
    given, wanted = getattr(mapping, f"{side}s_file"), getattr(mapping, FEATURES[side])
    places = [Path(given), folder / given] if given else [folder / f"{side}s{suffix}" for suffix in SUFFIXES]
    for file in filter(Path.is_file, places):
        return read_table(file, [getattr(mapping, side), mapping.name, *wanted], mapping.drop_broken)
    if given:
        raise UserError(f"--table.{side}s-file {given} is neither here nor in {folder}; pass a CSV or Parquet file")
    if wanted != getattr(DEFAULTS, FEATURES[side]):
        raise UserError(f"no {side} table holds the columns {', '.join(wanted)}; pass it with --table.{side}s-file")
    return None
