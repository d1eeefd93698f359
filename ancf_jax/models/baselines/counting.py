"""`popularity` and `most_bought`: lists by counting, without a model."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ancf_jax.config import Config, NoSettings
from ancf_jax.models.baselines.shared import CatalogueScores, count_items, variables_of
from ancf_jax.models.registry import Registration
from ancf_jax.types import Catalogue, EventLog, Request, Sizes, Variables
from ancf_jax.view import SILENT, View


@dataclass(frozen=True)
class Popularity(CatalogueScores):
    """score(u, i) = number of training events of item i; the same for every user."""

    def shapes(self) -> Variables:
        """Shapes of the variables."""
        return variables_of(
            count=jax.ShapeDtypeStruct((self.sizes.items,), jnp.float32)
        )

    def fit(
        self, log: EventLog, catalogue: Catalogue, seed: int, view: View = SILENT
    ) -> Variables:
        """Counts float32 [I] of the training events per item."""
        return variables_of(count=jnp.asarray(catalogue.popularity))

    def shares(self, variables: Variables) -> jax.Array:
        """Share float32 [I] of each item in the training events; below 1, even of a lone item."""
        count = variables["params"]["count"]
        return count / (count.sum() + 1.0)

    def encode_users(
        self,
        variables: Variables,
        log: EventLog,
        catalogue: Catalogue,
        request: Request,
    ) -> jax.Array:
        """Scores of the whole catalogue: float32 [B, I]."""
        count = variables["params"]["count"]
        return jnp.broadcast_to(count, (len(request.user), self.sizes.items))


@dataclass(frozen=True)
class MostBought(Popularity):
    """score(u, i) = events of u with i in the log at hand + share of i in training events.

    The share, below 1, only orders items that the user took equally often; for an unknown user
    (-1) it is all there is.
    """

    def encode_users(
        self,
        variables: Variables,
        log: EventLog,
        catalogue: Catalogue,
        request: Request,
    ) -> jax.Array:
        """Scores of the whole catalogue: float32 [B, I]."""
        bought = count_items((log.item, log.start), request.user, self.sizes.items)
        return bought + self.shares(variables)[None, :]


def build_popularity(config: Config, sizes: Sizes, clock: bool) -> Popularity:
    """`popularity`, which has no settings."""
    return Popularity(sizes)


def build_most_bought(config: Config, sizes: Sizes, clock: bool) -> MostBought:
    """`most_bought`, which has no settings."""
    return MostBought(sizes)


POPULARITY = Registration(
    "popularity", NoSettings, build_popularity, {"epochs": 0}, fitted=True
)
MOST_BOUGHT = Registration(
    "most_bought", NoSettings, build_most_bought, {"epochs": 0}, fitted=True
)
