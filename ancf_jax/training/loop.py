"""Training from start to finish: epochs on the device, validation, the best checkpoint, early stopping."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import VALUE_LOSSES, Config
from ancf_jax.data.negatives import with_bits
from ancf_jax.errors import NumericalError, UserError
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.training.optim import optimizer
from ancf_jax.training.parallel import (
    assemble,
    device_count,
    fetch,
    largest,
    lay,
    local_range,
    sharding,
    spread,
)
from ancf_jax.training.steps import Step
from ancf_jax.training.stream import Stream, examples_of, lanes, padded, padded_steps
from ancf_jax.training.tables import kinds_of, pack, sparse_kinds, unpack
from ancf_jax.types import Catalogue, EventLog, TrainState

CALLS_PER_EPOCH = 20  # how often the host hears from the device, if a call has more than so many steps:
FEW_STEPS = 8  # a call asks the system for memory of its own, which on CPUs takes up to half as long as a step
MOST_DRAWN = 2**22  # candidates, about, that are drawn for a call


class Reached(NamedTuple):
    """Progress within an epoch."""

    done: int
    total: int
    loss: float


@dataclass(frozen=True)
class Trainer:
    """All that stays the same from step to step.

    Attributes:
        log: the training events, on every device; NumPy columns where they are streamed.
        examples: int32 [N] event numbers, or rows [R, L] of windows, see `steps.make_batch`; None if streamed.
        devices: how many devices share a step.
    """

    config: Config
    model: NeuralModel
    log: EventLog
    catalogue: Catalogue
    examples: np.ndarray | None
    devices: int

    @cached_property
    def step(self) -> Step:
        """One step on one device."""
        rows, objective, length = (
            self.batch_size,
            self.config.objective,
            self.model.history_length,
        )
        touched = {
            "user": rows,
            "item": rows * (1 + objective.negatives + length),
        }  # at most
        if self.window:
            touched = {
                "user": rows * length,
                "item": rows * length + objective.negatives,
            }
        tables, steps = (
            self.config.loop.tables,
            self.config.epochs * self.steps_per_epoch,
        )
        kinds = sparse_kinds(self.model, tables, objective.loss, touched)
        transform, most_seen = (
            optimizer(self.config.optim, steps),
            int(np.diff(self.log.seen_start).max()),
        )
        return Step(
            self.model, objective, transform, most_seen, kinds, tables == "divided"
        )

    @cached_property
    def run(self) -> Callable[..., Any]:
        """The compiled program of many steps, spread over the devices."""
        split, kind = (
            (self._split, True, False, self.examples is None, False, False),
            self.config.loop.spread,
        )
        return spread(
            self.step.run, kind, split, (self._split, False, False), self.devices
        )

    @property
    def _split(self) -> TrainState:
        """What of the state is divided among devices."""
        return TrainState(False, False, False, False, self.step.divided)  # pyrefly: ignore (a prefix of it)

    @property
    def window(self) -> int:
        """Length of the rows that windows are packed into, 0 where an example is one event."""
        return self.model.history_length if self.model.unit == "window" else 0

    @property
    def steps_per_epoch(self) -> int:
        """Steps that one pass over the examples takes, the last maybe partly padding; about so many if streamed."""
        examples = (
            len(self.log.item) / max(1, self.window)
            if self.examples is None
            else len(self.examples)
        )
        return math.ceil(examples / self.batch_size)

    @property
    def batch_size(self) -> int:
        """Global batch size, rounded up to a multiple of the devices (of the lanes, if streamed)."""
        unit = self.devices if self.examples is not None else lanes(self.devices)
        return -(-self.config.loop.batch_size // unit) * unit

    def _fresh(self, catalogue: Catalogue) -> TrainState:
        variables = self.model.init(jax.random.PRNGKey(self.config.seed), catalogue)
        params, statistics = variables["params"], variables.get("batch_stats", {})
        return TrainState(
            jnp.zeros((), jnp.int32),
            params,
            statistics,
            self.step.optimizer.init(params),
        )

    def initial_state(self) -> TrainState:
        """Parameters drawn from the seed, and a fresh optimiser, made where they will live."""
        where = jax.tree.map(lambda flag: sharding(flag, self.devices), self._split)
        return jax.jit(
            lambda catalogue: self._packed(self._fresh(catalogue)), out_shardings=where
        )(self.catalogue)

    def place(self, state: TrainState) -> TrainState:
        """A state as of `portable` where the compiled program expects it; elsewhere it would be compiled twice."""
        return lay(self._packed(state), self._split, self.devices)

    @cached_property
    def shapes(self) -> TrainState:
        """Shapes of a portable state."""
        return jax.eval_shape(self._fresh, self.catalogue)

    def portable(self, state: TrainState) -> TrainState:
        """The state without a trace of how tables are updated and of how many devices there are."""
        state, sizes = (
            jax.tree.map(fetch, state),
            {"user": self.model.sizes.users, "item": self.model.sizes.items},
        )
        rows = {
            kind: x.reshape(-1, x.shape[-1])[: sizes[kind]]
            for kind, x in state.rows.items()
        }
        params, opt_state = unpack(
            kinds_of(self.model, self.step.kinds, state),
            (state.params, state.opt_state),
            rows,
        )
        return state._replace(params=params, opt_state=opt_state, rows=())

    def _packed(self, state: TrainState) -> TrainState:
        """A portable state as the step wants it: divided tables [V, W] as [devices, V / devices, W], padded."""
        (params, opt_state), rows = pack(
            kinds_of(self.model, self.step.kinds, state),
            (state.params, state.opt_state),
        )
        if self.step.divided:
            padded = {
                kind: jnp.pad(x, ((0, -len(x) % self.devices), (0, 0)))
                for kind, x in rows.items()
            }
            rows = {
                kind: x.reshape(self.devices, -1, x.shape[1])
                for kind, x in padded.items()
            }
        return state._replace(params=params, opt_state=opt_state, rows=rows)

    def epoch(
        self, state: TrainState, epoch: int
    ) -> Iterator[tuple[TrainState, Reached]]:
        """Runs one epoch some steps at a time and yields the state and the mean loss so far after each.

        Raises NumericalError as soon as the loss is not a number.
        """
        key = lay(jax.random.PRNGKey(self.config.seed + 1), devices=self.devices)
        calls, done, loss_sum, weight_sum = self._calls(epoch), 0, 0.0, 0.0
        call = next(calls, None)
        while call is not None:
            log, rows, count = call
            state, loss, weight = self.run(
                state, rows, np.int32(count), log, self.catalogue, key
            )
            call = next(calls, None)  # made ready while the devices work
            done, loss_sum, weight_sum = (
                done + count,
                loss_sum + float(loss),
                weight_sum + float(weight),
            )
            if not math.isfinite(loss_sum):
                at = (
                    f"epoch {epoch + 1}, by step {done} of batches of {self.batch_size}"
                )
                rate = f"{self.config.optim.learning_rate}; lower --optim.learning-rate or set --optim.clip"
                raise NumericalError(
                    f"the training loss is not a number at {at} with learning rate {rate}"
                )
            yield (
                state,
                Reached(
                    done,
                    max(done, self.steps_per_epoch),
                    loss_sum / max(weight_sum, 1.0),
                ),
            )

    def _calls(self, epoch: int) -> Iterator[tuple[EventLog, np.ndarray, int]]:
        """The log, the examples and their number for each call of `run`."""
        objective, steps = self.config.objective, self.steps_per_epoch
        negatives = (
            0 if objective.loss in (*VALUE_LOSSES, "softmax") else objective.negatives
        )
        drawn = self.batch_size * max(1, self.model.history_length) * (1 + negatives)
        size = min(
            -(-steps // min(CALLS_PER_EPOCH, -(-steps // FEW_STEPS))),
            -(-MOST_DRAWN // drawn),
        )
        for log, order in self._chunks(epoch):
            for begin in range(0, order.shape[1], size):
                part = order[:, begin : begin + size]
                rows = padded(part, size, -1, axis=1)
                yield (
                    log,
                    rows if self.examples is not None else assemble(rows, self.devices),
                    part.shape[1],
                )

    def _chunks(self, epoch: int) -> Iterator[tuple[EventLog, np.ndarray]]:
        seed, size, devices = self.config.seed, self.batch_size, self.devices
        if self.examples is not None:
            yield (
                self.log,
                epoch_order(
                    self.examples, seed, epoch, self.steps_per_epoch, devices, size
                ),
            )
            return
        settings = (
            self.window,
            size,
            self.config.loop.stream,
            seed,
            local_range(devices),
            devices,
        )
        for log, order in Stream(self.log, *settings, largest).epoch(epoch):
            yield assemble(log, devices), order


def trainer(
    config: Config,
    model: NeuralModel,
    log: EventLog,
    catalogue: Catalogue,
    devices: int = 0,
) -> Trainer:
    """The trainer of a model on the events of `log` (NumPy columns), spread over so many devices; all of them for 0."""
    devices = devices or device_count()
    if not len(log.item):
        raise UserError(
            "there are no training events; give more data or a smaller --split.test"
        )
    made = Trainer(config, model, log, lay(catalogue, devices=devices), None, devices)
    if config.loop.stream or jax.process_count() > 1:
        return made
    examples = examples_of(np.asarray(log.start), made.window)
    return replace(
        made,
        log=lay(with_bits(log, model.sizes.items), devices=devices),
        examples=examples,
    )


def epoch_order(
    examples: np.ndarray,
    seed: int,
    epoch: int,
    steps: int,
    devices: int,
    batch_size: int,
) -> np.ndarray:
    """Examples int32 [devices, steps, batch_size / devices, ...] in the order of (seed, epoch), -1 padded.

    The rows of step s over all devices are the same whatever the number of devices.
    """
    order = padded_steps(
        np.random.default_rng((seed, epoch)).permutation(examples), steps, batch_size
    )
    return np.stack(np.split(order, devices, axis=1))
