"""`follows`: what tends to follow the latest events, by counts alone."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Config
from ancf_jax.data.counts import UNFOLLOWED_EVENTS, count_followers
from ancf_jax.limits import NotNegative, Size
from ancf_jax.models.baselines.shared import CatalogueScores, variables_of
from ancf_jax.models.registry import Registration
from ancf_jax.types import Array, Catalogue, EventLog, Request, Sizes, Variables
from ancf_jax.view import SILENT, View


@dataclass(frozen=True)
class FollowsSettings:
    """The settings of `follows`."""

    followers: Size = 200
    """Number of items known to come soon after each."""
    weights: tuple[NotNegative, ...] = (0.8, 0.4, 0.2)
    """Weight of the followers of the latest event, of the one before, and so on."""


@dataclass(frozen=True)
class Follows(CatalogueScores):
    """score(u, i) = log share_i + log(1 + sum_m weight_m lift(i after m))

    over the latest events m of u in the log at hand. share_i is the item's share of the training
    events; for an unknown user (-1) it is all there is. lift says how many times likelier i is
    soon after the item of m than at all, by counts of the training events:

    lift(i after a) = count_after[a, i] / (events of a + UNFOLLOWED_EVENTS) / share_i

    with `data.counts.count_followers`. It is the prior of `ancf` without what is learned and
    without repeats.
    """

    followers: int
    weights: tuple[float, ...]

    def shapes(self) -> Variables:
        """Shapes of the variables."""
        items = self.sizes.items
        kept = (items, self.followers)
        return variables_of(
            log_share=jax.ShapeDtypeStruct((items,), jnp.float32),
            follower=jax.ShapeDtypeStruct(kept, jnp.int32),
            lift=jax.ShapeDtypeStruct(kept, jnp.float32),
        )

    def fit(
        self, log: EventLog, catalogue: Catalogue, seed: int, view: View = SILENT
    ) -> Variables:
        """Log shares float32 [I]; followers int32 [I, K], I for none; lifts float32 [I, K]."""
        user = np.asarray(log.user)
        item = np.asarray(log.item)
        events = np.asarray(catalogue.popularity)
        share = (events + 1) / (events.sum() + 1)
        follower, weight = count_followers(user, item, len(events), self.followers)
        rate = weight / (events + UNFOLLOWED_EVENTS)[:, None]
        # Number I stands for no follower, whose weight is 0.
        lift = rate / np.append(share, 1)[follower]
        return variables_of(
            log_share=jnp.asarray(np.log(share), jnp.float32),
            follower=jnp.asarray(follower),
            lift=jnp.asarray(lift, jnp.float32),
        )

    def encode_users(
        self,
        variables: Variables,
        log: EventLog,
        catalogue: Catalogue,
        request: Request,
    ) -> jax.Array:
        """Scores of the whole catalogue: float32 [B, I]."""
        params = variables["params"]
        item, is_event = latest_items(log, request.user, len(self.weights))
        weight = is_event * jnp.asarray(self.weights, jnp.float32)[None]
        follower = params["follower"][item]
        lift = weight[..., None] * params["lift"][item]
        batch = len(request.user)
        row = jnp.arange(batch)[:, None, None]
        total = jnp.zeros((batch, self.sizes.items))
        total = total.at[row, follower].add(lift, mode="drop")
        return params["log_share"][None, :] + jnp.log1p(total)


def latest_items(log: EventLog, user: Array, count: int) -> tuple[Array, Array]:
    """The items int32 [B, count] of the latest events of users [B], the latest first.

    And whether there is such an event: bool [B, count].
    """
    row = jnp.maximum(user, 0)
    begin = log.start[row]
    end = jnp.where(user >= 0, log.start[row + 1], begin)
    place = end[:, None] - 1 - jnp.arange(count)[None, :]
    is_event = place >= begin[:, None]
    return log.item[jnp.maximum(place, 0)], is_event


def build(config: Config, sizes: Sizes, clock: bool) -> Follows:
    """`follows` by its settings."""
    return Follows(sizes, config.network.followers, config.network.weights)


FOLLOWS = Registration("follows", FollowsSettings, build, {"epochs": 0}, fitted=True)
