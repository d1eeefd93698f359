"""`mf`, `gmf`, `mlp` and `neumf` of Neural Collaborative Filtering (He et al. 2017)."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from ancf_jax.models.protocol import PairModule
from ancf_jax.modules.embeddings import lookup, lookup_parts, pair_align, pair_dot
from ancf_jax.modules.heads import Dense, Tower
from ancf_jax.types import Array, Catalogue, Query

SMALL = nn.initializers.normal(0.01)  # the paper's initialisation of embeddings


class MatrixFactorisation(PairModule):
    """score = u . i + b_u + b_i + b: the dot product with biases (Koren et al. 2009; Rendle et al. 2020)."""

    TABLES: ClassVar[dict[str, str]] = {
        f"{of}_{what}": of for of in ("user", "item") for what in ("table", "bias")
    }
    size: int

    def setup(self) -> None:
        init = nn.initializers.normal(0.1 * self.size**-0.5)
        self.user_table = self.param("user_table", init, (self.sizes.users, self.size))
        self.item_table = self.param("item_table", init, (self.sizes.items, self.size))
        self.user_bias = self.param(
            "user_bias", nn.initializers.zeros, (self.sizes.users, 1)
        )
        self.item_bias = self.param(
            "item_bias", nn.initializers.zeros, (self.sizes.items, 1)
        )
        self.bias = self.param("bias", nn.initializers.zeros, (1,))

    def encode_users(
        self, catalogue: Catalogue, query: Query, train: bool = False
    ) -> Any:
        """Factors [B, D] and biases [B, 1]."""
        return lookup(self.user_table, query.user), lookup(self.user_bias, query.user)

    def encode_items(self, catalogue: Catalogue, items: Array) -> Any:
        """Factors [..., C, D] and biases [..., C, 1]."""
        return lookup(self.item_table, items), lookup(self.item_bias, items)

    def couple(self, users: Any, items: Any) -> Array:
        """The dot product and the biases: [..., C, 1]."""
        user_bias, item_bias = pair_align(users[1], items[1])
        return (
            pair_dot(users[0], items[0])[..., None]
            + user_bias
            + item_bias
            + self.bias[0]
        )


class NeuMF(PairModule):
    """h . concat(p * q, tower(first(u, i))): generalised matrix factorisation beside an MLP, each optional.

    GMF and MLP have tables of their own, which lie side by side: the first `size` columns of a row are GMF's. The
    output layer weighs both. `gmf` alone and `mlp` alone are the paper's two parts.
    """

    TABLES: ClassVar[dict[str, str]] = {"user_table": "user", "item_table": "item"}
    size: int
    mlp_size: int
    hidden: tuple[int, ...]
    dropout: float = 0.0
    gmf: bool = True
    mlp: bool = True

    def setup(self) -> None:
        width = self.gmf * self.size + self.mlp * self.mlp_size
        self.user_table = self.param("user_table", SMALL, (self.sizes.users, width))
        self.item_table = self.param("item_table", SMALL, (self.sizes.items, width))
        if self.gmf:
            self.gmf_output = self.param(
                "gmf_output", nn.initializers.lecun_normal(), (self.size, 1)
            )
        self.first_user, self.first_item = (
            Dense(self.hidden[0]),
            Dense(self.hidden[0], use_bias=False),
        )
        self.tower, self.mlp_output = (
            Tower(self.hidden, self.dropout),
            Dense(1, use_bias=False),
        )
        self.bias = self.param("bias", nn.initializers.zeros, (1,))

    def encode_users(
        self, catalogue: Catalogue, query: Query, train: bool = False
    ) -> Any:
        """GMF factors weighed by the output layer [B, D], and the MLP's first layer over the user [B, hidden[0]]."""
        factors, embedding = lookup_parts(
            self.user_table, query.user, (self.gmf * self.size,)
        )
        # A product is made once; a multiplication XLA would make again in the gradient of every item.
        gmf = {"gmf": factors @ jnp.diag(self.gmf_output[:, 0])} if self.gmf else {}
        return gmf | ({"first": self.first_user(embedding)} if self.mlp else {})

    def encode_items(self, catalogue: Catalogue, items: Array) -> Any:
        """GMF factors [..., C, D], and the MLP's first layer over the item [..., C, hidden[0]]."""
        factors, embedding = lookup_parts(
            self.item_table, items, (self.gmf * self.size,)
        )
        return ({"gmf": factors} if self.gmf else {}) | (
            {"first": self.first_item(embedding)} if self.mlp else {}
        )

    def couple(self, users: Any, items: Any) -> Any:
        """The weighed product [..., C, 1], and the MLP's first layer [..., C, hidden[0]]."""
        gmf = (
            {"gmf": pair_dot(users["gmf"], items["gmf"])[..., None]} if self.gmf else {}
        )
        return gmf | (
            {"first": sum(pair_align(users["first"], items["first"]))}
            if self.mlp
            else {}
        )

    def finish(
        self, pairs: Any, weight: Array | None = None, train: bool = False
    ) -> Array:
        """The weighed product plus the hidden layers over the first one: [..., C]."""
        gmf = pairs["gmf"][..., 0] if self.gmf else 0.0
        mlp = (
            self.mlp_output(self.tower(pairs["first"], weight, train))[..., 0]
            if self.mlp
            else 0.0
        )
        return self.bias[0] + gmf + mlp
