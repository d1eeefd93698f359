"""Files written whole or not at all, and trees of columns in one NPZ file without pickle."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ancf_jax.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` when the block ends; what stood there stands until then.

    Raises UserError where it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError(
            f'"{path}" cannot be written ({error.strerror}); make room, or choose another place'
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_tree(path: Path, tree: dict[str, Any]) -> None:
    """Writes nested dicts and dataclasses of arrays (numbers or text of any shape) and JSON values to one file."""
    columns: dict[str, np.ndarray] = {}

    def plain(value: Any) -> dict[str, Any]:
        if dataclasses.is_dataclass(value):
            return vars(value)
        columns[name := f"column {len(columns)}"] = value
        return {"column": name}

    text = json.dumps(tree, default=plain)
    with replacing(path) as file:
        np.savez(
            file,
            allow_pickle=False,
            tree=np.frombuffer(text.encode(), np.uint8),
            **columns,
        )


def read_tree(path: Path) -> dict[str, Any]:
    """What `write_tree` wrote, dataclasses as dicts and tuples as lists.

    Raises UserError where the file is missing or damaged: a checksum guards every column.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as columns:
            text = columns["tree"].tobytes()
            return json.loads(
                text,
                object_hook=lambda x: (
                    columns[x["column"]] if x.keys() == {"column"} else x
                ),
            )
    except FileNotFoundError as error:
        raise UserError(
            f"there is no file {path}; give the folder of a run that train.py made"
        ) from error
    except Exception as error:  # which one a damaged archive raises depends on the byte
        raise UserError(
            f"{path} is damaged ({error}); train again into a new --run"
        ) from error
