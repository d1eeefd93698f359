"""A run on disk: config.json, dataset/, checkpoints/N/ (the state after epoch N), metrics.jsonl and run.lock.

Orbax writes a checkpoint at once or not at all: the leaves of the state (`state`) and a JSON record (`info`). They are
read through TensorStore, the storage under Orbax: that names a damaged leaf, and survives an absurd shape.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts

from ancf_jax.config import Config, default_config, flatten, from_json, to_json
from ancf_jax.data.storage import replacing
from ancf_jax.errors import UserError

FORMAT = 1
KEPT = 2  # of the latest and of the best checkpoints each
FREE = (
    "run",
    "epochs",
    "loop.patience",
    "loop.checkpoint_every",
    "loop.spread",
    "loop.validation_users",
)  # may change

ALONE = ocp.options.MultiprocessingOptions(
    active_processes={0}, barrier_sync_key_prefix="run"
)  # others do not write

Say = Callable[[str], None]
JSON = dict[str, Any]


class Restored(NamedTuple):
    """A checkpoint: the state after `epoch`, and what was noted with it; `score` is -inf where it was NaN."""

    state: Any
    epoch: int
    metrics: JSON
    score: float
    progress: JSON


class _Damaged(Exception):
    """A checkpoint that cannot be trusted; says which leaf or file."""


class SavedRun:
    """A run opened for reading, locking and writing nothing; with `data_digest` set, other data is refused."""

    def __init__(self, path: Path, config: Config, say: Say):
        self.path, self.config, self.data_digest = path, config, ""
        self._checkpoints, self._metrics, self._say = (
            path / "checkpoints",
            path / "metrics.jsonl",
            say,
        )

    def epochs(self) -> list[int]:
        """The epochs with a checkpoint, ascending."""
        return sorted(
            int(p.name) for p in self._checkpoints.glob("*") if p.name.isdecimal()
        )

    def read_metrics(self) -> list[JSON]:
        """The rows of metrics.jsonl; a line torn by a kill or a full disk is left out."""
        rows: list[JSON] = []
        for line in (
            self._metrics.read_text("utf-8", "replace").split("\n")[:-1]
            if self._metrics.exists()
            else ()
        ):
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return rows

    def restore_best(self, template: Any, *, strict: bool = False) -> Restored:
        """The checkpoint of highest score (the later of equals; NaN is the lowest), damaged ones passed over and told.

        `template` is a pytree, maybe a part of the saved one, whose leaves have `shape` and `dtype`. Raises UserError
        where there is no checkpoint, none is sound (`strict`: the first is not), or it does not fit.
        """
        found = self._restore(
            sorted(self.epochs(), key=self._rank, reverse=True), template, strict
        )
        if found is None:
            raise UserError(
                f'run "{self.path}" has no checkpoint yet; train it with train.py --run "{self.path}"'
            )
        return found

    def _rank(self, epoch: int) -> tuple[float, int]:
        try:
            return _read_info(self._checkpoints / str(epoch))["score"], epoch
        except _Damaged:
            return np.inf, epoch  # tried first, so that the damage is told

    def _restore(
        self, epochs: list[int], template: Any, strict: bool
    ) -> Restored | None:
        """The first of `epochs` that is sound; the damaged ones before it are told."""
        found, damaged = None, []
        for epoch in epochs[:1] if strict else epochs:
            try:
                found = self._read(epoch, template)
                break
            except _Damaged as error:
                damaged.append(f"checkpoint {epoch} is damaged ({error})")
        if damaged and not found:
            raise UserError(
                f'"{self.path}" cannot be restored: {"; ".join(damaged)}; train in another --run'
            )
        for message in damaged:
            self._say(f"{message}; using {epoch}")
        return found

    def _read(self, epoch: int, template: Any) -> Restored:
        folder = self._checkpoints / str(epoch)
        info, leaves = _read_info(folder), _named_leaves(template)
        if self.data_digest and info["data"] not in ("", self.data_digest):
            raise UserError(
                f'"{self.path}" was made from other data; use the same, or another --run'
            )
        for name, leaf in leaves.items():
            saved = "{dtype}{shape}".format(
                **info["leaves"].get(name, {"dtype": "missing", "shape": ""})
            )
            if saved != (expected := f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"):
                raise UserError(
                    f"leaf {name} of checkpoint {epoch} is {saved}, the model expects {expected}"
                )
        # A copy on the default device, free to move: as from `init`, on however many devices.
        arrays = [
            jax.numpy.array(_read_leaf(folder / "state", name, info["leaves"][name]))
            for name in leaves
        ]
        state = jax.tree.unflatten(jax.tree.structure(template), arrays)
        return Restored(state, epoch, info["metrics"], info["score"], info["progress"])


class RunFolder(SavedRun):
    """A run opened for training, locked until its `with` block or the process ends, kill -9 included."""

    @classmethod
    @contextlib.contextmanager
    def create(
        cls, path: str | Path, config: Config, *, resume: bool, say: Say
    ) -> Iterator[RunFolder]:
        """Starts a run in an empty folder, or with `resume` goes on with the one that is there.

        Raises UserError where another process trains there, a run is there without `resume`, settings other than
        `FREE` differ from the saved ones, or the folder cannot be written.
        """
        run = cls(Path(path).absolute(), config, say)
        with _take_lock(run.path):
            run._settle_config(resume)
            run._delete([])
            yield run

    def restore_latest(self, template: Any, *, strict: bool = False) -> Restored | None:
        """The newest sound checkpoint, None where there is none yet; all that is later goes; as `restore_best`."""
        found = self._restore(self.epochs()[::-1], template, strict)
        last = found.epoch if found else -1
        self._delete([epoch for epoch in self.epochs() if epoch > last])
        with replacing(self._metrics) as file:
            file.writelines(
                _canonical(row) + b"\n"
                for row in self.read_metrics()
                if row["epoch"] <= last
            )
        return found

    def save(
        self,
        epoch: int,
        state: Any,
        metrics: JSON,
        score: float,
        progress: JSON,
        *,
        final: bool = False,
    ) -> bool:
        """Writes the state (a pytree of arrays) after `epoch`, keeps the latest and the best two; says whether it did.

        An epoch that is there stands. NaN is score -inf. `progress` is what training needs to go on. Where writing
        fails, older checkpoints stay and a warning is said, or UserError raised if `final`.
        """
        if epoch in self.epochs():
            return True
        host = {name: np.array(leaf) for name, leaf in _named_leaves(state).items()}
        info: JSON = {
            "format": FORMAT,
            "data": self.data_digest,
            "metrics": metrics,
            "progress": progress,
        }
        info["score"] = -np.inf if np.isnan(score) else score
        info["leaves"] = {name: _describe(array) for name, array in host.items()}
        try:
            self._write(epoch, host, json.loads(_canonical(info)))
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # TensorStore reports a full disk as ValueError
            self._delete([])
            message = f'checkpoint {epoch} could not be written to "{self.path}": {_reason(error)}'
            if final:
                raise UserError(
                    f"{message}; make room and --resume from {self.epochs() or 'the start'}"
                ) from error
            self._say(
                f"WARNING: {message}; training goes on, kept are {self.epochs() or 'none'}"
            )
        return epoch in self.epochs()

    def append_metrics(self, row: JSON) -> None:
        """Adds a row, which holds `epoch`, to metrics.jsonl; to be called before the epoch is saved."""
        finite = {
            k: None if isinstance(v, float) and not np.isfinite(v) else v
            for k, v in row.items()
        }
        try:
            with self._metrics.open("ab") as file:
                file.write(_canonical(finite) + b"\n")
        except OSError as error:
            self._say(
                f"WARNING: metrics of epoch {row['epoch']} could not be written: {_reason(error)}"
            )

    def _settle_config(self, resume: bool) -> None:
        saved = self.path / "config.json"
        if saved.exists() or self._checkpoints.exists():
            if not resume:
                raise UserError(
                    f'"{self.path}" already holds a run; pass --resume to go on with it, or another --run'
                )
            old, new = (
                flatten(open_run(self.path, self._say).config),
                flatten(self.config),
            )
            if changes := [
                f"{k} {old[k]} -> {new[k]}"
                for k in new
                if k not in FREE and old[k] != new[k]
            ]:
                raise UserError(
                    f'cannot resume "{self.path}" with other settings: {", ".join(changes)}; keep them'
                )
        elif resume:
            self._say(
                f'nothing to resume in "{self.path}": starting from the beginning'
            )
        with replacing(saved) as file:
            file.write(to_json(self.config).encode())

    def _write(self, epoch: int, host: dict[str, np.ndarray], info: JSON) -> None:
        record = ocp.args.JsonSave(
            {"digest": _digest(_canonical(info)), "record": info}
        )
        args = ocp.args.Composite(state=ocp.args.StandardSave(host), info=record)
        handler = ocp.CompositeCheckpointHandler(
            composite_options=ocp.CompositeOptions(multiprocessing_options=ALONE)
        )
        logging.disable()  # Orbax's threads log a traceback for what is raised here anyway
        try:
            with ocp.Checkpointer(handler, multiprocessing_options=ALONE) as orbax:
                orbax.save(self._checkpoints / str(epoch), args=args)
        finally:
            logging.disable(logging.NOTSET)
        sound = [e for e in self.epochs() if self._rank(e)[0] < np.inf]
        kept = {*sound[-KEPT:], *sorted(sound, key=self._rank)[-KEPT:]}
        self._delete([e for e in self.epochs() if e not in kept])

    def _delete(self, epochs: list[int]) -> None:
        """Removes epochs, never half of one, and what a killed or failed write or deletion left."""
        for epoch in epochs:
            (self._checkpoints / str(epoch)).rename(
                self._checkpoints / f"{epoch}.deleted"
            )
        for leftover in self._checkpoints.glob("*.*"):
            shutil.rmtree(leftover, ignore_errors=True)


def open_run(path: str | Path, say: Say) -> SavedRun:
    """Opens a run for reading; raises UserError where there is none or its settings cannot be read.

    What an older version had no setting for yet is at its default.
    """
    folder = Path(path).absolute()
    if not (file := folder / "config.json").is_file():
        raise UserError(
            f'there is no run in "{path}" (no config.json); train one with train.py --run "{path}"'
        )
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        config = from_json(json.dumps(flatten(default_config(saved["model"])) | saved))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'"{file}" cannot be read ({_reason(error)}); restore it'
        ) from None
    return SavedRun(folder, config, say)


def _take_lock(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "run.lock", "a+", encoding="utf-8")  # noqa: SIM115 (open as long as the run)
    except OSError as error:
        raise UserError(
            f'run folder "{folder}" cannot be written ({error.strerror}); choose another --run'
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with lock:
            lock.seek(0)
            raise UserError(
                f'process {lock.read()} trains in "{folder}"; wait, or choose another --run'
            ) from None
    lock.truncate(0)
    print(os.getpid(), end="", file=lock, flush=True)
    return lock


def _named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by dotted path, equal for a dict and a named tuple with the same fields."""
    return {
        jax.tree_util.keystr(p, simple=True, separator="."): x
        for p, x in jax.tree.leaves_with_path(tree)
    }


