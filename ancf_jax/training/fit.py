"""A whole run: data in, checkpoints and curves out."""

import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from ancf_jax import data
from ancf_jax.checkpoint import RunFolder
from ancf_jax.config import Config, validate
from ancf_jax.data import VALIDATION, audits
from ancf_jax.errors import Stopped
from ancf_jax.machine.parallel import is_first, join, largest, several_processes
from ancf_jax.models.protocol import FittedModel, NeuralModel
from ancf_jax.prepared import Prepared, prepare
from ancf_jax.training.adapt import adapt
from ancf_jax.training.curves import Row, draw_curves, row_of
from ancf_jax.training.footprint import require_memory
from ancf_jax.training.loop import Trainer, trainer
from ancf_jax.training.pace import Pace
from ancf_jax.training.probabilities import calibrate_best, calibrate_fitted
from ancf_jax.training.standing import EpochReport, Standing, standing_of_first
from ancf_jax.training.validation import Validator, Verdict, validator_of
from ancf_jax.training.watched import Check, Watched, never
from ancf_jax.types import TrainState
from ancf_jax.view import SILENT, View, Watcher, view_of


class Fitted(NamedTuple):
    """What a run leaves.

    Attributes:
        config: the settings in force.
        dataset: its data.
        score: the best validation score; NaN for a model without epochs.
        epochs: how many were done.
    """

    config: Config
    dataset: data.Dataset
    score: float
    epochs: int


def fit(
    config: Config,
    resume: bool = False,
    view: Watcher = SILENT,
    check: Check = never,
    undecided: Collection[str] = (),
    strict: bool = False,
) -> Fitted:
    """Trains `config.model` on `config.data` into the folder `config.run`.

    Args:
        config: the settings.
        resume: go on after the run's latest checkpoint, bit for bit as if it had never stopped.
        view: where the run shows how it goes, or `print`; that of the first process of several.
        check: called every few steps; it may raise `errors.Stopped`, and the state is saved then.
        undecided: settings, by dotted name, that the data may choose; see `adapt`.
        strict: whether damage of the latest checkpoint is an error, and no older one is taken.

    Raises:
        UserError: for what a person can mend.
        NumericalError: the loss is not a number.
    """
    validate(config)
    if config.loop.distributed:
        join()
    watch = Watched(view_of(view) if is_first() else SILENT, check)
    prepared = _prepared(data.resolve(config), undecided, watch)
    with _run_folder(prepared, resume, watch) as run:
        standing = Standing(0, untrained=math.nan)
        if isinstance(prepared.model, NeuralModel):
            made = trainer(prepared)
            standing = _Training(run, made, validator_of(made), watch, strict).train()
        elif is_first():
            _fit_as_a_whole(prepared.model, run, prepared, watch)
    config = prepared.config
    return Fitted(config, prepared.dataset, standing.score, standing.epoch)


def _prepared(config: Config, undecided: Collection[str], watch: Watched) -> Prepared:
    """The model with its data, and with what the data chose of the settings."""
    dataset = data.build(config)
    watch.check()
    watch.say(audits.describe(dataset.audit))
    config = adapt(config, dataset, undecided, watch)
    prepared = prepare(config, dataset, data.known_parts(VALIDATION))
    require_memory(prepared)
    return prepared


def _fit_as_a_whole(
    model: FittedModel, run: RunFolder | None, prepared: Prepared, view: View
) -> None:
    """Fits a model without epochs, and saves it with the scale of its probabilities.

    Only the first process, which has the folder of the run, does so.
    """
    if run is None:
        return
    seed = prepared.config.seed
    variables = model.fit(prepared.log, prepared.catalogue, seed, view)
    run.save(0, variables, {}, 0.0, {}, final=True)
    calibrate_fitted(run, prepared, variables, view)


@contextmanager
def _run_folder(prepared: Prepared, resume: bool, view: View) -> Iterator[RunFolder]:
    """The folder of the run, in which the first process puts the data."""
    config = prepared.config
    with RunFolder.create(config.run, config, resume=resume, view=view) as run:
        run.data_digest = prepared.dataset.interactions.digest
        run.require_same_data()
        if is_first():
            data.save(prepared.dataset, run.path / "dataset")
        yield run


