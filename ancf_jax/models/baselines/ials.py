"""`ials`: matrix factorisation over all user-item pairs by alternating least squares."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from ancf_jax.config import Config
from ancf_jax.limits import Positive, Size
from ancf_jax.models.baselines.shared import (
    Slices,
    fold_slice,
    seen_matrix,
    variables_of,
)
from ancf_jax.models.registry import Registration
from ancf_jax.modules.embeddings import lookup, pair_dot
from ancf_jax.types import Array, Catalogue, EventLog, Request, Sizes, Variables
from ancf_jax.view import SILENT, View

BLOCK = 128  # rows that are solved at a time


@dataclass(frozen=True)
class IalsSettings:
    """The settings of `ials`."""

    size: Size = 128
    """Width of the factors."""
    l2: Positive = 0.006
    """L2 penalty, scaled by frequency."""
    unobserved: Positive = 0.2
    """Weight of unobserved pairs."""
    sweeps: Size = 8
    """Alternations."""


@dataclass(frozen=True)
class Ials:
    """score(u, i) = <w_u, h_i>, where W and H minimise

    sum_{(u,i) seen} (<w_u,h_i> - 1)^2 + a sum_{all u,i} <w_u,h_i>^2
    + l2 (sum_u (n_u + a I) |w_u|^2 + sum_i (n_i + a U) |h_i|^2)

    with `a` = `unobserved` and n = number of partners seen. w_u is solved again from the log at
    hand, so new events and users count without a new fit; without events it is the zero vector.
    Source: Hu, Koren, Volinsky 2008, with the penalty of Rendle et al. 2021, "Revisiting the
    performance of iALS on item recommendation benchmarks".
    """

    sizes: Sizes
    size: int
    l2: float
    unobserved: float
    sweeps: int

    def shapes(self) -> Variables:
        """Shapes of the variables."""
        return variables_of(
            item=jax.ShapeDtypeStruct((self.sizes.items, self.size), jnp.float32),
            gram=jax.ShapeDtypeStruct((self.size, self.size), jnp.float32),
        )

    def fit(
        self, log: EventLog, catalogue: Catalogue, seed: int, view: View = SILENT
    ) -> Variables:
        """Item factors float32 [I, D] and their Gram matrix [D, D]."""
        seen = seen_matrix(log, self.sizes.items)
        by_user = _slices(seen)
        by_item = _slices(seen.T.tocsr())
        drawn = jax.random.normal(jax.random.key(seed), (self.sizes.items, self.size))
        items = drawn * 0.1 / self.size**0.5
        for sweep in range(self.sweeps):
            users = _half_sweep(items, by_user, self.l2, self.unobserved)
            items = _half_sweep(users, by_item, self.l2, self.unobserved)
            items = jax.block_until_ready(items)
            view.progress("sweeps", sweep + 1, self.sweeps)
        return variables_of(item=items, gram=_gram(items))

    def encode_users(
        self,
        variables: Variables,
        log: EventLog,
        catalogue: Catalogue,
        request: Request,
    ) -> jax.Array:
        """Factors of users [B], solved from their items in `log`: float32 [B, D]."""
        params = variables["params"]
        slices = (log.seen_item, log.seen_start)
        return _solve(
            params["item"],
            params["gram"],
            slices,
            request.user,
            self.l2,
            self.unobserved,
        )

    def encode_items(
        self, variables: Variables, catalogue: Catalogue, items: Array
    ) -> jax.Array:
        """Factors of items: [C, D] or [B, C, D]."""
        return variables["params"]["item"][items]

    def score(self, variables: Variables, users: Array, items: Array) -> Array:
        """Scores float32 [B, C]."""
        return pair_dot(users, items)


def _slices(seen: object) -> Slices:
    return jnp.asarray(seen.indices), jnp.asarray(seen.indptr)  # pyrefly: ignore


@jax.jit
def _half_sweep(
    table: Array, slices: Slices, l2: float, unobserved: float
) -> jax.Array:
    """The factors of all rows of `slices`, given the factors `table` of what they hold."""
    rows = jnp.argsort(
        jnp.diff(slices[1])
    )  # rows alike in length share a block: little padding
    solved = _solve(table, _gram(table), slices, rows, l2, unobserved)
    return jnp.zeros_like(solved).at[rows].set(solved)


def _solve(
    table: Array, gram: Array, slices: Slices, rows: Array, l2: float, unobserved: float
) -> jax.Array:
    """Factors of rows [B], given the factors h = `table` of what they hold: [B, D].

    w_r = (sum_{c of r} (h_c h_c^T + l2 I) + a (gram + l2 |table| I))^-1 sum_{c of r} h_c
    """
    identity = jnp.eye(table.shape[1])
    of_all = unobserved * (gram + l2 * len(table) * identity)

    def visit(carry: tuple[Array, Array], column: Array) -> tuple[Array, Array]:
        matrix, target = carry
        factors = lookup(table, column)
        outer = jnp.matmul(factors.T, factors, precision="highest")
        penalty = l2 * (column >= 0).sum() * identity
        return matrix + outer + penalty, target + factors.sum(0)

    def solve(row: Array) -> jax.Array:
        start = (of_all, jnp.zeros(table.shape[1]))
        matrix, target = fold_slice(visit, start, slices, row)
        return cho_solve(cho_factor(matrix), target)

    return jax.lax.map(solve, rows, batch_size=BLOCK)


def _gram(table: Array) -> jax.Array:
    return jnp.einsum("nd,ne->de", table, table, precision="highest")


def build(config: Config, sizes: Sizes, clock: bool) -> Ials:
    """`ials` by its settings."""
    n = config.network
    return Ials(sizes, n.size, n.l2, n.unobserved, n.sweeps)


IALS = Registration("ials", IalsSettings, build, {"epochs": 0}, fitted=True)
