"""The last step of a run: validation events fix what its scores mean as probabilities."""

from typing import Any

from ancf_jax.checkpoint import RunFolder
from ancf_jax.checkpoint.probabilities import save_calibration
from ancf_jax.data import VALIDATION, heldout
from ancf_jax.evaluation import fitted_calibration, value_objective
from ancf_jax.machine.parallel import ranking_devices, several_processes
from ancf_jax.prepared import Prepared
from ancf_jax.ranking import Ranker, ranker_of
from ancf_jax.types import Variables
from ancf_jax.view import View


def calibrate_best(
    run: RunFolder, prepared: Prepared, ranker: Ranker, shapes: Any, view: View
) -> None:
    """Fits and saves the scale of the best checkpoint of a model that trains by epochs.

    Args:
        run: the folder.
        prepared: the model and its data.
        ranker: over the training log, with any variables.
        shapes: of a `TrainState`.
        view: where it is said that the scale was fitted.
    """
    if not _can_be_calibrated(prepared):
        return
    template = {"params": shapes.params, "batch_stats": shapes.batch_stats}
    best = run.restore_best(template)
    if several_processes():  # whose arrays are shared: this process needs its own
        ranker = ranker_of(prepared, best.state, ranking_devices())
    else:
        ranker = ranker.with_variables(best.state)
    _calibrate(run, prepared, ranker, best.epoch, view)


def calibrate_fitted(
    run: RunFolder, prepared: Prepared, variables: Variables, view: View
) -> None:
    """Fits and saves the scale of a model that was fitted as a whole: its epoch is 0."""
    if _can_be_calibrated(prepared):
        ranker = ranker_of(prepared, variables, ranking_devices())
        _calibrate(run, prepared, ranker, 0, view)


def _can_be_calibrated(prepared: Prepared) -> bool:
    """Whether the model ranks, and validation events show how well."""
    has_validation = bool((prepared.dataset.part == VALIDATION).any())
    return has_validation and value_objective(prepared) is None


def _calibrate(
    run: RunFolder, prepared: Prepared, ranker: Ranker, epoch: int, view: View
) -> None:
    config = prepared.config
    users = config.loop.validation_users
    held = heldout(prepared.dataset, VALIDATION, users, config.seed)
    calibration = fitted_calibration(ranker, held, bool(config.keep_seen))
    if calibration is None:
        return
    save_calibration(run.path, epoch, calibration)
    view.say(
        f"probabilities fitted on {len(held.user):,} validation requests: "
        f"slope {calibration.slope:.4g}, offset {calibration.offset:.4g}"
    )
