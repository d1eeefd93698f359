"""The two forms of a training state: portable, as it is saved, and packed, as steps want it."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.machine.parallel import fetch, lay, sharding
from ancf_jax.training.packing import RowUpdates
from ancf_jax.types import Array, Sizes, TrainState


@dataclass(frozen=True)
class StateForms:
    """How the states of a run lie on its devices.

    A portable state has whole tables and bears no trace of how they are updated or of how many
    devices there are.

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
        lengths = {"user": self.sizes.users, "item": self.sizes.items}
        rows = {
            kind: table.reshape(-1, table.shape[-1])[: lengths[kind]]
            for kind, table in state.rows.items()
        }
        return self.updates.unpack(state, rows)


def zeros(shapes: Any) -> Any:
    """NumPy arrays of these shapes."""
    return jax.tree.map(lambda shape: np.zeros(shape.shape, shape.dtype), shapes)
