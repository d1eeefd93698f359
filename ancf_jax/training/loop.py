"""The trainer of a run: its program on all devices, and one epoch at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.errors import NumericalError, UserError
from ancf_jax.machine.parallel import (
    device_count,
    laid_shapes,
    lay,
    several_processes,
    spread,
)
from ancf_jax.machine.precision import compute_dtype, products_in
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.objective.objective import Objective, objective_of
from ancf_jax.prepared import Prepared
from ancf_jax.training.feed import Call, Feed, feed_of
from ancf_jax.training.optim import optimizer
from ancf_jax.training.pace import CallLength
from ancf_jax.training.packing import RowUpdates
from ancf_jax.training.program import Stepped, StepProgram
from ancf_jax.training.rows import row_updates
from ancf_jax.training.standing import NOT_BEGUN, EpochReport, Standing
from ancf_jax.training.states import StateForms
from ancf_jax.types import Array, Catalogue, TrainState


@dataclass(frozen=True)
class Trainer:
    """All that stays the same from step to step.

    Attributes:
        prepared: the model with its data, on the host.
        model: the model.
        feed: the training events, and their order.
        catalogue: what is known of items and users, on every device.
        devices: how many devices share a step.
        call_length: keeps calls of the devices short.
    """

    prepared: Prepared
    model: NeuralModel
    feed: Feed
    catalogue: Catalogue
    devices: int
    call_length: CallLength = field(default_factory=CallLength)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the examples; about so many where they are streamed."""
        return self.feed.steps_per_epoch

    @property
    def objective(self) -> Objective:
        """What training minimises."""
        return objective_of(self.prepared.config.objective, self.model.sizes.items)

    @cached_property
    def program(self) -> StepProgram:
        """What each device does."""
        config = self.prepared.config
        steps = config.epochs * self.steps_per_epoch
        return StepProgram(
            model=self.model.computing_in(compute_dtype(config.loop.precision)),
            objective=self.objective,
            optimizer=optimizer(
                config.optim, steps, self.model.step_scales, self.model.members
            ),
            max_seen=int(np.diff(self.prepared.log.seen_start).max()),
            updates=self._row_updates,
        )

    @property
    def _row_updates(self) -> RowUpdates:
        tables = self.prepared.config.loop.tables
        return row_updates(self.model, self.objective, tables, self._touched_rows)

    @property
    def _touched_rows(self) -> dict[str, int]:
        """How many users and items a step touches at most."""
        examples = self.feed.batch_size
        negatives = self.prepared.config.objective.negatives
        length = self.model.history_length
        if self.feed.window:
            events = examples * length
            return {"user": events, "item": events + negatives}
        return {"user": examples, "item": examples * (1 + negatives + length)}

    @cached_property
    def states(self) -> StateForms:
        """How the states of this run lie on its devices."""
        return StateForms(self.model.sizes, self.program.updates, self.devices)

    @cached_property
    def run(self) -> jax.stages.Wrapped:
        """The program compiled, spread over the devices."""
        state_split = self.states.split
        split = (state_split, True, False, self.feed.streamed, False, False)
        split_out = Stepped(state_split, False)  # pyrefly: ignore (a prefix tree)
        loop = self.prepared.config.loop
        steps = products_in(loop.precision, self.program.run)
        return spread(steps, loop.spread, split, split_out, self.devices)

    def noted(self, standing: Standing) -> dict[str, Any]:
        """What is noted of a standing with a checkpoint; also how many devices shared the steps."""
        return standing._asdict() | {"devices": self.devices}

    def change_of_devices(self, before: int) -> str:
        """What it means that so many devices shared the steps before; empty where nothing."""
        if before in (0, self.devices):
            return ""
        earlier = replace(self.feed, devices=before).batch_size
        batch = f"batches of {self.feed.batch_size} as before"
        if earlier != self.feed.batch_size:
            batch = f"batches of {self.feed.batch_size}, no longer of {earlier}"
        return f"; {self.devices} devices share {batch}, no longer {before}"

    def initial_state(self) -> TrainState:
        """Parameters drawn from the seed and a fresh optimiser, made where they will live."""
        make = jax.jit(self._packed_state, out_shardings=self.states.shardings)
        return make(self.catalogue)

    def lowered(self) -> jax.stages.Lowered:
        """The program of an epoch's first call, as the compiler gets it.

        Nothing is computed, so the devices need not be there; see `machine.devices`.
        """
        shapes = jax.eval_shape(self._packed_state, self.catalogue)
        state = laid_shapes(shapes, self.states.split, self.devices)
        call = next(self.feed.calls(0, self._drawn_per_step, 0, self._most_steps))
        return self.run.lower(state, *self._inputs(call))

    def _packed_state(self, catalogue: Catalogue) -> TrainState:
        return self.states.packed(self._fresh_state(catalogue))

    @cached_property
    def shapes(self) -> TrainState:
        """Shapes of a portable state."""
        return jax.eval_shape(self._fresh_state, self.catalogue)

    def _fresh_state(self, catalogue: Catalogue) -> TrainState:
        key = jax.random.PRNGKey(self.prepared.config.seed)
        variables = self.model.init(key, catalogue)
        params = variables["params"]
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            batch_stats=variables.get("batch_stats", {}),
            opt_state=self.program.optimizer.init(params),
        )

    def epoch(
        self, state: TrainState, epoch: int, begin: EpochReport = NOT_BEGUN
    ) -> Iterator[tuple[TrainState, EpochReport]]:
        """Runs one epoch some steps at a time, and yields the state and a report after each.

        Args:
            state: before the epoch, or at `begin`; its buffers are given up.
            epoch: counted from 0.
            begin: how far the epoch is already.

        Raises:
            NumericalError: the loss is not a number.
        """
        done, _, loss_sum, weight = begin
        calls = self.feed.calls(epoch, self._drawn_per_step, done, self._most_steps)
        call = next(calls, None)
        while call is not None:
            self.call_length.begin()
            state, reported = self.run(state, *self._inputs(call))
            done += call.steps
            following = next(calls, None)  # made ready while the devices work
            loss_sum = _add_in_order(loss_sum, reported.loss)
            weight = _add_in_order(weight, reported.weight)
            self.call_length.end(call.steps)
            call = following
            if not math.isfinite(loss_sum):
                raise self._not_a_number(epoch, done)
            total = max(done, self.steps_per_epoch)
            yield state, EpochReport(done, total, loss_sum, weight)

    def _inputs(self, call: Call) -> tuple[Any, ...]:
        """What the program gets for a call besides the state."""
        steps = np.int32(call.steps)
        return call.examples, steps, call.log, self.catalogue, self._key

    @cached_property
    def _key(self) -> Array:
        """Of the randomness of the whole run."""
        seed = self.prepared.config.seed
        return lay(jax.random.PRNGKey(seed + 1), devices=self.devices)

    def _most_steps(self) -> int:
        """How many steps the next call may do; all processes take as many."""
        if several_processes():
            return self.steps_per_epoch
        return self.call_length.most_steps()

    @property
    def _drawn_per_step(self) -> int:
        """About how many candidates are drawn for a step, positives included."""
        events = self.feed.batch_size * max(1, self.model.history_length)
        return events * (1 + self.objective.negatives)

    def _not_a_number(self, epoch: int, done: int) -> NumericalError:
        rate = self.prepared.config.optim.learning_rate
        return NumericalError(
            f"the training loss is not a number at epoch {epoch + 1}, by step {done} of batches "
            f"of {self.feed.batch_size} with learning rate {rate}; lower --optim.learning-rate or "
            "set --optim.clip"
        )


def _add_in_order(total: float, values: Array) -> float:
    """Total plus float32 values, one by one, so that it does not matter which came in a call."""
    return float(np.cumsum([total, *np.asarray(values, np.float64)])[-1])


def trainer(prepared: Prepared, devices: int = 0) -> Trainer:
    """The trainer of a model, with log and catalogue placed on its devices.

    Args:
        prepared: a model that trains by epochs, with its data.
        devices: how many share a step; all of them for 0.

    Raises:
        UserError: the log holds no events.
    """
    model = prepared.model
    if not isinstance(model, NeuralModel):
        raise TypeError(f"{prepared.config.model} is fitted as a whole")
    if not len(prepared.log.item):
        raise UserError(
            "there are no training events; give more data or a smaller --split.test"
        )
    devices = devices or device_count()
    feed = feed_of(prepared, model, devices)
    catalogue = lay(prepared.catalogue, devices=devices)
    return Trainer(prepared, model, feed, catalogue, devices)
