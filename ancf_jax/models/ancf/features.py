"""Embeddings of users and of features: a table and a bag for each feature, users forgotten."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.modules.embeddings import embedding_bag, lookup
from ancf_jax.types import Array


def feature_tables(
    module: nn.Module, prefix: str, features: tuple[tuple[str, int], ...], size: int
) -> dict[str, Array]:
    """An embedding table [values, size] for each feature, a parameter of `module`."""
    init = nn.initializers.normal(size**-0.5)
    return {
        name: module.param(f"{prefix}_{name}", init, (max(values, 1), size))
        for name, values in features
    }


def user_feature_bags(
    tables: dict[str, Array],
    features: dict[str, Array],
    user: Array,
    pooling: Literal["mean", "sum"],
) -> Array | float:
    """Sum over the features of the bag of each user's values: [..., D].

    Args:
        tables: the embeddings [values, D] of each feature.
        features: the values int32 [U, M] of each, -1 where there are fewer than M.
        user: int32 [...]; -1 for an unknown user, who has no feature.
        pooling: how several values of one feature are pooled.
    """
    total = 0.0
    for name, table in tables.items():
        # 0 stands for "no value" in the look-up, so that an unknown user has none.
        ids = lookup(jnp.asarray(features[name]) + 1, user) - 1
        total = total + embedding_bag(table, ids, pooling)
    return total


def forget_some(user: Array, share: float, key: Array) -> Array:
    """Users [...] with -1, an unknown one, in place of a share of them."""
    is_forgotten = jax.random.bernoulli(key, share, user.shape)
    return jnp.where(is_forgotten, -1, user)
