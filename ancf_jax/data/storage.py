"""Files written whole or not at all, and trees of columns in one NPZ file without pickle."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ancf_jax.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a new file that takes the place of `path` when the block ends without an error.

    Until then, and after an error, the earlier file at `path` stays as it was.

    Raises:
        UserError: where the file cannot be written.
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
    """Writes nested dicts and dataclasses of arrays and JSON values to one file.

    Arrays hold numbers or text and may have any shape. They become columns of the NPZ archive.
    The column `tree` holds the rest as JSON, where {"column": name} stands for an array.
    """
    columns: dict[str, np.ndarray] = {}

    def to_json(value: Any) -> dict[str, Any]:
        if dataclasses.is_dataclass(value):
            return vars(value)
        name = f"column {len(columns)}"
        columns[name] = value
        return {"column": name}

    text = json.dumps(tree, default=to_json)
    encoded = np.frombuffer(text.encode(), np.uint8)
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, tree=encoded, **columns)


def read_tree(path: Path) -> dict[str, Any]:
    """Reads what `write_tree` wrote, dataclasses as dicts and tuples as lists.

    Raises:
        UserError: where the file is missing or damaged; a checksum guards every column.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as columns:
            return _tree_of(columns)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no file {path}; give the folder of a run that train.py made"
        ) from error
    except Exception as error:  # its type depends on which byte is damaged
        raise UserError(
            f"{path} is damaged ({error}); train again into a new --run"
        ) from error


def _tree_of(columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The tree that the columns of an archive hold."""

    def from_json(value: dict[str, Any]) -> Any:
        is_column = value.keys() == {"column"}
        return columns[value["column"]] if is_column else value

    return json.loads(columns["tree"].tobytes(), object_hook=from_json)
