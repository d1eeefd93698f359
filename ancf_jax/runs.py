"""A saved run opened for scoring: settings, data and the best checkpoint become a ranker."""

from pathlib import Path
from typing import NamedTuple

import jax

from ancf_jax import data
from ancf_jax.checkpoint import open_run
from ancf_jax.checkpoint.probabilities import read_calibration
from ancf_jax.config import Config
from ancf_jax.data import VALIDATION, Dataset
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.objective.calibration import Calibration
from ancf_jax.prepared import Prepared, prepare
from ancf_jax.ranking import Ranker, ranker_of
from ancf_jax.types import Variables
from ancf_jax.view import SILENT, Watcher, view_of

ALL_BUT_TEST = data.known_parts(data.TEST)


class LoadedRun(NamedTuple):
    """A run that can score.

    Attributes:
        prepared: the model with the data that it knows.
        ranker: the model at its best checkpoint, over that data.
        epoch: the epoch of that checkpoint.
        calibration: makes probabilities of its scores; None where none was fitted.
    """

    prepared: Prepared
    ranker: Ranker
    epoch: int
    calibration: Calibration | None = None

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return self.prepared.config

    @property
    def dataset(self) -> Dataset:
        """The events of the run."""
        return self.prepared.dataset


def load(
    path: str | Path,
    parts: tuple[int, ...] = ALL_BUT_TEST,
    view: Watcher = SILENT,
    devices: int = 1,
    strict: bool = False,
) -> LoadedRun:
    """The best checkpoint of the run in `path`, which is read and never written to.

    Args:
        path: the folder of the run.
        parts: the events that the model may see; by default all that precede the test events.
        view: where damaged checkpoints are told of.
        devices: number of devices that share the users of a ranking.
        strict: whether damage of the best checkpoint is an error, and no other is taken.

    Raises:
        UserError: there is no run, none of its checkpoints is sound, or calibration.json is
            damaged.
    """
    run = open_run(path, view_of(view))
    dataset = data.load(run.path / "dataset")
    run.data_digest = dataset.interactions.digest
    prepared = prepare(run.config, dataset, parts)
    restored = run.restore_best(_shapes(prepared), strict=strict)
    ranker = ranker_of(prepared, restored.state, devices)
    calibration = read_calibration(run.path, restored.epoch)
    return LoadedRun(prepared, ranker, restored.epoch, calibration)


def _shapes(prepared: Prepared) -> Variables:
    """Shapes and dtypes of the variables that a checkpoint of the model holds."""
    model = prepared.model
    if not isinstance(model, NeuralModel):
        return {"batch_stats": {}} | model.shapes()
    key = jax.random.key(prepared.config.seed)
    shapes = jax.eval_shape(model.init, key, prepared.catalogue)
    return {"batch_stats": {}} | shapes


def why_no_probability(
    config: Config, dataset: Dataset, calibration: Calibration | None
) -> str:
    """Why lists of a run have no probabilities, and what to do.

    Args:
        config: the settings of the run.
        dataset: all events.
        calibration: the scale that was fitted, for other lists; None where none was.
    """
    if not (dataset.part == VALIDATION).any():
        return (
            "no column probability: the run has no validation events to fit it on "
            "(--split.validation 0)"
        )
    if calibration is None:
        return (
            "no column probability: none was fitted for the run's best checkpoint; "
            "train.py --resume fits it"
        )
    fate = "kept in" if config.keep_seen else "left out of"
    return (
        f"no column probability: it was fitted with items already had {fate} the ranking; "
        "leave --keep-seen out"
    )
