"""A run opened for training: its folder is locked, and checkpoints are kept in it."""

import contextlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

from ancf_jax.checkpoint.damage import Damaged, reason
from ancf_jax.checkpoint.leaves import named_leaves, zeros
from ancf_jax.checkpoint.lock import take_lock
from ancf_jax.checkpoint.record import JSON, Record, canonical
from ancf_jax.checkpoint.rows import columns_in, write_rows
from ancf_jax.checkpoint.saved import Restored, SavedRun, open_run
from ancf_jax.checkpoint.scratch import (
    clear_scratch,
    refuse_link,
    scratch_folder,
    told_to_the_user,
)
from ancf_jax.checkpoint.settings import FILE, write_settings
from ancf_jax.checkpoint.together import in_all
from ancf_jax.checkpoint.writing import WRITE_ERRORS, write_checkpoint
from ancf_jax.config import Config, flatten
from ancf_jax.data.storage import replacing
from ancf_jax.errors import UserError
from ancf_jax.machine.parallel import is_first, process_number
from ancf_jax.view import SILENT, View

KEPT = 2  # of the latest and of the best checkpoints each

# Settings that may change when a run goes on: they say how far and how it is trained, not what.
FREE = (
    "run",
    "epochs",
    "loop.patience",
    "loop.checkpoint_every",
    "loop.spread",
    "loop.validation_users",
)


