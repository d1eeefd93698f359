"""Columns of numbers and text in one NPZ file: no pickle, written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from ancf_jax.errors import UserError

_META = "meta"


def write_columns(path: Path, columns: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    """Writes columns (numbers or text of any shape) and `meta` (JSON) to one file, replacing it at once.

    Raises UserError where the file cannot be written; what stood there before then still stands.
    """
    part = path.with_name(f".{path.name}.part")
    packed = columns | {_META: np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **packed)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free some space or choose another --run") from error
    finally:
        part.unlink(missing_ok=True)


def read_columns(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The columns and `meta` that `write_columns` wrote.

    Raises UserError where the file is missing or damaged: a checksum guards every column.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
        return columns, json.loads(columns.pop(_META).tobytes())
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}; give the folder of a run that train.py made") from error
    except Exception as error:  # which one a damaged archive raises depends on the byte
        raise UserError(f"{path} is damaged ({error}); train again into a new --run") from error
