"""A whole run: data in, checkpoints and curves out."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from ancf_jax.checkpoint import RunFolder
from ancf_jax.config import Config, validate
from ancf_jax.data import dataset as data
from ancf_jax.data import splits
from ancf_jax.data.dataset import Dataset, known_parts
from ancf_jax.data.interactions import VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.models.protocol import Baseline, NeuralModel
from ancf_jax.runs import build_model, keep_compiled, make_ranker
from ancf_jax.training.curves import draw_curves
from ancf_jax.training.loop import Trainer, trainer
from ancf_jax.training.parallel import from_first, is_first, join
from ancf_jax.training.validation import Validator
from ancf_jax.types import TrainState


class View(Protocol):
    """Where a run shows how it goes."""

    def say(self, message: str) -> None:
        """One line."""
        ...

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        """How far some work is."""
        ...


class Stopped(UserError):
    """A signal ended the run; what was saved stands."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class Fitted(NamedTuple):
    """What a run leaves: the config in force, its data, and the best validation score."""

    config: Config
    dataset: Dataset
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
    view = view if is_first() else _Silent()
    config = data.resolve(config)
    dataset = data.build(config)
    view.say(splits.describe(dataset.audit))
    model = build_model(config, dataset)
    if not is_first():
        if isinstance(model, NeuralModel):
            return _train(None, config, dataset, model, view)
        return Fitted(config, dataset, float("nan"), 0)
    with RunFolder.create(config.run, config, resume=resume, say=view.say) as run:
        keep_compiled(run.path)
        run.data_digest = dataset.interactions.digest
        data.save(dataset, run.path / "dataset")
        if isinstance(model, NeuralModel):
            return _train(run, config, dataset, model, view)
        return _fit_baseline(run, config, dataset, model, view)


class _Silent:
    """The view of processes other than the first."""

    def say(self, message: str) -> None: ...

    def progress(self, title: str, done: int, total: int, note: str = "") -> None: ...


def _fit_baseline(run: RunFolder, config: Config, dataset: Dataset, model: Baseline, view: View) -> Fitted:
    log, catalogue = data.event_log(dataset, known_parts(VALIDATION)), data.catalogue(dataset)
    variables = model.fit(log, catalogue, config.seed, view.progress)
    run.save(0, variables, {}, 0.0, {}, final=True)
    return Fitted(config, dataset, float("nan"), 0)


def _train(run: RunFolder | None, config: Config, dataset: Dataset, model: NeuralModel, view: View) -> Fitted:
    """Epochs, from the start or the latest checkpoint; processes other than the first have no folder."""
    known = known_parts(VALIDATION)
    made = trainer(config, model, data.event_log(dataset, known), data.catalogue(dataset))
    validator = Validator(config, model, dataset, make_ranker(dataset, model, {}, known))
    restored = run.restore_latest(made.shapes) if run else None
    state, epoch, progress = made.initial_state(), 0, Progress(-math.inf, 0)
    if restored is not None:
        state, epoch, progress = restored.state, restored.epoch, Progress(**restored.progress)
        view.say(f"resuming after epoch {epoch}")
    if int(from_first(np.int32(restored is not None))):
        state, epoch, progress = _shared(made, state, epoch, progress)
    else:
        start = {"epoch": 0} | _named(validator.judge(made.variables(state)))
        view.say(describe_epoch(start, better=False))
        if run:
            run.append_metrics(start)
    with _signals(config.run) as check:
        while epoch < config.epochs and not _given_up(config, progress):
            state, train_loss = _one_epoch(made, state, epoch, view, check)
            epoch += 1
            progress = _record(run, made, validator, state, epoch, train_loss, progress, view)
    portable = made.portable(state)
    if run and epoch == 0:
        run.save(0, portable, {}, math.nan, progress._asdict(), final=True)
    elif _given_up(config, progress):
        view.say(f"stopped after epoch {epoch}: no better validation in {config.loop.patience} epochs")
    if run:
        draw_curves(run.read_metrics(), run.path / "curves.png")
    return Fitted(config, dataset, progress.best, epoch)


def _shared(made: Trainer, state: TrainState, epoch: int, progress: Progress) -> tuple[TrainState, int, Progress]:
    """What the first process restored, on the devices of all."""
    if not is_first():
        state = jax.tree.map(lambda shape: np.zeros(shape.shape, shape.dtype), made.shapes)
    state, epoch, best, since = from_first((state, epoch, progress.best, progress.since))
    return made.place(state), int(epoch), Progress(float(best), int(since))


class Progress(NamedTuple):
    """What early stopping remembers: the best score, and the epochs since."""

    best: float
    since: int


def _given_up(config: Config, progress: Progress) -> bool:
    return 0 < config.loop.patience <= progress.since


def _one_epoch(
    made: Trainer, state: TrainState, epoch: int, view: View, check: Callable[[], None]
) -> tuple[TrainState, float]:
    title, loss = f"epoch {epoch + 1}/{made.config.epochs}", math.nan
    for reached, step in made.epoch(state, epoch):
        state, loss = reached, step.loss
        view.progress(title, step.done, step.total, f"loss {loss:.4f}")
        check()
    return state, loss


def _record(
    run: RunFolder | None,
    made: Trainer,
    validator: Validator,
    state: TrainState,
    epoch: int,
    train_loss: float,
    progress: Progress,
    view: View,
) -> Progress:
    """Validates, writes the row, the curves and the checkpoint of an epoch; returns the new progress."""
    found = validator.judge(made.variables(state))
    score = validator.score(found)
    better = score > progress.best
    progress = Progress(score, 0) if better else Progress(progress.best, progress.since + 1)
    row = {"epoch": epoch, "train_loss": train_loss} | _named(found)
    view.say(describe_epoch(row, better))
    due = epoch % made.config.loop.checkpoint_every == 0 or epoch == made.config.epochs or better
    portable = made.portable(state)
    if run:
        run.append_metrics(row)
    if run and (due or _given_up(made.config, progress)):
        run.save(epoch, portable, found, score, progress._asdict(), final=epoch == made.config.epochs)
        draw_curves(run.read_metrics(), run.path / "curves.png")
    return progress


def _named(found: dict[str, float | None]) -> dict[str, float | None]:
    return {f"validation_{name}": value for name, value in found.items()}


def describe_epoch(row: dict[str, Any], better: bool) -> str:
    """An epoch's row in one line, with a star where it is the best so far."""
    figures = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch" and value is not None)
    return f"epoch {row['epoch']:3d}  {figures}{'  *' if better else ''}"


@contextmanager
def _signals(path: str) -> Iterator[Callable[[], None]]:
    """Yields a function that raises Stopped once SIGTERM or SIGINT came; a second signal ends the process at once."""
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    def check() -> None:
        if received:
            raise Stopped(f"stopped by a signal; go on with --run {path} --resume", 128 + received[0])

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, note) for number in numbers]
    try:
        yield check
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
