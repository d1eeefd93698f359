"""The two forms of a training state: portable, as it is saved, and packed, as steps want it."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ancf_jax.checkpoint.rows import Divided
from ancf_jax.machine.parallel import fetch, from_first, lay, sharding
from ancf_jax.training.packing import RowUpdates
from ancf_jax.types import Array, Sizes, TrainState, Variables


@dataclass(frozen=True)
class StateForms:
    """How the states of a run lie on its devices.

    A portable state has whole tables and bears no trace of how they are updated or of how many
    devices there are. It is what is saved, unless tables are divided: those are saved from where
    they are, and each device's rows are read back to it.

    Attributes:
        sizes: lengths of the tables.
        updates: which of them are updated by row.
        devices: that share a step.
    """

    sizes: Sizes
    updates: RowUpdates
    devices: int

    @property
    def split(self) -> TrainState:
        """Which parts of a packed state are divided among devices: a prefix tree of booleans."""
        return TrainState(
            step=False,  # pyrefly: ignore (a prefix tree of it)
            params=False,
            batch_stats=False,
            opt_state=False,
            rows=self.updates.divided,
        )

    @property
    def shardings(self) -> Any:
        """Where the parts of a packed state live."""
        return jax.tree.map(lambda flag: sharding(flag, self.devices), self.split)

    def packed(self, state: TrainState) -> TrainState:
        """A portable state as steps want it.

        Divided rows [V, W] are [devices, V / devices, W], padded.
        """
        state = self.updates.pack(state)
        if not self.updates.divided:
            return state
        return state._replace(rows=jax.tree.map(self._divided, state.rows))

    def _divided(self, rows: Array) -> Array:
        padded = jnp.pad(rows, ((0, -len(rows) % self.devices), (0, 0)))
        return padded.reshape(self.devices, -1, rows.shape[1])

    def place(self, state: TrainState) -> TrainState:
        """A portable state packed, where the compiled program expects it.

        From elsewhere the program would be compiled a second time.
        """
        return lay(self.packed(state), self.split, self.devices)

    def portable(self, state: TrainState) -> TrainState:
        """A packed state in its portable form, with arrays that this process has whole."""
        state = jax.tree.map(fetch, state)
        lengths = self._lengths
        rows = {
            kind: table.reshape(-1, table.shape[-1])[: lengths[kind]]
            for kind, table in state.rows.items()
        }
        return self.updates.unpack(state, rows)

    def variables(self, state: TrainState) -> Variables:
        """What a packed state scores with, in whole tables; moments of divided ones stay away."""
        without_moments = state._replace(opt_state=())
        if self.updates.divided:
            without_moments = without_moments._replace(rows=self._parameters(state))
        portable = self.portable(without_moments)
        return {"params": portable.params, "batch_stats": portable.batch_stats}

    def _parameters(self, state: TrainState) -> dict[str, Array]:
        """The first columns of divided rows, in which the parameters lie."""
        columns = self.updates.columns(state._replace(opt_state=()), self._lengths)
        return {
            kind: table[:, :, : sum(column.width for column in columns[kind])]
            for kind, table in state.rows.items()
        }

    def saved(self, state: TrainState) -> Any:
        """A packed state in the form in which it is saved."""
        if not self.updates.divided:
            return self.portable(state)
        return self._with_columns(state)

    def template(self, shapes: TrainState) -> Any:
        """The shapes of what is saved, from those of a portable state."""
        if not self.updates.divided:
            return shapes
        packed = jax.eval_shape(self.packed, shapes)
        where = sharding(True, self.devices)
        rows = jax.tree.map(
            lambda table: jax.ShapeDtypeStruct(
                table.shape, table.dtype, sharding=where
            ),
            packed.rows,
        )
        return self._with_columns(packed._replace(rows=rows))

    def restored(self, state: TrainState) -> TrainState:
        """A packed state from what was restored to the `template`."""
        if not self.updates.divided:
            return self.place(from_first(state))
        return lay(state, self.split, self.devices)

    def _with_columns(self, state: TrainState) -> Any:
        """A packed state that says what lies where in its divided rows."""
        columns = self.updates.columns(state, self._lengths)
        rows = {
            kind: Divided(table, tuple(columns[kind]))
            for kind, table in state.rows.items()
        }
        return state._replace(rows=rows)

    @property
    def _lengths(self) -> dict[str, int]:
        return {"user": self.sizes.users, "item": self.sizes.items}
