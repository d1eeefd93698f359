"""`linear`: user and item embeddings, concatenated, through one linear layer."""

from typing import Any, ClassVar

import flax.linen as nn

from ancf_jax.models.protocol import PairModule
from ancf_jax.modules.embeddings import lookup, pair_align
from ancf_jax.types import Array, Catalogue, Query


class Linear(PairModule):
    """score = concat(u, i) @ weights + bias, with u, i and weights drawn from N(0, 1/D).

    Since a linear layer over a concatenation is a sum, score = b_u + b_i + bias: everybody gets the
    same ranking. It is the floor that other models are measured against.
    """

    TABLES: ClassVar[dict[str, str]] = {"user_table": "user", "item_table": "item"}
    size: int

    def setup(self) -> None:
        init = nn.initializers.normal(self.size**-0.5)
        self.user_table = self.param("user_table", init, (self.sizes.users, self.size))
        self.item_table = self.param("item_table", init, (self.sizes.items, self.size))
        self.weights = self.param("weights", init, (2 * self.size, 1))
        self.bias = self.param("bias", nn.initializers.zeros, (1,))

    def encode_users(
        self, catalogue: Catalogue, query: Query, train: bool = False
    ) -> Any:
        """u @ weights[:D]: [B, 1]."""
        return lookup(self.user_table, query.user) @ self.weights[: self.size]

    def encode_items(self, catalogue: Catalogue, items: Array) -> Any:
        """i @ weights[D:]: [..., C, 1]."""
        return lookup(self.item_table, items) @ self.weights[self.size :]

    def couple(self, users: Any, items: Any) -> Any:
        """The sum of both sides and the bias: [..., C, 1]."""
        return sum(pair_align(users, items)) + self.bias[0]
