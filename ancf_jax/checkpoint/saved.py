"""A run opened for reading: nothing is locked, nothing is written."""

import contextlib
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ancf_jax.checkpoint.damage import Damaged
from ancf_jax.checkpoint.leaves import named_leaves
from ancf_jax.checkpoint.record import JSON, Record, read_record
from ancf_jax.checkpoint.rows import Divided, columns_in, read_divided, read_whole
from ancf_jax.checkpoint.settings import FILE, read_settings
from ancf_jax.config import Config
from ancf_jax.errors import UserError
from ancf_jax.types import Array
from ancf_jax.view import SILENT, View

# The name of a checkpoint: an epoch, and how many steps later where it is within the next one.
_NAME = re.compile(r"(0|[1-9][0-9]*)(\+[1-9][0-9]*)?")


class Restored(NamedTuple):
    """A checkpoint that was read.

    Attributes:
        state: the state after `epoch`, or within the next one, in the structure that was asked for.
        epoch: the last whole epoch.
        metrics: the validation figures.
        score: what the best checkpoint is chosen by; -inf where it was NaN.
        progress: what training needs besides the state to go on.
    """

    state: Any
    epoch: int
    metrics: JSON
    score: float
    progress: JSON


class SavedRun:
    """A run opened for reading.

    Attributes:
        path: the folder of the run.
        config: its settings.
        view: where damaged checkpoints are told of.
        data_digest: where it is set, checkpoints that were made from other data are refused.
    """

    def __init__(self, path: Path, config: Config, view: View = SILENT):
        self.path = path
        self.config = config
        self.view = view
        self.data_digest = ""
        self._checkpoints = path / "checkpoints"
        self._metrics = path / "metrics.jsonl"

    def epochs(self) -> list[int]:
        """The epochs with a checkpoint, ascending; folders of others do not count."""
        return [int(name) for name in self._names() if name.isdecimal()]

    def _names(self) -> list[str]:
        """The checkpoints by time: "3" is after epoch 3, "3+40" is 40 steps later."""
        names = [
            folder.name
            for folder in self._checkpoints.glob("*")
            if _NAME.fullmatch(folder.name) and _is_checkpoint(folder)
        ]
        return sorted(names, key=_time_of)

    def require_same_data(self) -> None:
        """Raises UserError where a sound checkpoint was made from data of another digest."""
        for name in self._names():
            with contextlib.suppress(Damaged):
                self._refuse_other_data(read_record(self._folder(name)))

    def _refuse_other_data(self, record: Record) -> None:
        if self.data_digest and record.data not in ("", self.data_digest):
            raise UserError(
                f'"{self.path}" was made from other data; use the same, or another --run'
            )

    def read_metrics(self) -> list[JSON]:
        """The rows of metrics.jsonl; a line torn by a kill or a full disk is left out."""
        if not self._metrics.exists():
            return []
        text = self._metrics.read_text("utf-8", "replace")
        rows: list[JSON] = []
        for line in text.split("\n")[:-1]:
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return rows

    def restore_best(self, template: Any, *, strict: bool = False) -> Restored:
        """The checkpoint of highest score; the later of equals, and NaN is the lowest.

        Damaged checkpoints are passed over and told.

        Args:
            template: a pytree whose leaves have `shape` and `dtype`; it may be a part of the
                saved one.
            strict: whether damage of the best checkpoint is an error.

        Raises:
            UserError: there is no checkpoint, none is sound, or it does not fit the template.
        """
        best_first = sorted(self.epochs(), key=self._rank, reverse=True)
        names = [str(epoch) for epoch in best_first]
        read = partial(self._read, template=template)
        _, found = self._restore(names, read, strict)
        if found is None:
            raise UserError(
                f'run "{self.path}" has no checkpoint yet; '
                f'train it with train.py --run "{self.path}"'
            )
        return found

    def _rank(self, epoch: int) -> tuple[float, int]:
        """Orders epochs by score; a damaged one is the highest, so that its damage is told."""
        try:
            return read_record(self._folder(str(epoch))).score, epoch
        except Damaged:
            return np.inf, epoch

    def _folder(self, name: str) -> Path:
        return self._checkpoints / name

    def _restore(
        self, names: list[str], read: Callable[[str], Restored], strict: bool
    ) -> tuple[str, Restored | None]:
        """The first of some checkpoints that is sound, with its name; damaged ones are told."""
        damages = []
        for name in names[:1] if strict else names:
            try:
                found = read(name)
            except Damaged as error:
                damages.append(f"checkpoint {name} is damaged ({error})")
                continue
            for damage in damages:
                self.view.say(f"{damage}; using {name}")
            return name, found
        if damages:
            raise UserError(
                f'"{self.path}" cannot be restored: {"; ".join(damages)}; '
                "train in another --run"
            )
        return "", None

    def _read(self, checkpoint: str, template: Any) -> Restored:
        """The checkpoint of that name, in the structure of `template`."""
        folder = self._folder(checkpoint)
        record = read_record(folder)
        self._refuse_other_data(record)
        leaves = named_leaves(template)
        columns = columns_in(leaves)
        for name, leaf in (leaves | columns).items():
            if not isinstance(leaf, Divided):
                _check_fit(checkpoint, name, leaf, record)

        def read(name: str, leaf: Any) -> Array:
            if isinstance(leaf, Divided):
                return read_divided(folder, leaf, record.leaves)
            if name in columns:  # its rows are in the divided table
                return jax.numpy.zeros(leaf.shape, leaf.dtype)
            # A copy on the default device, free to move: as from `init`.
            return jax.numpy.array(read_whole(folder, name, record.leaves[name]))

        arrays = [read(name, leaf) for name, leaf in leaves.items()]
        state = jax.tree.unflatten(jax.tree.structure(template), arrays)
        epoch, _ = _time_of(checkpoint)
        return Restored(state, epoch, record.metrics, record.score, record.progress)


def _is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a file that only checkpoints have; the others may be damaged."""
    files = ("_CHECKPOINT_METADATA", "info/metadata", "state/manifest.ocdbt")
    is_ours = any((folder / file).is_file() for file in files)
    return is_ours and not folder.is_symlink()


def _time_of(checkpoint: str) -> tuple[int, int]:
    """The epoch of a checkpoint, and how many steps later it was saved."""
    epoch, _, steps = checkpoint.partition("+")
    return int(epoch), int(steps or 0)


def _check_fit(checkpoint: str, name: str, leaf: Any, record: Record) -> None:
    """Raises UserError where the saved array is not of the shape and type of `leaf`."""
    expected = f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
    saved = "missing"
    if name in record.leaves:
        saved = "{dtype}{shape}".format(**record.leaves[name])
    if saved != expected:
        raise UserError(
            f"leaf {name} of checkpoint {checkpoint} is {saved}, the model expects {expected}"
        )


def open_run(path: str | Path, view: View = SILENT) -> SavedRun:
    """Opens a run for reading.

    Settings that the version which wrote it did not have are at their defaults.

    Raises:
        UserError: there is no run, or its settings are not what was written, or cannot be.
    """
    folder = Path(path).absolute()
    if not (folder / FILE).is_file():
        raise UserError(
            f'there is no run in "{path}" (no {FILE}); '
            f'train one with train.py --run "{path}"'
        )
    return SavedRun(folder, read_settings(folder), view)
