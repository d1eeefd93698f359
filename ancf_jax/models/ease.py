"""EASE: a linear item-to-item model in closed form."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import LinAlgError, inv

from ancf_jax.errors import UserError
from ancf_jax.models.baselines import (
    CatalogueScores,
    count_items,
    seen_matrix,
    variables_of,
)
from ancf_jax.models.protocol import Progress
from ancf_jax.types import Catalogue, EventLog, Query, Variables

MOST_ITEMS = 40_000
BLOCK = 1024


@dataclass(frozen=True)
class Ease(CatalogueScores):
    """score(u, i) = x_u B[:, i] with B = I - P diag(1 / diag P), P = (X^T X + l2 I)^-1.

    X [U, I] says which user had which item; x_u is the user's row of it in the log at hand, so new events and
    users count without a new fit. Steck 2019, "Embarrassingly shallow autoencoders for sparse data".
    """

    l2: float

    def shapes(self) -> Variables:
        """Shapes of the variables."""
        return variables_of(
            weights=jax.ShapeDtypeStruct(
                (self.sizes.items, self.sizes.items), jnp.float32
            )
        )

    def fit(
        self,
        log: EventLog,
        catalogue: Catalogue,
        seed: int,
        progress: Progress | None = None,
    ) -> Variables:
        """Weights B float32 [I, I] with a zero diagonal; raises UserError above 40,000 items or without penalty."""
        items = self.sizes.items
        if items > MOST_ITEMS:
            size = f"{items:,} items needs {8e-9 * items**2:.0f} GB of memory and is limited to {MOST_ITEMS:,} items"
            raise UserError(
                f"ease on {size}; choose --model ials or leave out rare ones by --split.min-item-events"
            )
        seen, gram = (
            seen_matrix(log, items).tocsc(),
            np.empty((items, items), np.float32, order="F"),
        )
        for first in range(
            0, items, BLOCK
        ):  # block by block, so that the sparse product stays small
            gram[:, first : first + BLOCK] = (
                seen.T @ seen[:, first : first + BLOCK]
            ).toarray()
        np.fill_diagonal(gram, np.diag(gram) + self.l2)
        try:
            weights = inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
        except LinAlgError:
            raise UserError(
                f"--baseline.ease-l2 is {self.l2}, too small for this data; choose a larger one"
            ) from None
        weights /= -np.diag(weights)[None, :].copy()
        np.fill_diagonal(weights, 0.0)
        return variables_of(weights=jnp.asarray(weights))

    def encode_users(
        self, variables: Variables, log: EventLog, catalogue: Catalogue, query: Query
    ) -> jax.Array:
        """Scores x_u B of the whole catalogue: float32 [B, I]."""
        had = count_items((log.seen_item, log.seen_start), query.user, self.sizes.items)
        return jnp.matmul(had, variables["params"]["weights"], precision="highest")
