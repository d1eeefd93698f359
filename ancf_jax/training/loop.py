"""Training from start to finish: epochs on the device, validation, the best checkpoint, early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Config
from ancf_jax.data.histories import pack_windows
from ancf_jax.errors import NumericalError, UserError
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.training.optim import optimizer
from ancf_jax.training.parallel import device_count, replicate, spread
from ancf_jax.training.steps import many_steps, training_step
from ancf_jax.types import Catalogue, EventLog, TrainState

CHUNKS_PER_EPOCH = 20  # how often the host hears from the device


class Step(NamedTuple):
    """Progress within an epoch."""

    done: int
    total: int
    loss: float


@dataclass(frozen=True)
class Trainer:
    """All that stays the same from step to step.

    Attributes:
        log: the training events, on the device.
        examples: int32 [N] event numbers, or rows [R, L] of windows, see `steps.make_batch`.
        devices: how many local devices share a step.
    """

    config: Config
    model: NeuralModel
    log: EventLog
    catalogue: Catalogue
    items: int
    examples: np.ndarray
    devices: int

    @cached_property
    def run(self) -> Callable[..., Any]:
        """The compiled program of many steps, spread over the devices."""
        transform = optimizer(self.config.optim, self.total_steps)
        step = partial(training_step, self.model, self.config.objective, transform, self.items)
        return spread(many_steps(step), self.config.loop.spread, self.devices)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that one pass over the examples takes; the last may be partly padding."""
        return -(-len(self.examples) // self.batch_size)

    @property
    def batch_size(self) -> int:
        """Global batch size, rounded up to a multiple of the devices."""
        return -(-self.config.loop.batch_size // self.devices) * self.devices

    def initial_state(self) -> TrainState:
        """Parameters drawn from the seed, and a fresh optimiser."""
        variables = jax.jit(self.model.init)(jax.random.PRNGKey(self.config.seed), self.catalogue)
        params = variables["params"]
        opt_state = optimizer(self.config.optim, self.total_steps).init(params)
        state = TrainState(jnp.zeros((), jnp.int32), params, variables.get("batch_stats", {}), opt_state)
        return self.place(state)

    def place(self, state: TrainState) -> TrainState:
        """The state where the compiled program expects it; without this it would be compiled twice."""
        return replicate(state, self.devices)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return max(1, self.config.epochs * self.steps_per_epoch)

    def epoch(self, state: TrainState, epoch: int) -> Iterator[tuple[TrainState, Step]]:
        """Runs one epoch in chunks of steps and yields the state and the mean loss so far after each.

        Raises NumericalError as soon as the loss is not a number.
        """
        order = epoch_order(self.examples, self.config.seed, epoch, self.steps_per_epoch, self.devices, self.batch_size)
        chunk = -(-self.steps_per_epoch // CHUNKS_PER_EPOCH)
        key = replicate(jax.random.PRNGKey(self.config.seed + 1), self.devices)
        loss_sum = weight_sum = 0.0
        for begin in range(0, self.steps_per_epoch, chunk):
            count = min(chunk, self.steps_per_epoch - begin)
            rows = np.full((self.devices, chunk, *order.shape[2:]), -1, np.int32)
            rows[:, :count] = order[:, begin : begin + count]
            state, loss, weight = self.run(state, rows, np.int32(count), self.log, self.catalogue, key)
            loss_sum, weight_sum = loss_sum + float(loss), weight_sum + float(weight)
            self._refuse_nan(loss_sum, epoch, begin + count)
            yield state, Step(begin + count, self.steps_per_epoch, loss_sum / max(weight_sum, 1.0))

    def _refuse_nan(self, loss: float, epoch: int, step: int) -> None:
        if not math.isfinite(loss):
            raise NumericalError(
                f"the training loss is not a number at epoch {epoch + 1}, by step {step} of batches of {self.batch_size} "
                f"with learning rate {self.config.optim.learning_rate}; lower --optim.learning-rate or set --optim.clip"
            )


def trainer(
    config: Config, model: NeuralModel, log: EventLog, catalogue: Catalogue, devices: int | None = None
) -> Trainer:
    """The trainer of a model on the events of `log` (NumPy columns), spread over the local devices."""
    devices = devices or device_count()
    items = catalogue.popularity.shape[0]
    examples = (
        pack_windows(np.asarray(log.start), model.history_length)
        if model.unit == "window"
        else np.arange(len(log.item), dtype=np.int32)
    )
    if not len(examples):
        raise UserError("there are no training events; give more data or a smaller --split.test")
    log, catalogue = replicate((log, catalogue), devices)
    return Trainer(config, model, log, catalogue, items, examples, devices)


def epoch_order(examples: np.ndarray, seed: int, epoch: int, steps: int, devices: int, batch_size: int) -> np.ndarray:
    """Examples int32 [devices, steps, batch_size / devices, ...] in the order of (seed, epoch), -1 padded.

    The rows of step s over all devices are the same whatever the number of devices.
    """
    order = np.full((steps * batch_size, *examples.shape[1:]), -1, np.int32)
    order[: len(examples)] = np.random.default_rng((seed, epoch)).permutation(examples)
    return np.ascontiguousarray(order.reshape(steps, devices, -1, *examples.shape[1:]).swapaxes(0, 1))