class RunFolder(SavedRun):
    """A run opened for training; no other process can train there meanwhile.

    Where several processes train together, `restore_latest`, `save` and `save_within` are called
    in all of them. The first process writes all files but the rows of divided tables.
    """

    @classmethod
    @contextlib.contextmanager
    def create(
        cls, path: str | Path, config: Config, *, resume: bool, view: View = SILENT
    ) -> Iterator[Self]:
        """Starts a run in an empty folder, or goes on with the one that is there.

        The folder is locked until the `with` block or the process ends, kill -9 included.

        Args:
            path: the folder of the run.
            config: its settings.
            resume: whether to go on with the run that is there.
            view: where warnings are shown.

        Raises:
            UserError: another process trains there, a run is there without `resume`, settings
                other than `FREE` differ from the saved ones, a part of the run is a link, or the
                folder cannot be written.
        """
        run = cls(Path(path).absolute(), config, view)
        if not is_first():  # which holds the lock for all
            yield run
            return
        with take_lock(run.path):
            for place in (run._checkpoints, run.path / "dataset", run._metrics):
                refuse_link(place)
            run._settle_config(resume)
            clear_scratch(run._checkpoints)
            yield run

    def restore_latest(self, template: Any, *, strict: bool = False) -> Restored | None:
        """The newest sound checkpoint, None where there is none yet; all that is later goes.

        Args:
            template: see `restore_best`; also of `rows.Divided`, of which each process reads its
                own rows. Without any the first process alone reads, and the others get zeros.
            strict: whether damage of the newest checkpoint is an error.

        Raises:
            UserError: none is sound, or it does not fit the template.
        """
        newest_first, *_ = in_all(lambda: self._names()[::-1], (UserError,))
        read = partial(self._read_together, template=template)
        name, found = self._restore(newest_first, read, strict)
        later = newest_first[: newest_first.index(name)] if found else []
        last = found.epoch if found else -1
        _by_first(lambda: self._forget(later, last), (UserError,))
        return found

    def _read_together(self, name: str, template: Any) -> Restored:
        """A checkpoint that is sound in all processes."""
        found = []

        def read() -> None:
            if is_first() or columns_in(named_leaves(template)):
                found.append(self._read(name, template))
            else:
                found.append(Restored(zeros(template), -1, {}, -math.inf, {}))

        in_all(read, (Damaged, UserError))
        return found[0]

    def _forget(self, names: list[str], last: int) -> None:
        """Removes checkpoints, and the metrics of epochs after the last."""
        with told_to_the_user(self._checkpoints):
            self._delete(names)
        rows = [row for row in self.read_metrics() if row["epoch"] <= last]
        with replacing(self._metrics) as file:
            file.writelines(canonical(row) + b"\n" for row in rows)

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
        """Writes a checkpoint, and keeps the latest two and the best two.

        An epoch that is saved already stays. Where writing fails, older ones stay, with a warning.

        Args:
            epoch: its number.
            state: a pytree of arrays and of `rows.Divided`.
            metrics: the validation figures.
            score: what the best checkpoint is chosen by; NaN counts as -inf.
            progress: what training needs besides the state to go on.
            final: whether failing to write is an error.

        Returns:
            Whether there is a checkpoint of that epoch now.

        Raises:
            UserError: it could not be written, and is `final`.
        """
        record = self._record(metrics, score, progress)
        return self._save(str(epoch), state, record, final)

    def save_within(self, epoch: int, steps: int, state: Any, progress: JSON) -> bool:
        """Writes the state after an epoch and `steps` steps of the next one.

        It stands until an epoch is saved, or another such state. Where writing fails, the older
        checkpoints stay, with a warning.

        Returns:
            Whether it was written.
        """
        record = self._record({}, -math.inf, progress)
        return self._save(f"{epoch}+{steps}", state, record, final=False)

    def _save(self, name: str, state: Any, record: Record, final: bool) -> bool:
        """Writes a checkpoint, unless it is there; whether it is there now."""
        if self._has(name):
            return True
        try:
            self._write(self._folder(name), named_leaves(state), record)
            _by_first(lambda: self._delete_surplus(name), WRITE_ERRORS)
        except WRITE_ERRORS as error:
            self._tell_failure(name, error, final)
        return self._has(name)

    def _has(self, name: str) -> bool:
        """Whether the first process sees a checkpoint of that name."""
        return in_all(lambda: name in self._names(), ())[0]

    def _write(self, place: Path, leaves: dict[str, Any], record: Record) -> None:
        """Writes a checkpoint, which takes its place when it is whole in all processes."""
        errors = (UserError, *WRITE_ERRORS)
        with contextlib.ExitStack() as stack:

            def begin() -> str:
                if place.is_symlink() or place.exists():
                    raise FileExistsError(f'"{place}" is in its place; move that away')
                return str(stack.enter_context(scratch_folder(self._checkpoints)))

            scratch = Path(_by_first(begin, errors))
            own = partial(write_rows, scratch, process_number(), leaves)
            rows = in_all(own, errors)

            def end() -> None:
                made = scratch / place.name
                write_checkpoint(made, leaves, rows, record)
                made.rename(place)

            _by_first(end, errors)

    def _record(self, metrics: JSON, score: float, progress: JSON) -> Record:
        """What is noted with a checkpoint, but for its leaves."""
        return Record(
            data=self.data_digest,
            metrics=metrics,
            score=-math.inf if math.isnan(score) else score,
            progress=progress,
            leaves={},
        )

    def append_metrics(self, row: JSON) -> None:
        """Adds a row, which holds `epoch`, to metrics.jsonl; before that epoch is saved."""
        finite = {name: _none_unless_finite(value) for name, value in row.items()}
        try:
            with self._metrics.open("ab") as file:
                file.write(canonical(finite) + b"\n")
        except OSError as error:
            self.view.say(
                f"WARNING: metrics of epoch {row['epoch']} could not be written: "
                f"{reason(error)}"
            )

    def _settle_config(self, resume: bool) -> None:
        """Writes config.json, after checking that it may take the place of the one there."""
        if (self.path / FILE).exists() or self._checkpoints.exists():
            if not resume:
                raise UserError(
                    f'"{self.path}" already holds a run; '
                    "pass --resume to go on with it, or another --run"
                )
            self._check_unchanged(open_run(self.path).config)
        elif resume:
            self.view.say(
                f'nothing to resume in "{self.path}": starting from the beginning'
            )
        write_settings(self.path, self.config)

    def _check_unchanged(self, saved: Config) -> None:
        """Raises UserError where settings that are not free differ from the saved ones."""
        old = flatten(saved)
        new = flatten(self.config)
        changes = [
            f"{name} {old[name]} -> {new[name]}"
            for name in new
            if name in old and name not in FREE and old[name] != new[name]
        ]
        if changes:
            raise UserError(
                f'cannot resume "{self.path}" with other settings: '
                f"{', '.join(changes)}; keep them"
            )

    def _tell_failure(self, name: str, error: Exception, final: bool) -> None:
        """Raises UserError for a `final` checkpoint that could not be written, else warns."""
        message = (
            f'checkpoint {name} could not be written to "{self.path}": {reason(error)}'
        )
        left = self.epochs()
        if final:
            raise UserError(
                f"{message}; make room and --resume from {left or 'the start'}"
            ) from error
        self.view.say(
            f"WARNING: {message}; training goes on, kept are {left or 'none'}"
        )

    def _delete_surplus(self, newest: str) -> None:
        """Removes all but the latest and the best epochs; damaged ones count for neither.

        Of states within epochs none stays but the newest checkpoint, if it is one.
        """
        sound = [epoch for epoch in self.epochs() if self._rank(epoch)[0] < math.inf]
        latest = sound[-KEPT:]
        best = sorted(sound, key=self._rank)[-KEPT:]
        kept = {newest, *map(str, latest), *map(str, best)}
        self._delete([name for name in self._names() if name not in kept])

    def _delete(self, names: list[str]) -> None:
        """Removes checkpoints, never half of one."""
        if not names:
            return
        with scratch_folder(self._checkpoints) as scratch:
            for name in names:
                self._folder(name).rename(scratch / name)


def _by_first(work: Callable[[], Any], errors: tuple[type[Exception], ...]) -> Any:
    """What the first process does alone, and all are told of."""
    return in_all(lambda: work() if is_first() else None, errors)[0]


def _none_unless_finite(value: Any) -> Any:
    is_no_number = isinstance(value, float) and not math.isfinite(value)
    return None if is_no_number else value
