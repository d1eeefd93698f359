"""Files written whole or not at all, and trees of columns in one NPZ file without pickle."""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ancf_jax.data.archives import read_columns, write_columns
from ancf_jax.errors import UserError

TREE = "tree"  # the column that says where the others belong


def digest(content: bytes) -> str:
    """A fingerprint of bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


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

    Arrays hold numbers or text and may have any shape. They become columns of the NPZ archive,
    and one more holds their digest. The column `tree` holds the rest as JSON, where
    {"column": name} stands for an array.
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
        write_columns(file, columns | {TREE: encoded})


def read_tree(path: Path) -> dict[str, Any]:
    """Reads what `write_tree` wrote, dataclasses as dicts and tuples as lists.

    Raises:
        UserError: the file is missing or damaged: a digest guards it, and in older files a
            checksum of every column.
    """
    try:
        with path.open("rb") as file:
            return _tree_of(read_columns(file))
    except FileNotFoundError as error:
        raise UserError(
            f"there is no file {path}; give the folder of a run that train.py made"
        ) from error
    except Exception as error:  # its type depends on which byte is damaged
        raise damaged(path, error) from error


def damaged(path: Path, problem: object) -> UserError:
    """The error for a file that is not what was written."""
    return UserError(f"{path} is damaged ({problem}); train again into a new --run")


def _tree_of(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """The tree that the columns of an archive hold; every column has a place in it."""
    text = columns.pop(TREE).tobytes()
    placed = set()

    def from_json(value: dict[str, Any]) -> Any:
        name = value.get("column")
        if value.keys() != {"column"} or not isinstance(name, str):
            return value
        placed.add(name)
        return columns[name]

    tree = json.loads(text, object_hook=from_json)
    surplus = columns.keys() - placed
    if surplus:
        raise ValueError(f"{min(surplus)[:60]} is a column that is none")
    return tree
