"""How far a run is: what it goes on from besides its state."""

import math
import sys
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
    """How far a run is.

    Attributes:
        epoch: epochs done; -1 before the untrained model is judged, which is epoch 0.
        best_score: the best validation score; -inf while the untrained model is the best.
        epochs_since_best: epochs since the best.
        steps: steps done in the epoch at hand.
        loss_sum: of their examples.
        weight: sum of the weights of these.
        untrained: the score of the untrained model on the sample on which it is judged.
    """

    epoch: int = -1
    best_score: float = -math.inf
    epochs_since_best: int = -1
    steps: int = 0
    loss_sum: float = 0.0
    weight: float = 0.0
    untrained: float = -math.inf

    @property
    def has_best(self) -> bool:
        """Whether an epoch was better than the untrained model."""
        return self.best_score > -math.inf

    @property
    def score(self) -> float:
        """That of the best epoch, or of the untrained model."""
        return self.best_score if self.has_best else self.untrained

    @property
    def report(self) -> EpochReport:
        """On the epoch at hand."""
        return EpochReport(self.steps, self.steps, self.loss_sum, self.weight)

    def within(self, report: EpochReport) -> "Standing":
        """The standing within the epoch at hand."""
        return self._replace(
            steps=report.done, loss_sum=report.loss_sum, weight=report.weight
        )

    def after(self, score: float, of_sample: float) -> "Standing":
        """The standing after the epoch at hand, with this score on all users and on the sample.

        The first epoch that is chosen is better than the untrained model on the same sample, and
        later ones are better than the one that was chosen before, on all users.
        """
        epoch = self.epoch + 1
        if epoch == 0:
            untrained = -math.inf if math.isnan(of_sample) else of_sample
            return Standing(epoch, -math.inf, 0, untrained=untrained)
        is_best = of_sample > self.untrained
        if self.has_best:
            is_best = score > self.best_score
        since_best = 0 if is_best else self.epochs_since_best + 1
        best_score = score if is_best else self.best_score
        return Standing(epoch, best_score, since_best, untrained=self.untrained)

    def recorded(self, score: float) -> float:
        """The score of the epoch just done, as the best checkpoint is found by it.

        That of the untrained model, which was judged on a sample, is below all others but those
        of epochs that are no better.
        """
        if self.epoch == 0:
            return -sys.float_info.max
        return score if self.has_best else -math.inf


def standing_of_first(progress: dict[str, Any]) -> Standing:
    """The first process's standing, for all processes, bit for bit.

    Args:
        progress: the fields of the first process's standing; those left out are at their start.
    """
    numbers = np.array(Standing(**progress), np.float64)
    # In halves, for devices know no numbers of 64 bits.
    halves = np.asarray(from_first(numbers.view(np.uint32)))
    standing = Standing(*halves.view(np.float64).tolist())
    return standing._replace(
        epoch=int(standing.epoch),
        epochs_since_best=int(standing.epochs_since_best),
        steps=int(standing.steps),
    )
