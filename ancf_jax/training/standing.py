"""How far a run is: what it goes on from besides its state."""

import math
from typing import Any, NamedTuple

import numpy as np

from ancf_jax.machine.parallel import from_first


class EpochReport(NamedTuple):
    """How far an epoch is.

    Attributes:
        done: steps done.
        total: steps of the epoch; about so many where the data is streamed.
        loss_sum: of the examples so far.
        weight: sum of their weights.
    """

    done: int = 0
    total: int = 0
    loss_sum: float = 0.0
    weight: float = 0.0

    @property
    def loss(self) -> float:
        """The mean loss so far."""
        return self.loss_sum / max(self.weight, 1.0)


NOT_BEGUN = EpochReport()


class Standing(NamedTuple):
    """How far a run is; the last three are those of the report on the epoch at hand.

    Attributes:
        epoch: epochs done; -1 before the untrained model is judged, which is epoch 0.
        best_score: the best validation score.
        epochs_since_best: epochs since it.
        steps: steps done in the epoch at hand.
        loss_sum: of their examples.
        weight: sum of the weights of these.
    """

    epoch: int = -1
    best_score: float = -math.inf
    epochs_since_best: int = -1
    steps: int = 0
    loss_sum: float = 0.0
    weight: float = 0.0

    @property
    def report(self) -> EpochReport:
        """On the epoch at hand."""
        return EpochReport(self.steps, self.steps, self.loss_sum, self.weight)

    def within(self, report: EpochReport) -> "Standing":
        """The standing within the epoch at hand."""
        return self._replace(
            steps=report.done, loss_sum=report.loss_sum, weight=report.weight
        )

    def after(self, score: float) -> "Standing":
        """The standing after the epoch at hand, with this score."""
        if score > self.best_score:
            return Standing(self.epoch + 1, score, 0)
        return Standing(self.epoch + 1, self.best_score, self.epochs_since_best + 1)


def standing_of_first(progress: dict[str, Any]) -> Standing:
    """The first process's standing, for all processes, bit for bit.

    Args:
        progress: the fields of the first process's standing; those left out are at their start.
    """
    numbers = np.array(Standing(**progress), np.float64)
    # In halves, for devices know no numbers of 64 bits.
    halves = np.asarray(from_first(numbers.view(np.uint32)))
    epoch, best_score, epochs_since_best, steps, loss_sum, weight = halves.view(
        np.float64
    ).tolist()
    return Standing(
        epoch=int(epoch),
        best_score=best_score,
        epochs_since_best=int(epochs_since_best),
        steps=int(steps),
        loss_sum=loss_sum,
        weight=weight,
    )
