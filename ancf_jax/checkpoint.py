"""A run on disk: written by training, opened by everything.

    DIR/config.json       the resolved settings
    DIR/dataset/          events and vocabularies, written by the data package
    DIR/checkpoints/N/    after epoch N: the leaves of the state (`state`) and a JSON record (`info`)
    DIR/metrics.jsonl     one row per epoch
    DIR/run.lock          locked while a process trains; holds its id

Orbax writes checkpoints, each at once or not at all. They are read leaf by leaf through TensorStore, the storage
under Orbax: that names the damaged leaf, checks a shape before memory is taken for it (Orbax's own NumPy path
aborts the process on an absurd one), and needs neither the lock nor the devices of the run.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts

from ancf_jax.config import Config, from_json, to_json
from ancf_jax.errors import UserError

FORMAT = 1
KEPT = 2
"""How many of the latest and how many of the best checkpoints are kept."""
FREE = ("run", "epochs", "loop.patience", "loop.checkpoint_every", "loop.spread", "loop.validation_users")
"""Settings that may change between a run and its resumption: where it lies, how long and how it runs."""

Say = Callable[[str], None]


class Restored(NamedTuple):
    """A checkpoint: the state after `epoch`, and what was noted with it; `score` is -inf where it was NaN."""

    state: Any
    epoch: int
    metrics: dict[str, float | None]
    score: float
    progress: dict[str, Any]


class _Damaged(Exception):
    """A checkpoint that cannot be trusted; says which leaf or file."""


class SavedRun:
    """A run opened for reading: takes no lock, writes nothing, works beside a training process.

    `path` is its folder, `config` its settings. Where the caller sets `data_digest`, checkpoints made from other
    data are refused.
    """

    def __init__(self, path: Path, config: Config, say: Say):
        self.path, self.config, self._say = path, config, say
        self.data_digest = ""

    def epochs(self) -> list[int]:
        """The epochs with a checkpoint, ascending."""
        return sorted(int(p.name) for p in (self.path / "checkpoints").glob("*") if p.name.isdecimal())

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; a line torn by a kill is left out."""
        return [row for _, row in _rows(self.path / "metrics.jsonl")]

    def restore_best(self, template: Any, *, strict: bool = False) -> Restored:
        """The checkpoint of highest score (the later of equals); NaN scores come last.

        Args:
            template: pytree whose leaves have `shape` and `dtype`, e.g. from `jax.eval_shape`. It may be a part of
                what was saved: {"params": ..., "batch_stats": ...} reads a saved TrainState without its optimiser.
            strict: a damaged checkpoint is an error, instead of a message and the next best.

        Raises UserError where there is no checkpoint, all are damaged, or it does not fit template or settings.
        """
        found = self._restore(sorted(self.epochs(), key=self._rank, reverse=True), template, strict)
        if found is None:
            raise UserError(f'run "{self.path}" has no checkpoint yet; train it with train.py --run "{self.path}"')
        return found

    def _folder(self, epoch: int) -> Path:
        return self.path / "checkpoints" / str(epoch)

    def _rank(self, epoch: int) -> tuple[float, int]:
        try:
            return _read_info(self._folder(epoch))["score"], epoch
        except _Damaged:
            return math.inf, epoch  # tried first, so that the damage is told

    def _restore(self, epochs: Sequence[int], template: Any, strict: bool) -> Restored | None:
        """The first of `epochs` that is sound; the damaged ones before it are told."""
        damaged: list[str] = []
        for epoch in epochs:
            try:
                found = self._read(epoch, template)
            except _Damaged as error:
                if self._folder(epoch).exists():  # else a training process beside us has just replaced it
                    damaged.append(f"checkpoint {epoch} is damaged ({error})")
                if strict and damaged:
                    raise UserError(f'{damaged[0]} in "{self.path}"; without strict another is used') from None
                continue
            for message in damaged:
                self._say(f"{message}; using {epoch}")
            return found
        if damaged:
            raise UserError(f'"{self.path}" has no sound checkpoint: {"; ".join(damaged)}; train in another --run')
        return None

    def _read(self, epoch: int, template: Any) -> Restored:
        info = _read_info(self._folder(epoch))
        if changes := _changes(info["config"], _settings(self.config)):
            raise UserError(f"config.json has changed since checkpoint {epoch}: {changes}; restore the settings")
        if self.data_digest and info["data"] not in ("", self.data_digest):
            digests = f"digest {info['data'][:12]}, now {self.data_digest[:12]}"
            raise UserError(f'"{self.path}" was made from other data ({digests}); use the same, or another --run')
        leaves = _named_leaves(template)
        _check_fit(epoch, leaves, info["leaves"])
        arrays = [_read_leaf(self._folder(epoch) / "state", name, **info["leaves"][name]) for name in leaves]
        # A copy on the default device, free to move: as from `init`, on however many devices.
        state = jax.tree.unflatten(jax.tree.structure(template), [jnp.array(a) for a in arrays])
        return Restored(state, epoch, info["metrics"], info["score"], info["progress"])


