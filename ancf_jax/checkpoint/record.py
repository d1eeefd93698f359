"""What is noted with the arrays of a checkpoint, as JSON that carries its own digest."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ancf_jax.checkpoint.damage import damage_of
from ancf_jax.data.storage import digest
from ancf_jax.errors import UserError

FORMAT = 3
READABLE = (2, FORMAT)  # 2: all leaves are whole
DIGEST = "digest"
JSON = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """What is noted with the arrays of a checkpoint.

    Attributes:
        data: digest of the data that was trained on; empty where it is not known.
        metrics: the validation figures.
        score: what the best checkpoint is chosen by; -inf where it was NaN.
        progress: what training needs besides the state to go on.
        leaves: of every array, by name, its shape and dtype, and its digest; where its rows were
            divided, those of its blocks instead (see `rows.Piece`).
        format: the layout of checkpoints that it is written in.
    """

    data: str
    metrics: JSON
    score: float
    progress: JSON
    leaves: dict[str, JSON]
    format: int = FORMAT


def sealed(record: Record) -> JSON:
    """The record with its digest, of plain JSON values."""
    text = canonical(asdict(record))
    return {"digest": digest(text), "record": json.loads(text)}


def read_record(folder: Path) -> Record:
    """The record of the checkpoint in `folder`.

    Raises:
        Damaged: it cannot be read, or is not what was written.
        UserError: it has another format.
    """
    path = folder / "info" / "metadata"
    with damage_of(f"file {path}"):
        content = json.loads(path.read_bytes())
        saved = content["record"]
        if digest(canonical(saved)) != content["digest"]:
            raise ValueError("not what its digest says")
    if saved["format"] not in READABLE:
        raise UserError(
            f'"{folder}" has format {saved["format"]}, expected at most {FORMAT}; '
            "use the version that wrote it, or a newer one"
        )
    return Record(**saved)


def with_digest(content: JSON) -> JSON:
    """JSON values by name, and their digest beside them."""
    return content | {DIGEST: digest(canonical(content))}


def without_digest(content: JSON) -> tuple[JSON, bool]:
    """What `with_digest` was given, and whether it is; true where there is no digest."""
    values = {name: value for name, value in content.items() if name != DIGEST}
    expected = content.get(DIGEST)
    return values, expected is None or expected == digest(canonical(values))


def canonical(value: JSON) -> bytes:
    """The one JSON text of a value; NumPy and JAX scalars become numbers."""
    return json.dumps(value, sort_keys=True, default=float).encode()
