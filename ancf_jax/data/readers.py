"""Reads any supported layout of files into `Interactions`; the layout is detected or forced."""

from __future__ import annotations

import os
from pathlib import Path

from ancf_jax.config import Config, FormatName
from ancf_jax.data import movielens, ncf, sequences, table
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.tabular import PARQUET_SUFFIXES
from ancf_jax.errors import UserError


def read(config: Config) -> Interactions:
    """The events of `config.data`, laid out as `config.format` says or as the files show.

    Raises UserError where the path is missing, the layout is unknown, or the files are broken.
    """
    path = Path(config.data).expanduser()
    layout = detect(path) if config.format == "auto" else config.format
    _check_exists(path)
    if config.split.fold and layout != "movielens":
        raise UserError(f"--split.fold {config.split.fold} is for movielens folders, and {path} is in format {layout}")
    try:
        return _read_layout(path, layout, config)
    except OSError as problem:
        raise UserError(f"{problem.filename or path} cannot be read ({problem.strerror})") from None


def _read_layout(path: Path, layout: str, config: Config) -> Interactions:
    if layout == "movielens":
        return movielens.read_folder(path, config.split.fold, config.table.drop_broken)
    if layout == "ncf":
        return ncf.read_folder(path)
    if layout == "sequences":
        return sequences.read_folder(path)
    return table.read_folder(path, config.table)


def detect(path: Path) -> FormatName:
    """The layout of a file or folder, from the names of files and, for .txt, the first line.

    Raises UserError with what was found where no layout fits.
    """
    _check_exists(path)
    if movielens.find(path):
        return "movielens"
    if path.name.endswith(ncf.ENDS) or (path.is_dir() and any(path.glob("*" + ncf.ENDS[0]))):
        return "ncf"
    if path.suffix in (".csv", ".tsv", *PARQUET_SUFFIXES) or (path.is_dir() and table.find(path) is not None):
        return "table"
    text = sequences.find(path)
    if text is not None and sequences.looks_right(text):
        return "sequences"
    if path.is_file():
        return "table"
    found = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
    raise UserError(
        f"{path} is in no known layout: it holds {found}; expected interactions.csv or .parquet, MovieLens files, "
        "*.train.rating or a .txt of sequences, so pass the file of events itself or force a layout with --format"
    )


def _check_exists(path: Path) -> None:
    if not os.path.exists(path):  # unlike Path.exists, never raises
        raise UserError(f"{path} does not exist; pass a file or folder of events, or corner-store, with --data")