@dataclass(frozen=True)
class _Training:
    """A run by epochs.

    Attributes:
        run: the folder.
        trainer: trains an epoch.
        validator: judges it.
        view: where the run shows how it goes.
        strict: whether damage of the latest checkpoint is an error.
        pace: tells how long it will take.
    """

    run: RunFolder
    trainer: Trainer
    validator: Validator
    view: Watched
    strict: bool = False
    pace: Pace = field(default_factory=Pace)

    @property
    def config(self) -> Config:
        return self.trainer.prepared.config

    def train(self) -> Standing:
        """All epochs, from the start or the latest checkpoint; then the scale of the best one.

        Epoch 0 only judges the untrained model, which is kept where no epoch is better.
        """
        state, standing = self._begin()
        while standing.epoch < self.config.epochs and not self._gives_up(standing):
            state, standing = self._train_epoch(state, standing)
            with self._kept_when_stopped(state, standing):
                standing = self._record(state, standing)
        if self._gives_up(standing):
            self.view.say(
                f"stopped after epoch {standing.epoch}: "
                f"no better validation in {standing.epochs_since_best} epochs"
            )
        if 0 < standing.epoch == standing.epochs_since_best:
            self.view.say(
                "no epoch was better than the untrained model, which is kept; "
                "lower --optim.learning-rate, or raise --optim.weight-decay"
            )
        if is_first():
            ranker = self.validator.ranker
            prepared = self.trainer.prepared
            calibrate_best(self.run, prepared, ranker, self.trainer.shapes, self.view)
        return standing

    def _begin(self) -> tuple[TrainState, Standing]:
        """The latest checkpoint, on the devices of all processes; else the very start."""
        states = self.trainer.states
        template = states.template(self.trainer.shapes)
        restored = self.run.restore_latest(template, strict=self.strict)
        progress = restored.progress if restored else {}
        change = self.trainer.change_of_devices(progress.pop("devices", 0))
        standing = standing_of_first(progress)
        if restored is None or standing.epoch < 0:
            return self.trainer.initial_state(), standing
        within = f" and {standing.steps:,} steps" if standing.steps else ""
        self.view.say(f"resuming after epoch {standing.epoch}{within}{change}")
        return states.restored(restored.state), standing

    @property
    def _asking_view(self) -> View:
        """The view, which asks whether to go on where that stops no process but this one."""
        return self.view.view if several_processes() else self.view

    def _gives_up(self, standing: Standing) -> bool:
        """Whether no epoch was better for as long as patience lasts."""
        return 0 < self.config.loop.patience <= standing.epochs_since_best

    def _train_epoch(
        self, state: TrainState, standing: Standing
    ) -> tuple[TrainState, Standing]:
        """Trains to the end of the epoch at hand; epoch 0 trains nothing."""
        if standing.epoch < 0:
            return state, standing
        title = f"epoch {standing.epoch + 1}/{self.config.epochs}"
        epoch = self.trainer.epoch(state, standing.epoch, standing.report)
        for reached, report in epoch:
            state = reached
            standing = standing.within(report)
            with self._kept_when_stopped(state, standing):
                note = f"loss {report.loss:.4f}"
                self.view.progress(title, report.done, report.total, note)
                self._say_pace(report, standing)
        return state, standing

    def _say_pace(self, report: EpochReport, standing: Standing) -> None:
        epochs_after = self.config.epochs - standing.epoch - 1
        words = self.pace.told(report, epochs_after)
        if words:
            self.view.say(words)

    @contextmanager
    def _kept_when_stopped(
        self, state: TrainState, standing: Standing
    ) -> Iterator[None]:
        """Saves a state within an epoch where the block is stopped, in one process or another."""
        stopped = None
        try:
            yield
        except Stopped as error:
            stopped = error
        if not largest(int(stopped is not None)):
            return
        if standing.steps:
            self._save_within(state, standing)
        elsewhere = "another process of this run was stopped; resume all with --resume"
        raise stopped or Stopped(elsewhere, 143)

    def _save_within(self, state: TrainState, standing: Standing) -> None:
        begin = time.monotonic()
        saved = self.trainer.states.saved(state)
        epoch = standing.epoch
        steps = standing.steps
        noted = self.trainer.noted(standing)
        if self.run.save_within(epoch, steps, saved, noted):
            seconds = time.monotonic() - begin
            self.view.say(
                f"saved after epoch {epoch} and {steps:,} steps, in {seconds:.1f} s"
            )

    def _record(self, state: TrainState, standing: Standing) -> Standing:
        """Validates an epoch and writes its row, checkpoint and curves; the new standing."""
        train_loss = standing.report.loss if standing.steps else None
        epoch = standing.epoch + 1
        figures, score, of_sample, by_metric = self._verdict(state, epoch, standing)
        standing = standing.after(score, of_sample)
        is_best = by_metric and standing.epochs_since_best == 0
        score = standing.recorded(score)
        row = row_of(train_loss, figures)
        self._say(epoch, row, is_best)
        if is_first():
            self.run.append_metrics({"epoch": epoch, **row})
        if self._is_due(standing, is_best):
            is_last = epoch == self.config.epochs
            noted = self.trainer.noted(standing)
            saved = self.trainer.states.saved(state)
            self.run.save(epoch, saved, figures, score, noted, final=is_last)
            self._draw()
        return standing

    def _verdict(self, state: TrainState, epoch: int, standing: Standing) -> Verdict:
        """How good an epoch is; where nothing is judged, no process needs whole tables."""
        variables = {}
        if self.validator.has_events:
            variables = self.trainer.states.variables(state)
        view = self._asking_view
        return self.validator.verdict(variables, epoch, standing.has_best, view)

    def _draw(self) -> None:
        """Draws the curves; training goes on without them, too."""
        if not is_first():
            return
        try:
            draw_curves(self.run.read_metrics(), self.run.path / "curves.png")
        except OSError as error:
            self.view.say(f"WARNING: curves.png was not written: {error.strerror}")

    def _is_due(self, standing: Standing, is_best: bool) -> bool:
        """Whether an epoch gets a checkpoint."""
        epoch = standing.epoch
        is_last = epoch == self.config.epochs or self._gives_up(standing)
        is_its_turn = epoch > 0 and epoch % self.config.loop.checkpoint_every == 0
        return is_last or is_best or is_its_turn

    def _say(self, epoch: int, row: Row, is_best: bool) -> None:
        figures = [
            f"{name} {value:.4f}" for name, value in row.items() if value is not None
        ]
        mark = "  *" if is_best else ""
        self.view.say(f"epoch {epoch:3d}  {'  '.join(figures)}{mark}")
