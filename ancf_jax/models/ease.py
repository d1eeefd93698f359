"""EASE: a linear item-to-item model in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse
from scipy.linalg import get_lapack_funcs

from ancf_jax.errors import UserError
from ancf_jax.models.user_rows import Progress, count_items, pick
from ancf_jax.types import Array, Catalogue, EventLog, Query, Sizes, Variables

MOST_ITEMS = 40_000
_BLOCK = 1024


@dataclass(frozen=True)
class Ease:
    """score(u, i) = x_u B[:, i] with B = I - P diag(1 / diag P), P = (X^T X + l2 I)^-1.

    X [U, I] says which user had which item; x_u is the user's row of it in the log at hand, so new
    events and new users count without a new fit. Steck 2019, "Embarrassingly shallow autoencoders
    for sparse data".
    """

    sizes: Sizes
    l2: float

    def fit(self, log: EventLog, catalogue: Catalogue, seed: int, progress: Progress | None = None) -> Variables:
        """Weights B float32 [I, I] with a zero diagonal; raises UserError above 40,000 items or without penalty."""
        if self.sizes.items > MOST_ITEMS:
            raise UserError(
                f"ease on {self.sizes.items:,} items needs {8e-9 * self.sizes.items**2:.0f} GB of memory and is limited "
                f"to {MOST_ITEMS:,} items; choose --model ials or leave out rare items by --split.min-item-events"
            )
        weights = _inverse(_gram(log, self.sizes.items, progress), self.l2)
        weights /= -np.diag(weights)[None, :].copy()
        np.fill_diagonal(weights, 0.0)
        return {"params": {"weights": jnp.asarray(weights)}}

    def encode_users(self, variables: Variables, log: EventLog, catalogue: Catalogue, query: Query) -> jax.Array:
        """Scores x_u B of the whole catalogue, float32 [B, I]: one product, whatever the candidates."""
        had = count_items(log.seen_item, log.seen_start, query.user, self.sizes.items)
        return jnp.matmul(had, variables["params"]["weights"], precision="highest")

    def encode_items(self, variables: Variables, catalogue: Catalogue, items: Array) -> Array:
        """The items themselves: [C] or [B, C]."""
        return items

    def score(self, variables: Variables, users: Array, items: Array) -> Array:
        """Scores float32 [B, C]."""
        return pick(users, items)


def _gram(log: EventLog, items: int, progress: Progress | None) -> np.ndarray:
    """X^T X, float32 [I, I], in blocks of columns so that the sparse product stays small."""
    item, start = np.asarray(log.seen_item), np.asarray(log.seen_start)
    had = sparse.csr_array((np.ones(len(item), np.float32), item, start), shape=(len(start) - 1, items))
    columns, rows = had.tocsc(), had.T.tocsr()
    gram = np.empty((items, items), np.float32, order="F")
    for first in range(0, items, _BLOCK):
        gram[:, first : first + _BLOCK] = (rows @ columns[:, first : first + _BLOCK]).toarray()
        if progress is not None:
            progress("item pairs", min(first + _BLOCK, items), items)
    return gram


def _inverse(gram: np.ndarray, l2: float) -> np.ndarray:
    """(gram + l2 I)^-1 in the memory of `gram`."""
    np.fill_diagonal(gram, np.diag(gram) + l2)
    potrf, potri = get_lapack_funcs(("potrf", "potri"), (gram,))
    factor, failed = potrf(gram, overwrite_a=True)
    if failed:
        raise UserError(f"--baseline.ease-l2 is {l2}, too small for this data to be solved; choose a larger one")
    inverse, _ = potri(factor, overwrite_c=True)
    for first in range(0, len(inverse), _BLOCK):  # only the upper triangle is written: mirror it
        last = first + _BLOCK
        corner = np.triu(inverse[first:last, first:last])
        inverse[first:last, first:last] = corner + np.triu(corner, 1).T
        inverse[last:, first:last] = inverse[first:last, last:].T
    return inverse