@contextlib.contextmanager
def _damaged(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _Damaged(f"{what}: {_reason(error)}") from None


def _read_leaf(folder: Path, name: str, record: JSON) -> np.ndarray:
    files = {"driver": "file", "path": f"{folder}/"}
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "ocdbt", "base": files, "path": f"{name}/"},
    }
    with _damaged(f"leaf {name}"):
        store = ts.open(
            spec | {"fill_missing_data_reads": False}, open=True, read=True
        ).result()
        chunk, shape = store.chunk_layout.read_chunk.shape or (), record["shape"]
        if list(store.shape) != shape or any(
            (c or 0) > s for c, s in zip(chunk, shape, strict=True)
        ):
            raise ValueError(f"shape {store.shape} is not that of its record, {shape}")
        if _describe(array := store.read().result()) != record:
            raise ValueError("not what its digest says")
    return array


def _read_info(folder: Path) -> JSON:
    path = folder / "info" / "metadata"
    with _damaged(f"file {path}"):
        content = json.loads(path.read_bytes())
        info = content["record"]
        if _digest(_canonical(info)) != content["digest"]:
            raise ValueError("not what its digest says")
    if info["format"] != FORMAT:
        raise UserError(
            f'"{folder}" has format {info["format"]}, expected {FORMAT}; use the version that wrote it'
        )
    return info


def _describe(array: np.ndarray) -> JSON:
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "digest": _digest(array.tobytes()),
    }


def _canonical(value: JSON) -> bytes:
    return json.dumps(
        value, sort_keys=True, default=float
    ).encode()  # NumPy and JAX scalars become numbers


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _reason(error: Exception) -> str:
    """The gist of TensorStore's long messages: what stands last, before the details in brackets."""
    return (str(error) or type(error).__name__).splitlines()[0].split(" [")[0][-160:]
