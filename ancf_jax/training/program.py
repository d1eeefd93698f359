"""What runs on each device: many steps in one program, from example numbers to the new state."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ancf_jax.batching.drawing import (
    Draw,
    Sampling,
    draw_candidates,
    dual_positions,
    make_batch,
)
from ancf_jax.machine.parallel import local_share
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.objective.objective import Objective
from ancf_jax.training.dense import Reported, dense_step
from ancf_jax.training.packing import RowUpdates
from ancf_jax.training.rows import row_step
from ancf_jax.training.step_losses import Examples, World, step_loss
from ancf_jax.types import AXIS, Array, Catalogue, EventLog, TrainState


class Stepped(NamedTuple):
    """What some steps make of a state.

    Attributes:
        state: after them.
        reported: of each step, float32 [S]; 0 for those that were not done.
    """

    state: TrainState
    reported: Reported


def sampling_of(model: NeuralModel, objective: Objective, max_seen: int) -> Sampling:
    """How candidates are chosen for the examples of a model.

    Args:
        model: the model.
        objective: what it learns.
        max_seen: an upper bound on the number of distinct items of a user in the log.
    """
    return Sampling(
        unit=model.unit,
        candidates=objective.candidates,
        negatives=objective.negatives,
        items=model.sizes.items,
        max_seen=max_seen,
    )


def draw_for_all(draw: Draw, rows: int) -> Array:
    """This device's rows of what is drawn for all devices, so that their number changes nothing."""
    return local_share(draw(rows * jax.lax.axis_size(AXIS)))


@dataclass(frozen=True)
class StepProgram:
    """Steps on a device's share of the examples.

    Attributes:
        model: what is trained.
        objective: what is minimised.
        optimizer: how parameters move.
        max_seen: most distinct items that one user has in the log.
        updates: which tables are updated by row.
    """

    model: NeuralModel
    objective: Objective
    optimizer: optax.GradientTransformation
    max_seen: int
    updates: RowUpdates

    def run(
        self,
        state: TrainState,
        examples: Array,
        count: Array,
        log: EventLog,
        catalogue: Catalogue,
        key: Array,
    ) -> Stepped:
        """The first `count` of some steps: one program, whatever the count.

        Args:
            state: before the steps.
            examples: int32 [S, b] or [S, b, L] numbers of this device's examples of each step.
            count: int32 [], at most S.
            log: the events.
            catalogue: what is known of items and users.
            key: of the randomness of the whole run.
        """
        number = state.step + jnp.arange(len(examples))
        # Drawn for all steps at once, as one batch is too little work for a device.
        draw = jax.vmap(self.draw, (None, 0, None, 0))
        drawn = draw(log, examples, key, number)

        def body(row: Array, before: Stepped) -> Stepped:
            of_step = jax.tree.map(lambda x: x[row], drawn)
            state, reported = self.step(before.state, catalogue, of_step)
            so_far = jax.tree.map(
                lambda all_steps, x: all_steps.at[row].set(x), before.reported, reported
            )
            return Stepped(state, so_far)

        steps = len(examples)
        nothing = Reported(jnp.zeros(steps), jnp.zeros(steps))
        return jax.lax.fori_loop(0, count, body, Stepped(state, nothing))

    def draw(
        self, log: EventLog, example: Array, key: Array, number: Array
    ) -> Examples:
        """What step `number` learns from on this device.

        Its randomness is a function of `key` and the number; that of dropout also of the device.
        """
        draw_key, dropout_key = jax.random.split(jax.random.fold_in(key, number))
        dropout_key = jax.random.fold_in(dropout_key, jax.lax.axis_index(AXIS))
        model = self.model
        batch = make_batch(
            log, example, model.unit, model.history_length, model.both_sides
        )
        if model.dual and self.objective.candidates == "catalogue":
            positions = dual_positions(
                batch.weight, model.dual_positions, draw_key, draw_for_all
            )
            return Examples(batch, (), batch.weight, positions, dropout_key)
        sampling = sampling_of(model, self.objective, self.max_seen)
        candidates, weight = draw_candidates(
            sampling, log, batch, draw_key, draw_for_all
        )
        return Examples(batch, candidates, weight, None, dropout_key)

    def step(
        self, state: TrainState, catalogue: Catalogue, examples: Examples
    ) -> tuple[TrainState, Reported]:
        """The state after what was drawn for this device, and the loss over all devices."""
        world = World(self.model, catalogue, examples)
        loss_in = partial(step_loss, self.objective)
        if self.updates.kinds:
            return row_step(self.updates, loss_in, self.optimizer, state, world)
        return dense_step(partial(loss_in, world), self.optimizer, state)
