"""`engagement`: how much a shopper will like a product, from hover, dwell and click."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ancf_jax.config import Config
from ancf_jax.limits import Share, Size, Widths, require_layers
from ancf_jax.models.protocol import NeuralModel, PairModule
from ancf_jax.models.registry import Registration
from ancf_jax.modules.embeddings import lookup, pair_sum
from ancf_jax.modules.heads import Dense, Tower
from ancf_jax.types import Array, Catalogue, Request, Sizes


@dataclass(frozen=True)
class EngagementSettings:
    """The shape of `engagement`."""

    embedding_size: Size = 32
    """Width of the embeddings of user, product and kind of interaction."""
    hidden: Widths = (64, 32)
    """Widths of the MLP tower, first layer first."""
    dropout: Share = 0.0
    """Share of units dropped in training."""

    def check(self) -> None:
        """Raises UserError where the tower has no layers."""
        require_layers(self.hidden)


class Engagement(PairModule):
    """concat(user, product, interaction, dwell) [3D + 1] -> Dense 64 -> ReLU -> Dense 32
    -> ReLU -> Dense 1.

    The sigmoid of the score is the engagement expected, in [0, 1]. `interaction` and `dwell` are
    what was known before: the kind of the shopper's previous event and the mean of the earlier
    compressed dwell. The event's own traces are its label and never an input.
    """

    TABLES: ClassVar[Mapping[str, str]] = {
        "user_table": "user",
        "product_table": "item",
    }
    size: int = 32
    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        # A shopper or product without events stays near nothing.
        init = nn.initializers.normal(0.01)
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
        self, catalogue: Catalogue, request: Request, train: bool = False
    ) -> Array:
        """The first layer's sum over user, interaction and dwell: [B, hidden[0]]."""
        user = lookup(self.user_table, request.user)
        interaction = lookup(self.interaction_table, request.kind)
        known = jnp.concatenate([user, interaction, request.dwell[..., None]], -1)
        return self.first_user(known.astype(self.dtype))

    def encode_items(self, catalogue: Catalogue, items: Array) -> Array:
        """The first layer's sum over the product: [..., C, hidden[0]]."""
        product = lookup(self.product_table, items)
        return self.first_product(product.astype(self.dtype))

    def couple(self, users: Array, items: Array) -> Array:
        """The first layer, as the sum of both: [..., C, hidden[0]]."""
        return pair_sum(users, items)

    def finish(
        self, pairs: Array, weight: Array | None = None, train: bool = False
    ) -> Array:
        """The hidden layers over the first one: [..., C]."""
        found = self.output(self.tower(pairs, weight, train))
        return found[..., 0].astype(jnp.float32)


def build(config: Config, sizes: Sizes, clock: bool) -> NeuralModel:
    """`engagement` by its settings."""
    n = config.network
    return NeuralModel(Engagement(sizes, n.embedding_size, n.hidden, n.dropout))


ENGAGEMENT = Registration(
    "engagement",
    EngagementSettings,
    build,
    {
        "epochs": 12,
        "loop.batch_size": 1024,
        "objective.loss": "log_loss",
        "objective.label": "engagement",
        "objective.negatives": 0,
        "optim.optimizer": "adam",
        "optim.learning_rate": 0.002,
        "optim.weight_decay": 1e-5,
        "optim.clip": 0.0,
    },
)
