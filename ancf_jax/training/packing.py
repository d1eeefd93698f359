"""Tables side by side: all that belongs to one user, or to one item, in one row.

An embedding and the optimiser's moments of it are read and written together. Where they lie in one
row, memory that is far away is gone to once, and not once for each of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ancf_jax.checkpoint.leaves import named_leaves
from ancf_jax.checkpoint.rows import Column
from ancf_jax.machine.sizes import row_multiple
from ancf_jax.types import Array, TrainState

Rows = dict[str, Array]  # "user" or "item" -> [V, W]


@dataclass(frozen=True)
class RowUpdates:
    """Which tables are updated by row; such tables lie in the `rows` of a packed state.

    Attributes:
        tables: name of the parameter -> "user" or "item"; empty where all are updated whole.
        divided: whether each device holds a share of the rows, instead of all.
    """

    tables: Mapping[str, str]
    divided: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of "user" and "item", those with tables that are updated by row."""
        return tuple(dict.fromkeys(self.tables.values()))

    def kinds_of_leaves(self, tree: Any) -> Any:
        """For every leaf "user" or "item" where it is updated by row, else "".

        Args:
            tree: parameters, or moments of them: a leaf has the name of its parameter.
        """

        def kind_of(path: tuple[Any, ...], _: Array) -> str:
            name = str(getattr(path[-1], "key", ""))
            return self.tables.get(name, "")

        return jax.tree.map_with_path(kind_of, tree)

    def columns(
        self, state: TrainState, lengths: Mapping[str, int]
    ) -> dict[str, list[Column]]:
        """What lies where in the rows of a packed state, which are [V, W] of each kind.

        Args:
            state: packed; its tables are empty.
            lengths: V by kind.
        """
        found: dict[str, list[Column]] = {kind: [] for kind in self.kinds}
        begin = dict.fromkeys(found, 0)
        tree = state._replace(batch_stats={}, rows=())
        kinds = jax.tree.leaves(self.kinds_of_leaves(tree))
        for kind, (name, leaf) in zip(kinds, named_leaves(tree).items(), strict=True):
            if kind:
                shape = (lengths[kind], *leaf.shape[1:])
                column = Column(name, begin[kind], shape, leaf.dtype)
                found[kind].append(column)
                begin[kind] += column.width
        return found

    def pack(self, state: TrainState) -> TrainState:
        """The state with its tables, and their moments, in rows.

        A table [V, ...] becomes an empty one [0, ...]; the rows of its kind are [V, W], where W is
        padded to a multiple of `row_multiple()`.
        """
        columns: dict[str, list[Array]] = {}

        def emptied(kind: str, leaf: Array) -> Array:
            if not kind:
                return leaf
            matrix = leaf.reshape(len(leaf), -1)
            columns.setdefault(kind, []).append(matrix)
            return leaf[:0]

        tree = (state.params, state.opt_state)
        leaf_kinds = self.kinds_of_leaves(tree)
        params, opt_state = jax.tree.map(emptied, leaf_kinds, tree)
        rows = {kind: _side_by_side(found) for kind, found in columns.items()}
        return state._replace(params=params, opt_state=opt_state, rows=rows)

    def unpack(self, state: TrainState, rows: Rows) -> TrainState:
        """The state that `pack` made `state` and `rows` of; some of the rows make a small one."""
        begin = dict.fromkeys(rows, 0)

        def filled(kind: str, leaf: Array) -> Array:
            if not kind:
                return leaf
            shape = leaf.shape[1:]
            end = begin[kind] + math.prod(shape)
            matrix = rows[kind][:, begin[kind] : end]
            begin[kind] = end
            return matrix.reshape(-1, *shape)

        tree = (state.params, state.opt_state)
        leaf_kinds = self.kinds_of_leaves(tree)
        params, opt_state = jax.tree.map(filled, leaf_kinds, tree)
        return state._replace(params=params, opt_state=opt_state, rows=())


def _side_by_side(matrices: list[Array]) -> Array:
    """Matrices [V, w] as one [V, W], padded."""
    width = sum(matrix.shape[1] for matrix in matrices)
    padding = jnp.zeros((len(matrices[0]), -width % row_multiple()))
    return jnp.concatenate([*matrices, padding], axis=1)
