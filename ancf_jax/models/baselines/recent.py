"""`recent_popularity`: what everybody bought in the last weeks."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Config
from ancf_jax.errors import UserError
from ancf_jax.limits import Positive
from ancf_jax.models.baselines.counting import Popularity
from ancf_jax.models.baselines.shared import variables_of
from ancf_jax.models.registry import Registration
from ancf_jax.types import Catalogue, EventLog, Sizes, Variables
from ancf_jax.view import SILENT, View

MINUTES_PER_WEEK = 7 * 24 * 60


@dataclass(frozen=True)
class RecentSettings:
    """The settings of `recent_popularity`."""

    weeks: Positive = 4.0
    """How many weeks before the newest training event count."""


@dataclass(frozen=True)
class RecentPopularity(Popularity):
    """score(u, i) = training events of i in the last weeks + share of i in all training events.

    The same for every user. The weeks end with the newest training event. The share, below 1,
    only orders items that were bought equally often in them.
    """

    weeks: float

    def fit(
        self, log: EventLog, catalogue: Catalogue, seed: int, view: View = SILENT
    ) -> Variables:
        """The scores float32 [I]."""
        items = self.sizes.items
        minute = np.asarray(log.minute)
        age = minute.max(initial=0) - minute
        is_recent = age < self.weeks * MINUTES_PER_WEEK
        recent = np.bincount(np.asarray(log.item)[is_recent], minlength=items)
        events = np.asarray(catalogue.popularity)
        share = events / (events.sum() + 1.0)
        return variables_of(count=jnp.asarray(recent + share, jnp.float32))


def build(config: Config, sizes: Sizes, clock: bool) -> RecentPopularity:
    """`recent_popularity` by its settings.

    Raises:
        UserError: the data has no real times.
    """
    if not clock:
        raise UserError(
            "--model recent_popularity needs data with times, but this data has only an order; "
            "choose --model popularity"
        )
    return RecentPopularity(sizes, config.network.weeks)


RECENT_POPULARITY = Registration(
    "recent_popularity", RecentSettings, build, {"epochs": 0}, fitted=True
)
