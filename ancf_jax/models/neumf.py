"""`mf`, `gmf`, `mlp` and `neumf` of Neural Collaborative Filtering (He et al. 2017)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ancf_jax.config import Config
from ancf_jax.limits import Share, Size, Widths, require_layers
from ancf_jax.machine import forms
from ancf_jax.models.protocol import NeuralModel, PairModule
from ancf_jax.models.registry import Registration
from ancf_jax.modules.embeddings import (
    lookup,
    lookup_parts,
    pair_align,
    pair_dot,
    pair_sum,
)
from ancf_jax.modules.heads import Dense, Tower
from ancf_jax.types import Array, Catalogue, Request, Sizes

SMALL = nn.initializers.normal(0.01)  # the paper's initialisation of embeddings


@dataclass(frozen=True)
class FactorSettings:
    """The shape of `mf` and `gmf`."""

    embedding_size: Size = 32
    """Width of user and item embeddings."""


@dataclass(frozen=True)
class MlpSettings:
    """The shape of `mlp`."""

    mlp_size: Size = 32
    """Width of user and item embeddings."""
    hidden: Widths = (64, 32, 16)
    """Widths of the MLP tower, first layer first."""
    dropout: Share = 0.0
    """Share of units dropped in training."""

    def check(self) -> None:
        """Raises UserError where the tower has no layers."""
        require_layers(self.hidden)


@dataclass(frozen=True)
class NeuMFSettings(MlpSettings):
    """The shape of `neumf`."""

    embedding_size: Size = 32
    """Width of the embeddings of the GMF part; `mlp_size` is that of the MLP part."""


class MatrixFactorisation(PairModule):
    """score = u . i + b_u + b_i + b (Koren et al. 2009; Rendle et al. 2020)."""

    TABLES: ClassVar[Mapping[str, str]] = {
        "user_table": "user",
        "user_bias": "user",
        "item_table": "item",
        "item_bias": "item",
    }
    size: int

    def setup(self) -> None:
        init = nn.initializers.normal(0.1 * self.size**-0.5)
        zeros = nn.initializers.zeros
        self.user_table = self.param("user_table", init, (self.sizes.users, self.size))
        self.item_table = self.param("item_table", init, (self.sizes.items, self.size))
        self.user_bias = self.param("user_bias", zeros, (self.sizes.users, 1))
        self.item_bias = self.param("item_bias", zeros, (self.sizes.items, 1))
        self.bias = self.param("bias", zeros, (1,))

    def encode_users(
        self, catalogue: Catalogue, request: Request, train: bool = False
    ) -> tuple[Array, Array]:
        """Factors [B, D] and biases [B, 1]."""
        return lookup(self.user_table, request.user), lookup(
            self.user_bias, request.user
        )

    def encode_items(self, catalogue: Catalogue, items: Array) -> tuple[Array, Array]:
        """Factors [..., C, D] and biases [..., C, 1]."""
        return lookup(self.item_table, items), lookup(self.item_bias, items)

    def couple(self, users: tuple[Array, Array], items: tuple[Array, Array]) -> Array:
        """The dot product and the biases: [..., C, 1]."""
        user_bias, item_bias = pair_align(users[1], items[1])
        product = pair_dot(users[0], items[0])[..., None]
        return product + user_bias + item_bias + self.bias[0]


class NeuMFSide(NamedTuple):
    """What a user or an item contributes to its pairs.

    Attributes:
        gmf: [..., D] factors; None without GMF.
        first_layer: [..., hidden[0]] part of the first layer; None without the MLP.
    """

    gmf: Array | None
    first_layer: Array | None


class NeuMF(PairModule):
    """score = h . concat(p * q, tower(Dense(concat(u, i)))) + b.

    Generalised matrix factorisation beside an MLP, each optional: `gmf` alone and `mlp` alone
    are the paper's two parts. They have embeddings of their own, p, q and u, i, which lie side by
    side: the first `size` columns of a row are GMF's. The output layer h weighs both.
    """

    TABLES: ClassVar[Mapping[str, str]] = {"user_table": "user", "item_table": "item"}
    size: int
    mlp_size: int
    hidden: tuple[int, ...]
    dropout: float = 0.0
    gmf: bool = True
    mlp: bool = True
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        width = self.gmf * self.size + self.mlp * self.mlp_size
        self.user_table = self.param("user_table", SMALL, (self.sizes.users, width))
        self.item_table = self.param("item_table", SMALL, (self.sizes.items, width))
        if self.gmf:
            lecun = nn.initializers.lecun_normal()
            self.gmf_output = self.param("gmf_output", lecun, (self.size, 1))
        if self.mlp:
            self.first_user = Dense(self.hidden[0])
            self.first_item = Dense(self.hidden[0], use_bias=False)
            self.tower = Tower(self.hidden, self.dropout)
            self.mlp_output = Dense(1, use_bias=False)
        self.bias = self.param("bias", nn.initializers.zeros, (1,))

    def encode_users(
        self, catalogue: Catalogue, request: Request, train: bool = False
    ) -> NeuMFSide:
        """GMF factors weighed by the output layer, and the first layer over the user."""
        factors, embedding = self._parts(self.user_table, request.user)
        gmf = forms.scale_columns(factors, self.gmf_output[:, 0]) if self.gmf else None
        if not self.mlp:
            return NeuMFSide(gmf, None)
        return NeuMFSide(gmf, self.first_user(embedding.astype(self.dtype)))

    def encode_items(self, catalogue: Catalogue, items: Array) -> NeuMFSide:
        """GMF factors, and the first layer over the item."""
        factors, embedding = self._parts(self.item_table, items)
        gmf = factors if self.gmf else None
        if not self.mlp:
            return NeuMFSide(gmf, None)
        return NeuMFSide(gmf, self.first_item(embedding.astype(self.dtype)))

    def _parts(self, table: Array, ids: Array) -> list[Array]:
        """Rows of a table, cut into GMF's and the MLP's columns."""
        return lookup_parts(table, ids, (self.gmf * self.size,))

    def couple(self, users: NeuMFSide, items: NeuMFSide) -> NeuMFSide:
        """The weighed product [..., C, 1], and the first layer [..., C, hidden[0]]."""
        product = None
        first_layer = None
        if users.gmf is not None and items.gmf is not None:
            product = pair_dot(users.gmf, items.gmf)[..., None]
        if users.first_layer is not None and items.first_layer is not None:
            first_layer = pair_sum(users.first_layer, items.first_layer)
        return NeuMFSide(product, first_layer)

    def finish(
        self, pairs: NeuMFSide, weight: Array | None = None, train: bool = False
    ) -> Array:
        """The weighed product plus the hidden layers over the first one: [..., C]."""
        score = self.bias[0]
        if pairs.gmf is not None:
            score += pairs.gmf[..., 0]
        if pairs.first_layer is not None:
            hidden = self.tower(pairs.first_layer, weight, train)
            score += self.mlp_output(hidden)[..., 0].astype(jnp.float32)
        return score


def build_mf(config: Config, sizes: Sizes, clock: bool) -> NeuralModel:
    """`mf` by its settings."""
    return NeuralModel(MatrixFactorisation(sizes, config.network.embedding_size))


def build_gmf(config: Config, sizes: Sizes, clock: bool) -> NeuralModel:
    """`gmf` by its settings."""
    size = config.network.embedding_size
    return NeuralModel(NeuMF(sizes, size, 0, (), mlp=False))


def build_mlp(config: Config, sizes: Sizes, clock: bool) -> NeuralModel:
    """`mlp` by its settings."""
    n = config.network
    return NeuralModel(NeuMF(sizes, 0, n.mlp_size, n.hidden, n.dropout, gmf=False))


def build_neumf(config: Config, sizes: Sizes, clock: bool) -> NeuralModel:
    """`neumf` by its settings."""
    n = config.network
    return NeuralModel(NeuMF(sizes, n.embedding_size, n.mlp_size, n.hidden, n.dropout))


DEFAULTS = {
    "epochs": 12,
    "loop.batch_size": 2048,
    "objective.loss": "bce",
    "objective.negatives": 4,
    "optim.optimizer": "adam",
    "optim.learning_rate": 0.002,
    "optim.weight_decay": 1e-6,
    "optim.clip": 0.0,
}
MF = Registration("mf", FactorSettings, build_mf, DEFAULTS)
GMF = Registration("gmf", FactorSettings, build_gmf, DEFAULTS)
MLP = Registration("mlp", MlpSettings, build_mlp, DEFAULTS)
NEUMF = Registration("neumf", NeuMFSettings, build_neumf, DEFAULTS)
