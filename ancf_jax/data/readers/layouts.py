"""Finds out the layout of a file or folder, and lets the reader of that layout read it."""

import os
from pathlib import Path

from ancf_jax.config import Config, FormatName
from ancf_jax.data.files import SUFFIXES
from ancf_jax.data.interactions import Interactions
from ancf_jax.data.readers.movielens import find_ratings, read_movielens
from ancf_jax.data.readers.ncf import is_ncf, read_ncf
from ancf_jax.data.readers.sequences import find_sequences, read_sequences
from ancf_jax.data.readers.tables import find_events, read_tables
from ancf_jax.data.text import UTF_8, check_encoding
from ancf_jax.errors import UserError

_READERS = {
    "table": read_tables,
    "movielens": read_movielens,
    "ncf": read_ncf,
    "sequences": read_sequences,
}


def read(config: Config) -> Interactions:
    """The events of `config.data`, in the layout that `config.format` names or files show.

    Raises:
        UserError: where the files are absent or broken.
    """
    encoding = config.table.encoding
    check_encoding(encoding)
    if not config.data:
        raise UserError(
            "--data is empty, expected a file or folder of events, or corner-store; name one"
        )
    path = Path(os.path.expanduser(config.data))
    if not os.path.exists(path):  # unlike Path.exists, never raises
        raise UserError(
            f"{path} does not exist; pass a file or folder of events, "
            "or corner-store, with --data"
        )
    if not (path.is_file() or path.is_dir()):
        raise UserError(
            f"{path} is a pipe, a device or a socket, expected a file or a folder; "
            "write what it gives to a file, and pass that with --data"
        )
    try:
        layout = config.format
        if layout == "auto":
            layout = detect(path, encoding)
        if config.split.fold and layout != "movielens":
            raise UserError(
                f"--split.fold {config.split.fold} is for movielens; "
                f"{path} is in format {layout}"
            )
        return _READERS[layout](path, config)
    except OSError as problem:
        raise UserError(
            f"{problem.filename or path} cannot be read ({problem.strerror})"
        ) from None


def detect(path: Path, encoding: str = UTF_8) -> FormatName:
    """The layout of a file or folder; `table` where no other one fits.

    The names of files tell it, and the first line of MovieLens's ratings.csv and of a .txt.
    """
    if find_ratings(path, encoding):
        return "movielens"
    if is_ncf(path):
        return "ncf"
    events = find_events(path)
    is_table = len(events) == 1 and events[0].suffix in SUFFIXES
    return "sequences" if not is_table and find_sequences(path, encoding) else "table"
