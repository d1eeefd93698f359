"""`ease`: a linear item-to-item model in closed form."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import LinAlgError, inv

from ancf_jax.config import Config
from ancf_jax.errors import UserError
from ancf_jax.limits import Positive
from ancf_jax.models.baselines.shared import (
    CatalogueScores,
    count_items,
    seen_matrix,
    variables_of,
)
from ancf_jax.models.registry import Registration
from ancf_jax.types import Catalogue, EventLog, Request, Sizes, Variables
from ancf_jax.view import SILENT, View

MAX_ITEMS = 40_000
BLOCK = 1024  # columns of the Gram matrix that are made at a time


@dataclass(frozen=True)
class EaseSettings:
    """The settings of `ease`."""

    l2: Positive = 1000.0
    """L2 penalty."""


@dataclass(frozen=True)
class Ease(CatalogueScores):
    """score(u, i) = x_u B[:, i] with B = I - P diag(1 / diag P), P = (X^T X + l2 I)^-1.

    X [U, I] says which user took which item; x_u is the user's row of it in the log at hand, so
    new events and users count without a new fit.
    Source: Steck 2019, "Embarrassingly shallow autoencoders for sparse data".
    """

    l2: float

    def shapes(self) -> Variables:
        """Shapes of the variables."""
        items = self.sizes.items
        return variables_of(weights=jax.ShapeDtypeStruct((items, items), jnp.float32))

    def fit(
        self, log: EventLog, catalogue: Catalogue, seed: int, view: View = SILENT
    ) -> Variables:
        """Weights B float32 [I, I] with a zero diagonal.

        Raises:
            UserError: there are more than 40,000 items, or the penalty is too small.
        """
        gram = self._gram(log)
        np.fill_diagonal(gram, np.diag(gram) + self.l2)
        try:
            weights = inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
        except LinAlgError:
            raise UserError(
                f"--network.l2 is {self.l2}, too small for this data; choose a larger one"
            ) from None
        weights /= -np.diag(weights)[None, :].copy()
        np.fill_diagonal(weights, 0.0)
        return variables_of(weights=jnp.asarray(weights))

    def _gram(self, log: EventLog) -> np.ndarray:
        """X^T X float32 [I, I], block by block, so that the sparse product stays small."""
        items = self.sizes.items
        if items > MAX_ITEMS:
            gigabytes = 8e-9 * items**2
            raise UserError(
                f"ease on {items:,} items needs {gigabytes:.0f} GB of memory and is limited to "
                f"{MAX_ITEMS:,} items; choose --model ials or leave out rare ones by "
                "--split.min-item-events"
            )
        seen = seen_matrix(log, items).tocsc()
        gram = np.empty((items, items), np.float32, order="F")
        for begin in range(0, items, BLOCK):
            columns = slice(begin, begin + BLOCK)
            gram[:, columns] = (seen.T @ seen[:, columns]).toarray()
        return gram

    def encode_users(
        self,
        variables: Variables,
        log: EventLog,
        catalogue: Catalogue,
        request: Request,
    ) -> jax.Array:
        """Scores x_u B of the whole catalogue: float32 [B, I]."""
        seen = count_items(
            (log.seen_item, log.seen_start), request.user, self.sizes.items
        )
        return jnp.matmul(seen, variables["params"]["weights"], precision="highest")


def build(config: Config, sizes: Sizes, clock: bool) -> Ease:
    """`ease` by its settings."""
    return Ease(sizes, config.network.l2)


EASE = Registration("ease", EaseSettings, build, {"epochs": 0}, fitted=True)
