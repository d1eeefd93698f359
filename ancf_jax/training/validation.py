"""What an epoch is judged by: the loss and a metric on validation events, never on test."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.batching.drawing import draw_candidates
from ancf_jax.batching.histories import request_after_log
from ancf_jax.data import VALIDATION, heldout, heldout_events
from ancf_jax.errors import NumericalError, UserError, nearest
from ancf_jax.evaluation import Figures, judged, value_figures
from ancf_jax.machine.parallel import ranking_devices
from ancf_jax.machine.precision import products_in
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.objective import intervals, metrics
from ancf_jax.objective.objective import Objective
from ancf_jax.prepared import Prepared
from ancf_jax.ranking import Ranker, ranker_of
from ancf_jax.training.loop import Trainer
from ancf_jax.training.program import sampling_of
from ancf_jax.types import Array, Batch, Catalogue, EventLog, Variables
from ancf_jax.view import SILENT, View

LOWER_IS_BETTER = ("loss", "rmse", "mae", "log_loss")
EVENTS_PER_BLOCK = 256  # of which the loss is computed at a time
# On few users the untrained model is judged, so that training begins soon.
SAMPLE_USERS = 1_000
SAMPLE_BLOCKS = 4  # of events, for its loss


class Verdict(NamedTuple):
    """What an epoch is judged to be.

    Attributes:
        figures: by name; of the sample for the untrained model.
        score: the chosen metric as a figure of which more is better, or the number of the epoch.
        of_sample: the same on the sample, on which the untrained model was judged, too.
        by_metric: whether the score is that of a metric.
    """

    figures: Figures
    score: float
    of_sample: float
    by_metric: bool


@dataclass(frozen=True)
class Validator:
    """Scores the state after each epoch on the validation events.

    Attributes:
        prepared: the model with its data.
        model: the model.
        objective: what it learns.
        ranker: over the training log; its variables are replaced by those that are judged.
    """

    prepared: Prepared
    model: NeuralModel
    objective: Objective
    ranker: Ranker

    def verdict(
        self, variables: Variables, epoch: int, has_best: bool, view: View = SILENT
    ) -> Verdict:
        """Judges an epoch; the untrained model, epoch 0, on a sample of the users alone.

        Args:
            variables: parameters and batch statistics.
            epoch: how many were trained.
            has_best: whether an epoch was better than the untrained model already; where none
                was, the sample shows whether this one is.
            view: where progress is shown.

        Raises:
            NumericalError: the loss is not a number.
            UserError: the metric is not among the figures.
        """
        figures = self.judge(variables, view, on_sample=epoch == 0)
        if not figures or self.prepared.config.loop.metric == "last":
            return Verdict(figures, float(epoch), float(epoch), False)
        score = self.score(figures)
        of_sample = score
        if self._has_sample and epoch > 0 and not has_best:
            of_sample = self.score(self.judge(variables, view, on_sample=True))
        return Verdict(figures, score, of_sample, not math.isnan(score))

    def judge(
        self, variables: Variables, view: View = SILENT, on_sample: bool = False
    ) -> Figures:
        """Validation loss and metrics by name; none without validation events.

        Args:
            variables: parameters and batch statistics.
            view: where progress is shown.
            on_sample: whether some users and events do, the same ones every time.

        Raises:
            NumericalError: the loss is not a number.
        """
        if not self._blocks:
            return {}
        loss = self.loss(variables, on_sample)
        if not math.isfinite(loss):
            rate = self.prepared.config.optim.learning_rate
            raise NumericalError(
                f"the validation loss is {loss} with learning rate {rate}; "
                "lower --optim.learning-rate"
            )
        ranker = self.ranker.with_variables(variables)
        figures: Figures = {"loss": loss}
        if self.objective.predicts_values:
            dataset = self.prepared.dataset
            events = judged(ranker, dataset, VALIDATION, self.objective.name)
            figures.update(value_figures(*events))
        else:
            users = self.prepared.config.loop.validation_users
            users = min(users, SAMPLE_USERS) if on_sample else users
            figures.update(self._ranking_metrics(ranker, users, view))
        return figures

    @property
    def _has_sample(self) -> bool:
        """Whether a sample is less than all."""
        users = heldout_events(self.prepared.dataset, VALIDATION).user
        is_more_users = len(np.unique(users)) > SAMPLE_USERS
        return is_more_users or len(self._blocks) > SAMPLE_BLOCKS

    def _ranking_metrics(
        self, ranker: Ranker, users: int, view: View
    ) -> dict[str, float]:
        """Metrics of so many users against the whole catalogue.

        Data that is tested against given negatives is validated against as many random ones.
        """
        config = self.prepared.config
        dataset = self.prepared.dataset
        held = heldout(dataset, VALIDATION, users, config.seed)
        ranks, _ = ranker.ranks(held, bool(config.keep_seen), view)
        negatives = dataset.interactions.given_negatives
        if negatives is None:
            return intervals.mean(metrics.ranking_metrics(ranks, ks=(10,)))
        count = negatives.shape[1]
        return intervals.mean(metrics.sampled_metrics(ranks, count, ks=(10,)))

    def score(self, figures: Figures) -> float:
        """The chosen metric as a figure of which more is better; NaN where it is undefined.

        Raises:
            UserError: the metric is not among the figures.
        """
        name = self.prepared.config.loop.metric
        if name == "auto":
            name = self.objective.metric
        if name not in figures:
            known = ", ".join(figures)
            raise UserError(
                f'--loop.metric "{name}" is not computed here{nearest(name, figures)}; '
                f"choose one of {known}"
            )
        value = figures[name]
        if value is None:
            return math.nan
        return -value if name in LOWER_IS_BETTER else value

    def loss(self, variables: Variables, on_sample: bool = False) -> float:
        """Mean loss over validation events, with the same negatives in every epoch."""
        log = self.ranker.log
        catalogue = self.ranker.catalogue
        blocks = self._blocks[:SAMPLE_BLOCKS] if on_sample else self._blocks
        total = 0.0
        events = 0
        for number, block in enumerate(blocks):
            total += float(self._block_loss(variables, log, catalogue, number, block))
            *_, weight = block
            events += int(weight.sum())
        return total / max(1, events)

    @property
    def has_events(self) -> bool:
        """Whether there are validation events."""
        return bool(self._blocks)

    @cached_property
    def _blocks(self) -> list[tuple[np.ndarray, ...]]:
        """User, minute, item, value and weight of some events at a time, padded with weight 0."""
        held = heldout_events(self.prepared.dataset, VALIDATION)
        weight = np.ones(len(held.user), np.float32)
        columns = (held.user, held.minute, held.item, held.value, weight)
        missing = -len(held.user) % EVENTS_PER_BLOCK
        blocks = [
            np.pad(column, (0, missing)).reshape(-1, EVENTS_PER_BLOCK)
            for column in columns
        ]
        return list(zip(*blocks, strict=True))

    @cached_property
    def _block_loss(self) -> Callable[..., Array]:
        """The compiled sum of losses of a block of events."""
        sampling = sampling_of(self.model, self.objective, self.ranker.max_seen)
        seed = self.prepared.config.seed

        def block_loss(
            variables: Variables,
            log: EventLog,
            catalogue: Catalogue,
            number: Array,
            columns: tuple[Array, ...],
        ) -> Array:
            user, minute, item, value, weight = columns
            request = request_after_log(log, user, minute, self.model.history_length)
            batch = Batch(request, user, item, value, weight)
            key = jax.random.fold_in(jax.random.PRNGKey(seed), number)
            groups, counts = draw_candidates(sampling, log, batch, key)
            users = self.model.encode_users(variables, log, catalogue, request)
            scores = []
            for group in groups:
                items = self.model.encode_items(variables, catalogue, group)
                scores.append(self.model.score(variables, users, items))
            beside = jnp.concatenate(scores, -1)
            per_example = self.objective.per_example(batch, beside, counts)
            return (per_example * weight).sum()

        return jax.jit(products_in("float32", block_loss))


def validator_of(trainer: Trainer) -> Validator:
    """The validator of a training; it ranks over the log that the trainer has on the devices.

    Where the trainer streams its log, the ranker places its own.
    """
    prepared = trainer.prepared
    devices = ranking_devices()
    if trainer.feed.streamed:
        ranker = ranker_of(prepared, {}, devices)
    else:
        ranker = Ranker(
            trainer.model, {}, trainer.feed.log, trainer.catalogue, devices=devices
        )
    return Validator(prepared, trainer.model, trainer.objective, ranker)
