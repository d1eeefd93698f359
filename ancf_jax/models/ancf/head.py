"""Feature combination, the MLP tower, and the dual output."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ancf_jax.models.ancf.config import AncfSettings
from ancf_jax.models.ancf.sides import Pair
from ancf_jax.modules.embeddings import weighted_products
from ancf_jax.modules.heads import Dense, Tower
from ancf_jax.types import Array


class DualHead(nn.Module):
    """From the features of user, item and context to one score.

    mlp         = Dense(concat(user, item, context))
    first_layer = Dense(concat(mf, mlp, hierarchy, temporal, pair_features))
    mlp_output  = Dense(D -> 1)(tower(first_layer)) + weight . pair_features
    mf_output   = Dense(D_mf -> 1)(mf)
    score       = Dense(2 -> 1)(mf_output, mlp_output) + prior

    A Dense over a concatenation is the sum of a Dense over each part: so what belongs to the
    item is computed once per catalogue, what belongs to the user once per request, and only
    their sum per pair. At first the MF path alone speaks: `mlp_output` begins at zero.

    Attributes:
        settings: those of the whole model.
        dtype: of the first layer and the tower.
    """

    settings: AncfSettings
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        n = self.settings
        ones = nn.initializers.ones
        zeros = nn.initializers.zeros
        lecun = nn.initializers.lecun_normal()
        self.mlp_user = Dense(n.mlp_size, use_bias=False)
        self.mlp_item = Dense(n.mlp_size, use_bias=False)
        self.mlp_context = Dense(n.mlp_size, use_bias=False)
        self.first_mlp = Dense(n.hidden[0], use_bias=False)
        self.first_hierarchy = Dense(n.hidden[0], use_bias=False)
        self.first_temporal = Dense(n.hidden[0])
        self.first_pair = Dense(n.hidden[0], use_bias=False)
        self.tower = Tower(n.hidden, n.dropout, normalise=True)
        self.mlp_output = Dense(1, kernel_init=zeros)
        if n.mf_path:
            self.mf_output = self.param("mf_output", ones, (n.embedding_size, 1))
        if n.mf_path and n.mlp_path:
            shape = (n.embedding_size, n.hidden[0])
            self.first_mf = self.param("first_mf", lecun, shape)
        self.final = self.param("final", ones, (2,))
        self.bias = self.param("bias", zeros, (1,))

    def of_user(self, user: Array, context: Array, moment: Array) -> Array:
        """The user's part of the first layer: [..., hidden[0]]."""
        mlp = self.mlp_user(user) + self.mlp_context(context)
        temporal = self.first_temporal(moment)
        return self._in_tower(self.first_mlp(mlp) + temporal)

    def of_item(self, item: Array, hierarchy: Array) -> Array:
        """The item's part of the first layer: [..., C, hidden[0]]."""
        mlp = self.mlp_item(item)
        return self._in_tower(self.first_mlp(mlp) + self.first_hierarchy(hierarchy))

    def of_candidate_context(self, context: Array) -> Array:
        """The part of what a candidate found in the history: [..., C, hidden[0]]."""
        mlp = self.mlp_context(self._in_tower(context))
        return self.first_mlp(mlp)

    def mf_only(self, user_mf: Array) -> Array:
        """Rows [..., D_mf] whose dot products with items are final_0 mf_output."""
        weights = self.final[0] * self.mf_output
        return jnp.einsum("...d,dk->...d", user_mf, weights)

    def mf_pairs(self, user_mf: Array, item_mf: Array) -> Array:
        """mf_output of every pair, [..., C, 1]."""
        return weighted_products(user_mf, item_mf, self.mf_output)

    def mf_in_first_layer(self, user_mf: Array, item_mf: Array) -> Array:
        """The part of the MF path in the first layer of every pair: [..., C, hidden[0]]."""
        user_mf = self._in_tower(user_mf)
        item_mf = self._in_tower(item_mf)
        kernel = self._in_tower(self.first_mf)
        return weighted_products(user_mf, item_mf, kernel)

    def mf_part(self, mf_output: Array) -> Array:
        """final_0 mf_output, the MF path's part in the score."""
        return self.final[0] * mf_output

    def of_pair_features(self, features: Array) -> Array:
        """The pair features' part of the first layer: [..., C, hidden[0]]."""
        return self.first_pair(self._in_tower(features))

    def _in_tower(self, x: Array) -> Array:
        """x in the type of the tower."""
        return x.astype(self.dtype)

    def __call__(
        self, pair: Pair, weight: Array | None = None, train: bool = False
    ) -> Array:
        """The dual output [..., C]; `weight` [..., C] is 0 for pairs that are padding."""
        score = self.bias[0] + pair.prior[..., 0]
        if pair.mf_output is not None:
            score += self.mf_part(pair.mf_output)[..., 0]
        if pair.first_layer is not None:
            hidden = self.tower(pair.first_layer, weight, train)
            mlp_output = self.mlp_output(hidden).astype(jnp.float32)
            if pair.counted is not None:
                mlp_output += pair.counted
            score += self.final[1] * mlp_output[..., 0]
        return score