class RunFolder(SavedRun, contextlib.AbstractContextManager):
    """A run opened for training, locked until `close` or the end of the process, kill -9 included."""

    @classmethod
    def create(cls, path: str | Path, config: Config, *, resume: bool, say: Say) -> RunFolder:
        """Starts a run in an empty folder, or resumes the one that is there.

        With `resume`, settings in `FREE` may differ from the saved ones and are taken over; on a folder without a
        run it simply starts, and says so.

        Raises UserError where another process trains there, a run is there without `resume`, settings other than
        those in `FREE` differ, or the folder cannot be written.
        """
        folder = Path(path).absolute()
        lock = _take_lock(folder)
        try:
            _settle_config(folder, config, resume, say)
            return cls(folder, config, say, lock)
        except BaseException:
            lock.close()
            raise

    def __init__(self, path: Path, config: Config, say: Say, lock: IO[str]):
        super().__init__(path, config, say)
        self._lock = lock
        self._clean()
        options = ocp.CheckpointManagerOptions(
            cleanup_tmp_directories=True,
            todelete_subdir="deleted",  # renamed before it is removed: a kill leaves no half of a checkpoint
            lightweight_initialize=True,
            enable_async_checkpointing=False,
        )
        self._manager = ocp.CheckpointManager(path / "checkpoints", options=options)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees the lock; nothing is pending, for every save is finished when it returns."""
        self._manager.close()
        self._lock.close()

    def restore_latest(self, template: Any, *, strict: bool = False) -> Restored | None:
        """The newest sound checkpoint, None where there is none yet; arguments and errors as `restore_best`.

        What is later than it (damaged checkpoints, rows of metrics.jsonl) goes, for training will write it anew.
        """
        found = self._restore(self.epochs()[::-1], template, strict)
        last = found.epoch if found else -1
        self._delete([epoch for epoch in self.epochs() if epoch > last])
        rows = _rows(self.path / "metrics.jsonl")
        _write_atomic(self.path / "metrics.jsonl", "".join(line for line, row in rows if row["epoch"] <= last))
        return found

    def save(
        self,
        epoch: int,
        state: Any,
        metrics: dict[str, float | None],
        score: float,
        progress: dict[str, Any],
        *,
        final: bool = False,
    ) -> bool:
        """Writes the state after `epoch`, keeps the latest and the best two; returns whether it is on disk.

        An epoch that is already there stands. Where writing fails, older checkpoints stay and a warning is said.

        Args:
            state: pytree of `jax.Array`; copied to the host at once, so it may be donated afterwards.
            score: higher is better; NaN counts as -inf.
            progress: plain JSON that training needs to go on, e.g. epochs since the best.
            final: raise UserError where writing fails.
        """
        if epoch in self.epochs():
            return True
        host = {name: _to_host(name, leaf) for name, leaf in _named_leaves(state).items()}
        info = {
            "format": FORMAT,
            "metrics": metrics,
            "score": -math.inf if math.isnan(score) else score,
            "progress": progress,
            "config": _settings(self.config),
            "data": self.data_digest,
            "leaves": {name: _describe(array) for name, array in host.items()},
        }
        try:
            self._write(epoch, host, json.loads(_canonical(info)))
        except (OSError, ValueError, RuntimeError) as error:  # TensorStore reports a full disk as ValueError
            self._clean()
            message = f'checkpoint {epoch} could not be written to "{self.path}": {_reason(error)}'
            if final:
                raise UserError(f"{message}; make room and --resume from {self.epochs() or 'the start'}") from error
            self._say(f"WARNING: {message}; training goes on, kept are {self.epochs() or 'none'}")
            return False
        return True

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Adds a row, which holds `epoch`, to metrics.jsonl; to be called before the epoch is saved."""
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        try:
            with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(_canonical(finite) + "\n")
        except OSError as error:
            self._say(f"WARNING: metrics of epoch {row['epoch']} could not be written: {_reason(error)}")

    def _write(self, epoch: int, host: dict[str, np.ndarray], info: dict[str, Any]) -> None:
        arrays = ocp.args.StandardSave({name: array for name, array in host.items() if array.size})  # Orbax wants > 0
        record = ocp.args.JsonSave({"digest": _digest(_canonical(info)), "record": info})
        with _quiet():
            # Without `force` Orbax passes over an epoch that is not the newest, and says nothing.
            self._manager.save(epoch, args=ocp.args.Composite(state=arrays, info=record), force=True)
            self._manager.wait_until_finished()
        sound = [e for e in self.epochs() if self._rank(e)[0] < math.inf]
        kept = {*sound[-KEPT:], *sorted(sound, key=self._rank)[-KEPT:]}
        self._delete([e for e in self.epochs() if e not in kept])

    def _delete(self, epochs: list[int]) -> None:
        for epoch in epochs:
            self._manager.delete(epoch)
        self._clean()

    def _clean(self) -> None:
        """Removes what a killed or failed write or deletion left."""
        folder = self.path / "checkpoints"
        for leftover in [*folder.glob("*.orbax-checkpoint-tmp*"), folder / "deleted"]:
            shutil.rmtree(leftover, ignore_errors=True)


