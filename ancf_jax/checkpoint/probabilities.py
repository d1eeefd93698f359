"""The scale of a run's probabilities on disk: calibration.json beside the checkpoints."""

import json
import math
from pathlib import Path
from typing import Any

from ancf_jax.checkpoint.damage import reason
from ancf_jax.checkpoint.record import with_digest, without_digest
from ancf_jax.data.storage import replacing
from ancf_jax.errors import UserError
from ancf_jax.objective.calibration import Calibration

FILE = "calibration.json"


def save_calibration(folder: Path, epoch: int, calibration: Calibration) -> None:
    """Writes the scale of the checkpoint of `epoch`, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    content = with_digest({"epoch": epoch, **calibration._asdict()})
    with replacing(folder / FILE) as file:
        file.write(json.dumps(content, indent=2).encode())


def read_calibration(folder: Path, epoch: int) -> Calibration | None:
    """The scale of the checkpoint of `epoch`; None where there is none, or that of another.

    Raises:
        UserError: the file is not what was written.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        content, is_whole = without_digest(json.loads(file.read_bytes()))
        if not is_whole:
            raise ValueError("not what its digest says")
        calibration = Calibration(_number(content["slope"]), _number(content["offset"]))
        if calibration.slope < 0:
            raise ValueError(f"slope is {calibration.slope}")
        fitted_epoch = content["epoch"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'"{file}" is damaged ({reason(error)}); delete it, '
            "and train.py --resume writes it anew"
        ) from None
    return calibration if fitted_epoch == epoch else None


def _number(value: Any) -> float:
    """`value`, which has to be a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    return float(value)
