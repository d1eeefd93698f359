"""What a loss means for everything else: the one place that knows the losses by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import optax

from ancf_jax.config import LossName, ObjectiveConfig
from ancf_jax.errors import UserError, nearest
from ancf_jax.objective import losses
from ancf_jax.types import Array, Batch

Candidates = Literal["own", "drawn", "catalogue"]
Link = Literal["sigmoid", "identity"]
Loss = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Objective:
    """What training minimises, and what follows from it for batches, predictions and figures.

    Attributes:
        name: the value of `--objective.loss`.
        candidates: what is scored for an event: its own item, whose value is known; also drawn
            negatives; or the whole catalogue.
        link: how a score becomes a prediction: a value in [0, 1] by the sigmoid, or itself.
        metric: the validation metric that `--loop.metric auto` means.
        loss: of scores and what they are judged by, see `per_example`.
        negatives: how many are drawn, per step or per example; 0 where none are.
    """

    name: LossName
    candidates: Candidates
    link: Link
    metric: str
    loss: Loss
    negatives: int = 0

    @property
    def predicts_values(self) -> bool:
        """Whether a score is held against a value, instead of being a choice among items."""
        return self.candidates == "own"

    def per_example(self, batch: Batch, scores: Array, weight: Array) -> Array:
        """The loss of every example, shaped as `batch.positive`.

        Args:
            batch: the examples.
            scores: [..., C] of each example's candidates: the positive in front of its negatives,
                or the catalogue in its order.
            weight: [..., C], 0 for negatives that do not count; [..., 1] where none are drawn.
        """
        if self.candidates == "own":
            return self.loss(scores[..., 0], batch.value)
        if self.candidates == "catalogue":
            return self.loss(scores, batch.positive)
        return self.loss(scores, weight[..., 1:])


@cache
def objective_of(settings: ObjectiveConfig, items: int) -> Objective:
    """The objective that the settings name.

    Equal arguments give the same object, so that what is compiled for it is found again.

    Args:
        settings: of the objective.
        items: size of the catalogue from which negatives are drawn.

    Raises:
        UserError: there is no such loss, or it has no negatives where it needs some.
    """
    name = settings.loss
    if name not in _BUILDERS:
        known = ", ".join(_BUILDERS)
        raise UserError(
            f'there is no loss "{name}"{nearest(name, _BUILDERS)}; choose one of {known}'
        )
    return _BUILDERS[name](settings, items)


def _mse(settings: ObjectiveConfig, items: int) -> Objective:
    return Objective(
        name="mse",
        candidates="own",
        link="identity",
        metric="loss",
        loss=optax.squared_error,
    )


def _log_loss(settings: ObjectiveConfig, items: int) -> Objective:
    """Cross entropy of a value in [0, 1] whose logit is the score."""
    return Objective(
        name="log_loss",
        candidates="own",
        link="sigmoid",
        metric="auc",
        loss=optax.sigmoid_binary_cross_entropy,
    )


def _softmax(settings: ObjectiveConfig, items: int) -> Objective:
    return Objective(
        name="softmax",
        candidates="catalogue",
        link="identity",
        metric="ndcg@10",
        loss=losses.softmax,
    )


def _bce(settings: ObjectiveConfig, items: int) -> Objective:
    return _against_negatives(settings, losses.bce)


def _bpr(settings: ObjectiveConfig, items: int) -> Objective:
    return _against_negatives(settings, losses.bpr)


def _sampled_softmax(settings: ObjectiveConfig, items: int) -> Objective:
    loss = partial(losses.sampled_softmax, items=items)
    return _against_negatives(settings, loss)


def _gbce(settings: ObjectiveConfig, items: int) -> Objective:
    calibration = settings.gbce_calibration
    loss = partial(losses.gbce, items=items, calibration=calibration)
    return _against_negatives(settings, loss)


def _against_negatives(settings: ObjectiveConfig, loss: Loss) -> Objective:
    """The objective of a loss of the positive against drawn negatives."""
    if settings.negatives < 1:
        raise UserError(
            f"--objective.negatives is {settings.negatives}, expected 1 or more, for "
            f"--objective.loss {settings.loss} holds the positive against negatives; "
            "raise it, or choose the loss softmax"
        )
    return Objective(
        name=settings.loss,
        candidates="drawn",
        link="identity",
        metric="ndcg@10",
        loss=loss,
        negatives=settings.negatives,
    )


_BUILDERS: dict[LossName, Callable[[ObjectiveConfig, int], Objective]] = {
    "mse": _mse,
    "log_loss": _log_loss,
    "bce": _bce,
    "bpr": _bpr,
    "softmax": _softmax,
    "sampled_softmax": _sampled_softmax,
    "gbce": _gbce,
}