def open_run(path: str | Path, say: Say) -> SavedRun:
    """Opens a run for reading; raises UserError where there is none or its settings cannot be read."""
    folder = Path(path).absolute()
    if not (folder / "config.json").is_file():
        raise UserError(f'there is no run in "{path}" (no config.json); train one with train.py --run "{path}"')
    return SavedRun(folder, _load_config(folder), say)


def _take_lock(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "run.lock", "a+", encoding="utf-8")  # noqa: SIM115 (open as long as the run)
    except OSError as error:
        raise UserError(f'run folder "{folder}" cannot be written ({error.strerror}); choose another --run') from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read() or "unknown"
        lock.close()
        raise UserError(f'process {holder} trains in "{folder}"; wait for it, or choose another --run') from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _settle_config(folder: Path, config: Config, resume: bool, say: Say) -> None:
    saved = folder / "config.json"
    if saved.exists() or (folder / "checkpoints").exists():
        if not resume:
            raise UserError(f'"{folder}" already holds a run; pass --resume to go on with it, or another --run')
        if saved.exists() and (changes := _changes(_settings(_load_config(folder)), _settings(config))):
            raise UserError(f'cannot resume "{folder}" with other settings: {changes}; keep them, or use another --run')
    elif resume:
        say(f'nothing to resume in "{folder}": starting from the beginning')
    _write_atomic(saved, to_json(config))


