"""What an epoch is judged by: the loss and a metric on validation events, never on test."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import VALUE_LOSSES, Config
from ancf_jax.data.dataset import Dataset, heldout, heldout_events
from ancf_jax.data.histories import query_after_log
from ancf_jax.data.interactions import VALIDATION
from ancf_jax.errors import NumericalError, UserError, nearest
from ancf_jax.evaluation import judged, value_figures
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.objective import intervals, metrics
from ancf_jax.ranking import Ranker
from ancf_jax.training.steps import draw_negatives, example_loss
from ancf_jax.types import Array, Batch, Variables

LOWER_IS_BETTER = ("loss", "rmse", "mae", "log_loss")
BLOCK = 256


@dataclass(frozen=True)
class Validator:
    """Scores the state after each epoch on the validation events.

    Attributes:
        ranker: over the training log; its variables are replaced by the ones to judge.
    """

    config: Config
    model: NeuralModel
    dataset: Dataset
    ranker: Ranker

    def judge(self, variables: Variables) -> dict[str, float | None]:
        """Validation loss and metrics by name, none without validation events; raises NumericalError for a NaN loss."""
        if not self._blocks:
            return {}
        found: dict[str, float | None] = {"loss": (mean := self.loss(variables))}
        if not math.isfinite(mean):
            rate = f"learning rate {self.config.optim.learning_rate}; lower --optim.learning-rate"
            raise NumericalError(f"the validation loss is {mean} with {rate}")
        ranker, loss = self.ranker.with_variables(variables), self.config.objective.loss
        if loss in VALUE_LOSSES:
            return found | value_figures(
                *judged(ranker, self.dataset, VALIDATION, loss)
            )
        held = heldout(
            self.dataset,
            VALIDATION,
            self.config.loop.validation_users,
            self.config.seed,
        )
        ranks, _ = ranker.ranks(held, bool(self.config.keep_seen))
        if (given := self.dataset.interactions.given_negatives) is None:
            return found | intervals.mean(metrics.ranking_metrics(ranks, ks=(10,)))
        # Tested against so many negatives, so validated against as many.
        return found | intervals.mean(
            metrics.sampled_metrics(ranks, given.shape[1], ks=(10,))
        )

    def score(self, found: dict[str, float | None]) -> float:
        """The chosen metric as a figure of which more is better; NaN where it is undefined."""
        auto = {"mse": "loss", "log_loss": "auc"}.get(
            self.config.objective.loss, "ndcg@10"
        )
        name = auto if self.config.loop.metric == "auto" else self.config.loop.metric
        if name not in found:
            known = ", ".join(found)
            raise UserError(
                f'--loop.metric "{name}" is not computed here{nearest(name, found)}; choose one of {known}'
            )
        value = found[name]
        return (
            math.nan if value is None else -value if name in LOWER_IS_BETTER else value
        )

    def loss(self, variables: Variables) -> float:
        """Mean loss over validation events, with negatives that are the same in every epoch."""
        tables = variables, self.ranker.log, self.ranker.catalogue
        sums = [
            float(self._block_loss(*tables, *numbered))
            for numbered in enumerate(self._blocks)
        ]
        return sum(sums) / max(1, len(heldout_events(self.dataset, VALIDATION).user))

    @cached_property
    def _blocks(self) -> list[tuple[np.ndarray, ...]]:
        held = heldout_events(self.dataset, VALIDATION)
        columns = *held[:4], np.ones(len(held.user), np.float32)
        padded = (
            np.pad(column, (0, -len(column) % BLOCK)).reshape(-1, BLOCK)
            for column in columns
        )
        return list(zip(*padded, strict=True))

    @cached_property
    def _block_loss(self) -> Callable[..., Array]:
        model, objective, seed = self.model, self.config.objective, self.config.seed

        def block_loss(
            variables: Variables, log: Any, catalogue: Any, number: Array, columns: Any
        ) -> Array:
            user, minute, item, value, weight = columns
            query = query_after_log(log, user, minute, model.history_length)
            batch, key = (
                Batch(query, user, item, value, weight),
                jax.random.fold_in(jax.random.PRNGKey(seed), number),
            )
            groups, counts = draw_negatives(
                model, objective, log, batch, self.ranker.max_seen, key, share=False
            )
            users = model.encode_users(variables, log, catalogue, query)
            sides = [
                model.encode_items(variables, catalogue, group) for group in groups
            ]
            scores = jnp.concatenate(
                [model.score(variables, users, side) for side in sides], -1
            )
            return (
                example_loss(objective, batch, scores, counts, self.ranker.items)
                * weight
            ).sum()

        return jax.jit(block_loss)
