"""`linear`: user and item embeddings, concatenated, through one linear layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn

from ancf_jax.config import Config
from ancf_jax.limits import Size
from ancf_jax.models.protocol import NeuralModel, PairModule
from ancf_jax.models.registry import Registration
from ancf_jax.modules.embeddings import lookup, pair_sum
from ancf_jax.types import Array, Catalogue, Request, Sizes


@dataclass(frozen=True)
class LinearSettings:
    """The shape of `linear`."""

    embedding_size: Size = 32
    """Width of user and item embeddings."""


class Linear(PairModule):
    """score = concat(u, i) @ weights + bias, with u, i and weights drawn from N(0, 1/D).

    Since a linear layer over a concatenation is a sum, score = b_u + b_i + bias: everybody gets
    the same ranking. It is the floor that other models are measured against.
    """

    TABLES: ClassVar[Mapping[str, str]] = {"user_table": "user", "item_table": "item"}
    size: int

    def setup(self) -> None:
        init = nn.initializers.normal(self.size**-0.5)
        self.user_table = self.param("user_table", init, (self.sizes.users, self.size))
        self.item_table = self.param("item_table", init, (self.sizes.items, self.size))
        self.weights = self.param("weights", init, (2 * self.size, 1))
        self.bias = self.param("bias", nn.initializers.zeros, (1,))

    def encode_users(
        self, catalogue: Catalogue, request: Request, train: bool = False
    ) -> Array:
        """u @ weights[:D]: [B, 1]."""
        return lookup(self.user_table, request.user) @ self.weights[: self.size]

    def encode_items(self, catalogue: Catalogue, items: Array) -> Array:
        """i @ weights[D:]: [..., C, 1]."""
        return lookup(self.item_table, items) @ self.weights[self.size :]

    def couple(self, users: Array, items: Array) -> Array:
        """The sum of both and the bias: [..., C, 1]."""
        return pair_sum(users, items) + self.bias[0]


def build(config: Config, sizes: Sizes, clock: bool) -> NeuralModel:
    """`linear` by its settings."""
    return NeuralModel(Linear(sizes, config.network.embedding_size))


LINEAR = Registration(
    "linear",
    LinearSettings,
    build,
    {
        "epochs": 10,
        "loop.batch_size": 8,
        "objective.loss": "mse",
        "objective.negatives": 0,
        "optim.optimizer": "sgd",
        "optim.learning_rate": 0.01,
        "optim.schedule": "constant",
        "optim.weight_decay": 0.0,
        "optim.clip": 0.0,
    },
)