def _load_config(folder: Path) -> Config:
    try:
        return from_json((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f'"{folder / "config.json"}" cannot be read ({_reason(error)}); restore it') from None


def _settings(config: Config) -> dict[str, Any]:
    return {name: value for name, value in json.loads(to_json(config)).items() if name not in FREE}


def _changes(old: dict[str, Any], new: dict[str, Any]) -> str:
    return ", ".join(f"{k} {old[k]} -> {new[k]}" for k in new if k in old and old[k] != new[k])


def _named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by dotted path, equal for a dict and a named tuple with the same fields."""
    leaves = [(jax.tree_util.keystr(p, simple=True, separator="."), x) for p, x in jax.tree.leaves_with_path(tree)]
    if len(dict(leaves)) < len(leaves):
        raise ValueError("two leaves of the state share a dotted name")
    return dict(leaves)


def _to_host(name: str, leaf: Any) -> np.ndarray:
    if not isinstance(leaf, jax.Array):
        raise TypeError(f"leaf {name} is {type(leaf).__name__}, expected jax.Array")
    return np.array(leaf)


def _describe(array: np.ndarray) -> dict[str, Any]:
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return {"shape": list(array.shape), "dtype": array.dtype.name, "digest": _digest(data)}


def _check_fit(epoch: int, template: dict[str, Any], saved: dict[str, dict[str, Any]]) -> None:
    for name, leaf in template.items():
        if name not in saved:
            raise UserError(f"checkpoint {epoch} has no leaf {name}, which the model expects; was it another model?")
        found = f"{saved[name]['dtype']}{saved[name]['shape']}"
        expected = f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
        if found != expected:
            raise UserError(f"leaf {name} of checkpoint {epoch} is {found}, the model expects {expected}")


def _read_leaf(folder: Path, name: str, shape: list[int], dtype: str, digest: str) -> np.ndarray:
    if 0 in shape:
        return np.zeros(shape, dtype)
    files = {"driver": "file", "path": f"{folder}/"}
    spec = {"driver": "zarr", "kvstore": {"driver": "ocdbt", "base": files, "path": f"{name}/"}}
    try:
        store = ts.open(spec | {"fill_missing_data_reads": False}, open=True, read=True).result()
        chunk = store.chunk_layout.read_chunk.shape or ()
        if list(store.shape) != shape or any((c or 0) > s for c, s in zip(chunk, shape, strict=True)):
            raise _Damaged(f"leaf {name}: shape {list(store.shape)} is not that of its record, {shape}")
        array = store.read().result()
    except (OSError, ValueError) as error:
        raise _Damaged(f"leaf {name}: {_reason(error)}") from None
    if _describe(array) != {"shape": shape, "dtype": dtype, "digest": digest}:
        raise _Damaged(f"leaf {name}: not what its digest says")
    return array


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / "info" / "metadata"
    try:
        content = json.loads(path.read_bytes())
        info = content["record"]
        sound = _digest(_canonical(info)) == content["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _Damaged(f"file {path}: {_reason(error)}") from None
    if not sound:
        raise _Damaged(f"file {path}: not what its digest says")
    if info["format"] != FORMAT:
        raise UserError(f'"{folder}" has format {info["format"]}, expected {FORMAT}; use the version that wrote it')
    return info


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=float)  # NumPy and JAX scalars become numbers


def _digest(data: str | memoryview) -> str:
    return hashlib.blake2b(data.encode() if isinstance(data, str) else data, digest_size=16).hexdigest()


def _reason(error: BaseException) -> str:
    """The gist of TensorStore's long messages: what stands last, before the details in brackets."""
    return (str(error) or type(error).__name__).splitlines()[0].split(" [")[0][-160:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Orbax's threads log a traceback for what is raised here anyway."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if path.exists() else []:
        with contextlib.suppress(ValueError):
            rows += [(line, json.loads(line))] if line.endswith("\n") else []
    return rows


def _write_atomic(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UserError(f'"{path}" cannot be written ({error.strerror}); make room, or choose another --run') from None
