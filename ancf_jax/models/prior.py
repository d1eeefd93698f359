"""What speaks for an item before any embedding does: that it is popular, was had before, or tends to follow."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.config import NetworkConfig
from ancf_jax.data.tendencies import joined, lifts
from ancf_jax.modules import attention
from ancf_jax.modules.embeddings import repeat
from ancf_jax.types import Array, Catalogue, Query, Sizes

Pair = tuple[Array, Array]
Reach = tuple[
    Array, Array | None
]  # what a position may look at, [B, 1, L, L], and the bucket of how long ago that was

SWIFT = 10.0  # what weighs having had an item has far to go, and Adam moves a parameter by its rate at most
FEW = (
    -5.0 / SWIFT
)  # at first, having had an item is as much as a share of exp(-5) in all events
FIRM = 20.0  # events that speak for the average habit
LATEST = 3  # events whose followers are likely now


def firm(counts: Array, rate: Array | float) -> Array:
    """(repeats + FIRM rate) / (events + FIRM), the share of repeats for `counts` [..., 2] of events and repeats."""
    return (counts[..., 1] + FIRM * rate) / (counts[..., 0] + FIRM)


def alike(x: Array) -> Array:
    """Which of the values [B, L] of a row are equal: bool [B, L, L]."""
    return x[:, :, None] == x[:, None, :]


def _aged(
    join: Callable[..., Array], weights: list[Array], gap: Array | None, rows: int
) -> Array:
    """What `join` makes of weights by distance and by gap, for each position and each token before it: [B, L, L]."""
    by_distance = repeat(attention.distance_bias(weights[0][None])[0, 0], rows)
    return by_distance if gap is None else join(by_distance, weights[1][gap])


class LogPrior(nn.Module):
    """The log of how likely an item is, but for a constant, by counts and a few learned weights of them.

    prior = sum_l factor_l + log(share^popular + habit sum_l exp(amount_l)) + log(1 + sum_m exp(follow_m) lift_m)

    over the events l of the history that were of this very item, share = (1 + its events) / (1 + all events); factor
    and amount are learned by how many events ago, and how long ago, l was: what was just had may be less likely, and
    of what is had often more is had. habit is a product of powers, learned: of how often the user, and others this item
    (shrunk to its category's figure, and that to its department's), had things again, and of the number of the user's
    events. With `followers`, the last term is over the latest events m, the lift being how much likelier this item is
    soon after m than at all (see `data.tendencies`): pairs too rare for embeddings.
    """

    network: NetworkConfig
    sizes: Sizes

    def setup(self) -> None:
        n, constant = self.network, nn.initializers.constant
        if n.popularity:
            self.popular = self.param("popular", constant(1.0), (1,))
        if n.repeats:
            self.factor, self.amount = (
                self._by_age("factor", 0.0),
                self._by_age("amount", FEW),
            )
            self.habit = self.param(
                "habit", constant(1 / SWIFT), (2,)
            )  # of the item and of the user
            self.much = self.param(
                "much", constant(0.0), (1,)
            )  # of the number of the user's events
        if n.followers:
            self.follow = self.param("follow", constant(-1 / SWIFT), (LATEST,))

    def _by_age(self, name: str, start: float) -> tuple[Array, ...]:
        """Weights by how many events ago, and, where there is a clock, by how long ago."""
        by_distance = self.param(
            f"{name}_distance",
            nn.initializers.constant(start),
            (self.network.history_length,),
        )
        gap = (
            (self.param(f"{name}_gap", nn.initializers.zeros, (attention.GAPS,)),)
            if self.network.temporal
            else ()
        )
        return by_distance, *gap

    def of_items(self, catalogue: Catalogue, items: Array) -> Array:
        """The log of share^popular of items [..., C], in that shape: what is popular is likely."""
        power = self.popular[0] if self.network.popularity else 0.0
        return power * (
            jnp.log1p(jnp.asarray(catalogue.popularity)[items])
            - jnp.log1p(catalogue.events)
        )

    def of_history(
        self, catalogue: Catalogue, query: Query, reach: Reach
    ) -> dict[str, Array]:
        """The items that the history speaks for, `had`, and what it adds to `of_items` of each, `again`.

        Both are [B, K], or [B, L, K] for windows; items that count for nothing have the number `sizes.items`.
        """
        token, rows = query.token, slice(-1 if query.minute.ndim == 1 else 0, None)
        known = (reach[0][:, 0, rows] > attention.HIDDEN) & (token >= 0)[:, None, :]
        same = alike(
            jnp.where(token < 0, -1 - jnp.arange(token.shape[1])[None], token)
        ) & alike(query.segment)
        sides = [(known[..., :0].astype(jnp.int32), known[..., :0].astype(jnp.float32))]
        if self.network.repeats:
            sides.append(self._again(catalogue, query, reach[1], known, same))
        if self.network.followers:
            sides.append(self._followers(catalogue, query, known, same))
        shape = (*query.minute.shape, sum(had.shape[-1] for had, _ in sides))
        had, again = (
            jnp.concatenate(parts, -1).reshape(shape)
            for parts in zip(*sides, strict=True)
        )
        return {"had": had, "again": again}

    def _again(
        self,
        catalogue: Catalogue,
        query: Query,
        gap: Array | None,
        known: Array,
        same: Array,
    ) -> Pair:
        """The items of the history at the positions Q, and what having had each adds: both [B, Q, L]."""
        token, (queries, length) = query.token, known.shape[1:]
        order = jnp.arange(length)
        later = jnp.where(jnp.tril(same, -1), order[None, :, None], length).min(
            1
        )  # where the item was had again
        item, user = self._habits(catalogue, query, known, same)
        amount = _aged(
            jnp.multiply, [jnp.exp(SWIFT * x) for x in self.amount], gap, len(token)
        )[:, -queries:]
        factor = _aged(jnp.add, [SWIFT * x for x in self.factor], gap, len(token))[
            :, -queries:
        ]
        rarity = jnp.exp(item - self.of_items(catalogue, jnp.maximum(token, 0)))
        each = jnp.where(known, amount * rarity[:, None, :], 0.0)
        # Much data holds nothing twice in a history, and is spared the product.
        total = jax.lax.cond(
            (later < length).any(),
            lambda x: x @ same.astype(x.dtype),
            lambda x: x,
            each,
        )
        newest = later[:, None, :] > order[None, -queries:, None]
        more = jnp.where(newest, jnp.log1p(total * jnp.exp(user)[..., None]), 0.0)
        return jnp.where(known, token[:, None, :], self.sizes.items), jnp.where(
            known, factor + more, 0.0
        )

    def _habits(
        self, catalogue: Catalogue, query: Query, known: Array, same: Array
    ) -> Pair:
        """How prone items [B, L] and users at each position [B, Q] are to repeat: factors of amounts, as logs.

        Of an item that is how others had it, and what shares a level of the hierarchy with it, the wider the level
        the less: without the user's own events, those to come among them, which would tell.
        """
        share = rate = (catalogue.repeated + 1) / (catalogue.events + 1)
        item, levels = (
            jnp.maximum(query.token, 0),
            self.sizes.item_features if self.network.hierarchy else (),
        )
        events = jnp.stack([query.token >= 0, jnp.tril(same, -1).any(-1)], -1).astype(
            jnp.float32
        )  # all, and repeats
        values = (
            jnp.asarray(catalogue.item_features[name])[item, 0] for name, _ in levels
        )
        shared = [*(alike(value) & alike(query.segment) for value in values), same]
        for level, other in enumerate(shared, -len(shared)):
            own = jnp.einsum("blm,bmk->blk", other.astype(jnp.float32), events)
            rate = firm(
                jnp.maximum(jnp.asarray(catalogue.similar)[item, level] - own, 0), rate
            )
        had = jnp.einsum("bql,blk->bqk", known.astype(jnp.float32), events)
        of_user = self.habit[1] * jnp.log(firm(had, share) / share) + self.much[
            0
        ] * jnp.log1p(had[..., 0] / FIRM)
        return SWIFT * self.habit[0] * jnp.log(rate / share), SWIFT * of_user

    def _followers(
        self, catalogue: Catalogue, query: Query, known: Array, same: Array
    ) -> Pair:
        """What tends to follow the latest events, at the positions Q, and what it adds: both [B, Q, K].

        Nothing at the end of a window: what came there is no token of it, and could not be left out of the counts.
        """
        rows, length = known.shape[1:]
        # Places below 0 are at the end, which is not yet known.
        place = jnp.arange(length - rows, length)[:, None] - jnp.arange(LATEST)[None]
        near = (
            known[:, jnp.arange(rows)[:, None], place]
            * jnp.exp(SWIFT * self.follow)[None, None]
        )
        if query.minute.ndim == 2:
            near *= (jnp.diff(query.segment, axis=1, append=-2) == 0)[..., None]
        follower, lift = (
            x[:, place] for x in lifts(catalogue, query, same.astype(jnp.float32))
        )
        return joined(follower, near[..., None] * lift)
