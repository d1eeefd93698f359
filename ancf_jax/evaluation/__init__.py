"""How good a model is on held-out events: figures per user, their means and intervals."""

from ancf_jax.evaluation.calibration import (
    calibration_figures,
    fitted_calibration,
    judged_calibration,
)
from ancf_jax.evaluation.exploring import Explored, explored_evaluation
from ancf_jax.evaluation.figures import PARTS, Evaluation, evaluate
from ancf_jax.evaluation.groups import Group, groups_by_events
from ancf_jax.evaluation.places import Protocol, given_ranks
from ancf_jax.evaluation.truth import truth_metrics
from ancf_jax.evaluation.values import (
    ONE_CLASS,
    Figures,
    judged,
    mean_baselines,
    only_liked,
    value_figures,
    value_objective,
)

__all__ = [
    "ONE_CLASS",
    "PARTS",
    "Evaluation",
    "Explored",
    "Figures",
    "Group",
    "Protocol",
    "calibration_figures",
    "evaluate",
    "explored_evaluation",
    "fitted_calibration",
    "given_ranks",
    "groups_by_events",
    "judged",
    "judged_calibration",
    "mean_baselines",
    "only_liked",
    "truth_metrics",
    "value_figures",
    "value_objective",
]
