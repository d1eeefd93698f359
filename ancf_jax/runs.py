"""A saved run opened for scoring: settings, data and the best checkpoint become a ranker."""

import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax

from ancf_jax import models
from ancf_jax.checkpoint import Say, open_run
from ancf_jax.config import Config
from ancf_jax.data import dataset as data
from ancf_jax.models.protocol import Baseline, Model, NeuralModel
from ancf_jax.ranking import Placement, Ranker
from ancf_jax.types import Variables


class LoadedRun(NamedTuple):
    """A run that can score."""

    config: Config
    dataset: data.Dataset
    ranker: Ranker
    epoch: int


def build_model(config: Config, dataset: data.Dataset) -> NeuralModel | Baseline:
    """The model of `config`, sized for the data."""
    return models.build(config, data.sizes(dataset), dataset.interactions.clock)


def make_ranker(
    dataset: data.Dataset, model: Model, variables: Variables, parts: tuple[int, ...]
) -> Ranker:
    """A ranker that knows the events of `parts`."""
    catalogue = data.catalogue(dataset, getattr(model, "followers", 0))
    return Ranker(
        model, variables, *jax.device_put((data.event_log(dataset, parts), catalogue))
    )


def keep_compiled(path: Path) -> None:
    """Lets JAX keep compiled programs in `path`/compiled, so that the next process answers soon.

    Nothing happens where a place for them is set already, or the folder cannot be written.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None and os.access(
        path, os.W_OK
    ):
        jax.config.update("jax_compilation_cache_dir", str(path / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def load(
    path: str | Path,
    parts: tuple[int, ...],
    say: Say,
    placement: Placement | None = None,
) -> LoadedRun:
    """The best checkpoint of the run in `path`, knowing the events of `parts`, on the devices of `placement`.

    Raises UserError where there is no run, or none of its checkpoints is sound.
    """
    run = open_run(path, say)
    keep_compiled(run.path)
    dataset = data.load(run.path / "dataset")
    run.data_digest = dataset.interactions.digest
    model = build_model(run.config, dataset)
    ranker = replace(make_ranker(dataset, model, {}, parts), placement=placement)
    key = jax.random.PRNGKey(run.config.seed)
    shapes = (
        jax.eval_shape(model.init, key, ranker.catalogue)
        if isinstance(model, NeuralModel)
        else model.shapes()
    )
    restored = run.restore_best({"batch_stats": {}} | shapes)
    return LoadedRun(
        run.config, dataset, ranker.with_variables(restored.state), restored.epoch
    )
