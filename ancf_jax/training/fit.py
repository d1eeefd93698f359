"""A whole run: data in, checkpoints and curves out."""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import jax
import numpy as np

from ancf_jax.checkpoint import RunFolder
from ancf_jax.config import Config, validate
from ancf_jax.data import dataset as data
from ancf_jax.data import splits
from ancf_jax.data.interactions import VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.runs import build_model, keep_compiled, make_ranker
from ancf_jax.training.curves import draw_curves
from ancf_jax.training.loop import Trainer, trainer
from ancf_jax.training.parallel import everywhere, from_first, is_first, join
from ancf_jax.training.validation import Validator
from ancf_jax.types import TrainState


class View(Protocol):
    """Where a run shows how it goes."""

    def say(self, message: str) -> None:
        """One line."""

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        """How far some work is."""


class _Silent(View):
    """The view of processes other than the first: nothing is shown."""


class Stopped(UserError):
    """A signal ended the run; what was saved stands."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class Fitted(NamedTuple):
    """What a run leaves: the config in force, its data, and the best validation score."""

    config: Config
    dataset: data.Dataset
    score: float
    epochs: int


def fit(config: Config, resume: bool, view: View) -> Fitted:
    """Trains `config.model` on `config.data` into the folder `config.run`.

    With `resume` the run goes on after its latest checkpoint, bit for bit as if it had never
    stopped. Raises UserError for what a person can mend, NumericalError for a loss that is no
    number, Stopped on SIGTERM or SIGINT.
    """
    validate(config)
    if config.loop.distributed:
        join()
    view = view if is_first() else _Silent()  # pyrefly: ignore (the methods of a protocol, which do nothing)
    config = data.resolve(config)
    dataset = data.build(config)
    view.say(splits.describe(dataset.audit))
    model, known = build_model(config, dataset), data.known_parts(VALIDATION)
    with (
        RunFolder.create(config.run, config, resume=resume, say=view.say)
        if is_first()
        else nullcontext() as run
    ):
        if run:
            keep_compiled(run.path)
            run.data_digest = dataset.interactions.digest
            data.save(dataset, run.path / "dataset")
        ranker = replace(make_ranker(dataset, model, {}, known), placement=everywhere())
        log, catalogue = jax.device_get((ranker.log, ranker.catalogue))
        if isinstance(model, NeuralModel):
            made = trainer(config, model, log, catalogue)
            progress = _Training(
                run, made, Validator(config, model, dataset, ranker), view
            ).train()
            return Fitted(config, dataset, progress.best, progress.epoch)
        if run:
            run.save(
                0,
                model.fit(log, catalogue, config.seed, view.progress),
                {},
                0.0,
                {},
                final=True,
            )
        return Fitted(config, dataset, math.nan, 0)


class _Progress(NamedTuple):
    """How far a run is: the epochs done, -1 before the untrained model is judged; the best score, and epochs since."""

    epoch: int = -1
    best: float = -math.inf
    since: int = -1


@dataclass(frozen=True)
class _Training:
    """A run by epochs; processes other than the first have no folder."""

    run: RunFolder | None
    made: Trainer
    validator: Validator
    view: View

    def train(self) -> _Progress:
        """All epochs, from the start or the latest checkpoint; epoch 0 only judges the untrained model."""
        config, (state, progress) = self.made.config, self._begin()
        with _signals(config.run) as check:
            while progress.epoch < config.epochs and not self._given_up(progress):
                title, train_loss = f"epoch {progress.epoch + 1}/{config.epochs}", None
                for reached, step in (
                    self.made.epoch(state, progress.epoch)
                    if progress.epoch >= 0
                    else ()
                ):
                    state, train_loss = reached, step.loss
                    self.view.progress(
                        title, step.done, step.total, f"loss {train_loss:.4f}"
                    )
                    check()
                progress = self._record(state, train_loss, progress)
        if self._given_up(progress):
            self.view.say(
                f"stopped after epoch {progress.epoch}: no better validation in {progress.since} epochs"
            )
        return progress

    def _begin(self) -> tuple[TrainState, _Progress]:
        """Where the first process's latest checkpoint stands, on the devices of all; else the very start."""
        restored = self.run.restore_latest(self.made.shapes) if self.run else None
        progress = (
            _Progress(**restored.progress | {"epoch": restored.epoch})
            if restored
            else _Progress()
        )
        progress = _Progress(
            *(np.asarray(figure).item() for figure in from_first(progress))
        )
        if progress.epoch < 0:
            return self.made.initial_state(), progress
        self.view.say(f"resuming after epoch {progress.epoch}")
        nothing = jax.tree.map(
            lambda shape: np.zeros(shape.shape, shape.dtype), self.made.shapes
        )
        return self.made.place(
            from_first(restored.state if restored else nothing)
        ), progress

    def _given_up(self, progress: _Progress) -> bool:
        return 0 < self.made.config.loop.patience <= progress.since

    def _record(
        self, state: TrainState, train_loss: float | None, progress: _Progress
    ) -> _Progress:
        """Validates the next epoch, writes its row, checkpoint and curves; returns the new progress."""
        portable, config, epoch = (
            self.made.portable(state),
            self.made.config,
            progress.epoch + 1,
        )
        found = self.validator.judge(
            {"params": portable.params, "batch_stats": portable.batch_stats}
        )
        chosen = bool(found) and config.loop.metric != "last"
        score = (
            self.validator.score(found) if chosen else float(epoch)
        )  # the later, the better
        score = score if epoch else math.nan  # the untrained model is not the best
        better = score > progress.best
        progress = (
            _Progress(epoch, score, 0)
            if better
            else _Progress(epoch, progress.best, progress.since + 1)
        )
        row = {} if train_loss is None else {"train_loss": train_loss}
        row |= {f"validation_{name}": value for name, value in found.items()}
        figures = "  ".join(
            f"{name} {value:.4f}" for name, value in row.items() if value is not None
        )
        self.view.say(
            f"epoch {epoch:3d}  {figures}{'  *' if better and chosen else ''}"
        )
        last = epoch == config.epochs or self._given_up(progress)
        due = (
            last
            or (better and chosen)
            or (epoch > 0 and epoch % config.loop.checkpoint_every == 0)
        )
        if self.run:
            self.run.append_metrics({"epoch": epoch} | row)
        if self.run and due:
            self.run.save(
                epoch,
                portable,
                found,
                score,
                progress._asdict(),
                final=epoch == config.epochs,
            )
            draw_curves(self.run.read_metrics(), self.run.path / "curves.png")
        return progress


@contextmanager
def _signals(path: str) -> Iterator[Callable[[], None]]:
    """Yields a function that raises Stopped once SIGTERM or SIGINT came; a second signal ends the process at once."""
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    def check() -> None:
        if received:
            raise Stopped(
                f"stopped by a signal; go on with --run {path} --resume",
                128 + received[0],
            )

    before = {
        number: signal.signal(number, note)
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
