"""A step on large tables: only the rows that its examples touch are read, moved and written.

The step is the dense one, in a small world: the rows are gathered, with the optimiser's moments of
them; the dense step runs on them as on any small tables; and they are put back. So neither its cost
nor what devices tell each other depends on the length of the tables, which may be divided among
the devices.

Rows that no example touches stand still. With SGD and Adagrad a dense step does the same. With Adam
and with weight decay it would move them; here they wait until they are touched again ("lazy").
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ancf_jax.errors import UserError
from ancf_jax.machine.sizes import MIN_ROWS_FOR_ROW_UPDATES, MIN_ROWS_PER_TOUCHED_ROW
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.objective.objective import Objective
from ancf_jax.training.dense import Reported, StepLoss, dense_step
from ancf_jax.training.packing import Rows, RowUpdates
from ancf_jax.training.small_world import small_world
from ancf_jax.training.step_losses import World
from ancf_jax.types import AXIS, Array, TrainState, Variables

LossInWorld = Callable[[World, Variables], StepLoss]


def row_updates(
    model: NeuralModel, objective: Objective, tables: str, touched: dict[str, int]
) -> RowUpdates:
    """The tables that are updated by row.

    Args:
        model: names its tables.
        objective: where the catalogue is scored, every item is touched, and items are dense.
        tables: the setting `loop.tables`.
        touched: how many rows of "user" and "item" a step touches at most.

    Raises:
        UserError: several members are to be updated by row.
    """
    if model.members > 1 and tables in ("sparse", "divided"):
        raise UserError(
            f"--loop.members is {model.members}, and --loop.tables {tables} is for one; choose "
            "dense tables, or one member"
        )
    lengths = {"user": model.sizes.users, "item": model.sizes.items}
    kinds = ["user", "item"]
    if objective.candidates == "catalogue":
        kinds.remove("item")
    if tables == "dense" or model.members > 1:
        kinds = []
    if tables == "auto":
        kinds = [kind for kind in kinds if _is_long(lengths[kind], touched[kind])]
    by_row = {name: kind for name, kind in model.tables.items() if kind in kinds}
    return RowUpdates(by_row, tables == "divided")


def _is_long(length: int, touched: int) -> bool:
    """Whether a table is so long that it is worth updating the touched rows alone."""
    enough_for_step = MIN_ROWS_PER_TOUCHED_ROW * touched
    return length > max(MIN_ROWS_FOR_ROW_UPDATES, enough_for_step)


def row_step(
    updates: RowUpdates,
    loss_in: LossInWorld,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    world: World,
) -> tuple[TrainState, Reported]:
    """The state after a dense step on the rows that the examples touch; see `dense_step`.

    Args:
        updates: which tables are updated by row.
        loss_in: the loss of the examples of a world.
        optimizer: moves the parameters.
        state: with the tables in `rows`.
        world: of whole tables.
    """
    small, touched = small_world(updates.kinds, world)
    places = {
        kind: local_places(rows, len(state.rows[kind]), updates.divided)
        for kind, rows in touched.items()
    }
    small_state = updates.unpack(state, _gather(state.rows, places))
    if updates.divided:
        small_state = _collected(updates, small_state)
    stepped, reported = dense_step(partial(loss_in, small), optimizer, small_state)
    packed = updates.pack(stepped)
    rows = _scatter(state.rows, places, packed.rows)
    return packed._replace(rows=rows), reported


def local_places(rows: Array, length: int, divided: bool) -> Array:
    """Where rows stand in this device's table of `length`; `length` for those that do not.

    Rows that are nowhere get that number and not a large one, for to write nothing to an address
    far from the table takes long on some devices.

    Args:
        rows: int32 [n] row numbers of the whole table.
        length: rows that this device holds.
        divided: whether these are its share of the rows, instead of all.
    """
    local = rows
    if divided:
        local = rows - jax.lax.axis_index(AXIS) * length
    is_here = (local >= 0) & (local < length)
    return jnp.where(is_here, local, length)


def _gather(rows: Rows, places: dict[str, Array]) -> Rows:
    """The rows at `places`; 0 for those that are not here."""
    return jax.tree.map(
        lambda table, place: table.at[place].get(mode="fill", fill_value=0),
        rows,
        places,
    )


def _scatter(rows: Rows, places: dict[str, Array], changed: Rows) -> Rows:
    """`rows` with the changed ones put back."""
    return jax.tree.map(
        lambda table, place, new: table.at[place].set(
            new, mode="drop", unique_indices=True
        ),
        rows,
        places,
        changed,
    )


def _collected(updates: RowUpdates, state: TrainState) -> TrainState:
    """`state` with the parameters of all devices: each row is 0 on all devices but one.

    Moments stay where they are, for only there the row is put back.
    """

    def collect(kind: str, leaf: Any) -> Any:
        return jax.lax.psum(leaf, AXIS) if kind else leaf

    leaf_kinds = updates.kinds_of_leaves(state.params)
    return state._replace(params=jax.tree.map(collect, leaf_kinds, state.params))
