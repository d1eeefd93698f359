"""`engagement`: how much a shopper will like a product, from hover, dwell and click."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from ancf_jax.models.protocol import PairModule
from ancf_jax.modules.embeddings import lookup, pair_align
from ancf_jax.modules.heads import Dense, Tower
from ancf_jax.types import Array, Catalogue, Query


class Engagement(PairModule):
    """concat(user, product, interaction, dwell) [3D + 1] -> Dense 64 -> ReLU -> Dense 32 -> ReLU -> Dense 1.

    The sigmoid of the score is the engagement expected, in [0, 1]. `interaction` and `dwell` are
    what was known before: the kind of the shopper's previous event and the mean of the earlier
    compressed dwell. The event's own traces are its label and never an input.
    """

    TABLES: ClassVar[dict[str, str]] = {"user_table": "user", "product_table": "item"}
    size: int = 32
    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.0

    def setup(self) -> None:
        init = nn.initializers.normal(
            0.01
        )  # a shopper or product without events stays near nothing
        self.user_table = self.param("user_table", init, (self.sizes.users, self.size))
        self.product_table = self.param(
            "product_table", init, (self.sizes.items, self.size)
        )
        self.interaction_table = self.param(
            "interaction_table", init, (self.sizes.kinds, self.size)
        )
        self.first_user = Dense(self.hidden[0])
        self.first_product = Dense(self.hidden[0], use_bias=False)
        self.tower = Tower(self.hidden, self.dropout)
        self.output = Dense(1)

    def encode_users(
        self, catalogue: Catalogue, query: Query, train: bool = False
    ) -> Any:
        """The first layer's sum over user, interaction and dwell: [B, hidden[0]]."""
        user = lookup(self.user_table, query.user)
        interaction = lookup(self.interaction_table, query.kind)
        return self.first_user(
            jnp.concatenate([user, interaction, query.dwell[..., None]], -1)
        )

    def encode_items(self, catalogue: Catalogue, items: Array) -> Any:
        """The first layer's sum over the product: [..., C, hidden[0]]."""
        return self.first_product(lookup(self.product_table, items))

    def couple(self, users: Any, items: Any) -> Any:
        """The first layer, as the sum of both sides: [..., C, hidden[0]]."""
        return sum(pair_align(users, items))

    def finish(
        self, pairs: Array, weight: Array | None = None, train: bool = False
    ) -> Array:
        """The hidden layers over the first one: [..., C]."""
        return self.output(self.tower(pairs, weight, train))[..., 0]
