"""iALS: matrix factorisation over all user-item pairs by alternating least squares."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve

from ancf_jax.models.baselines import Slices, fold_slice, seen_matrix, variables_of
from ancf_jax.models.protocol import Progress
from ancf_jax.modules.embeddings import lookup, pair_dot
from ancf_jax.types import Array, Catalogue, EventLog, Query, Sizes, Variables

BLOCK = 128


@dataclass(frozen=True)
class Ials:
    """score(u, i) = <w_u, h_i>, where W and H minimise

    sum_{(u,i) seen} (<w_u,h_i> - 1)^2 + a sum_{all u,i} <w_u,h_i>^2
    + l2 (sum_u (n_u + a I) |w_u|^2 + sum_i (n_i + a U) |h_i|^2)

    with `a` = `unobserved` and n = number of partners seen. Hu, Koren, Volinsky 2008, with the penalty of Rendle
    et al. 2021, "Revisiting the performance of iALS on item recommendation benchmarks". w_u is solved again from
    the log at hand, so new events and users count without a new fit; without events it is the zero vector.
    """

    sizes: Sizes
    size: int
    l2: float
    unobserved: float
    sweeps: int

    def shapes(self) -> Variables:
        """Shapes of the variables."""
        item, gram = (
            jax.ShapeDtypeStruct((rows, self.size), jnp.float32)
            for rows in (self.sizes.items, self.size)
        )
        return variables_of(item=item, gram=gram)

    def fit(
        self,
        log: EventLog,
        catalogue: Catalogue,
        seed: int,
        progress: Progress | None = None,
    ) -> Variables:
        """Item factors float32 [I, D] and their Gram matrix [D, D]."""
        seen = seen_matrix(log, self.sizes.items)
        by_user, by_item = (
            (jnp.asarray(x.indices), jnp.asarray(x.indptr))
            for x in (seen, seen.T.tocsr())
        )
        items = (
            jax.random.normal(jax.random.key(seed), (self.sizes.items, self.size))
            * 0.1
            / self.size**0.5
        )
        for sweep in range(self.sweeps):
            users = _half_sweep(items, by_user, self.l2, self.unobserved)
            items = jax.block_until_ready(
                _half_sweep(users, by_item, self.l2, self.unobserved)
            )
            if progress is not None:
                progress("sweeps", sweep + 1, self.sweeps)
        return variables_of(item=items, gram=_gram(items))

    def encode_users(
        self, variables: Variables, log: EventLog, catalogue: Catalogue, query: Query
    ) -> jax.Array:
        """Factors of users [B], solved from their items in `log`: float32 [B, D]."""
        params, slices = variables["params"], (log.seen_item, log.seen_start)
        return _solve(
            params["item"], params["gram"], slices, query.user, self.l2, self.unobserved
        )

    def encode_items(
        self, variables: Variables, catalogue: Catalogue, items: Array
    ) -> jax.Array:
        """Factors of items: [C, D] or [B, C, D]."""
        return variables["params"]["item"][items]

    def score(self, variables: Variables, users: Array, items: Array) -> Array:
        """Scores float32 [B, C]."""
        return pair_dot(users, items)


@jax.jit
def _half_sweep(
    table: Array, slices: Slices, l2: float, unobserved: float
) -> jax.Array:
    """The factors of all rows of `slices`, given the factors `table` of what they have."""
    rows = jnp.argsort(
        jnp.diff(slices[1])
    )  # rows alike in length share a block, which pads little
    solved = _solve(table, _gram(table), slices, rows, l2, unobserved)
    return jnp.zeros_like(solved).at[rows].set(solved)


def _solve(
    table: Array, gram: Array, slices: Slices, rows: Array, l2: float, unobserved: float
) -> jax.Array:
    """w_r = (sum_{c of r} (h_c h_c^T + l2 I) + a (gram + l2 |table| I))^-1 sum_{c of r} h_c for rows [B]: [B, D]."""
    eye = jnp.eye(table.shape[1])
    empty = unobserved * (gram + l2 * len(table) * eye), jnp.zeros(table.shape[1])

    def visit(carry: tuple[Array, Array], column: Array) -> tuple[Array, Array]:
        had = lookup(table, column)
        outer = jnp.matmul(had.T, had, precision="highest")
        return carry[0] + outer + l2 * (column >= 0).sum() * eye, carry[1] + had.sum(0)

    def solve(row: Array) -> jax.Array:
        matrix, target = fold_slice(visit, empty, slices, row)
        return cho_solve(cho_factor(matrix), target)

    return jax.lax.map(solve, rows, batch_size=BLOCK)


def _gram(table: Array) -> jax.Array:
    return jnp.einsum("nd,ne->de", table, table, precision="highest")
