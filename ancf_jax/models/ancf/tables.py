"""The embedding tables of `ancf`: a row for each user, item and value of a feature."""

from typing import NamedTuple

import flax.linen as nn

from ancf_jax.models.ancf.config import AncfSettings
from ancf_jax.models.ancf.features import feature_tables
from ancf_jax.types import Array, Sizes


class Tables(NamedTuple):
    """Parameters with a row for each user, item or value.

    Attributes:
        user_mf: [U, D_mf].
        item_mf: [I, D_mf].
        user_mlp: [U, D_mlp].
        item_mlp: [I, D_mlp].
        user_features: [values, D_mlp] by name.
        levels: [values, D_mlp] of the hierarchy, by name; empty without it.
        nothing_yet: [D_mlp] the token before a user's first event; None where none is attended to.
        user_bias: [U, 1]; None without biases.
        item_bias: [I, 1]; None without biases.
    """

    user_mf: Array
    item_mf: Array
    user_mlp: Array
    item_mlp: Array
    user_features: dict[str, Array]
    levels: dict[str, Array]
    nothing_yet: Array | None = None
    user_bias: Array | None = None
    item_bias: Array | None = None


def embedding_tables(module: nn.Module, settings: AncfSettings, sizes: Sizes) -> Tables:
    """The tables, parameters of `module`.

    Those of the MF path begin small: at first the prior speaks.
    """
    n = settings
    small = nn.initializers.normal(0.1 * n.embedding_size**-0.5)
    unit = nn.initializers.normal(n.mlp_size**-0.5)
    zeros = nn.initializers.zeros
    levels = sizes.item_features if n.hierarchy else ()
    user_mf = module.param("user_mf", small, (sizes.users, n.embedding_size))
    item_mf = module.param("item_mf", small, (sizes.items, n.embedding_size))
    user_mlp = module.param("user_mlp", unit, (sizes.users, n.mlp_size))
    item_mlp = module.param("item_mlp", unit, (sizes.items, n.mlp_size))
    tables = Tables(
        user_mf=user_mf,
        item_mf=item_mf,
        user_mlp=user_mlp,
        item_mlp=item_mlp,
        user_features=feature_tables(module, "user", sizes.user_features, n.mlp_size),
        levels=feature_tables(module, "level", levels, n.mlp_size),
    )
    if n.history not in ("none", "bag"):
        nothing_yet = module.param("nothing_yet", unit, (n.mlp_size,))
        tables = tables._replace(nothing_yet=nothing_yet)
    if n.biases:
        user_bias = module.param("user_bias", zeros, (sizes.users, 1))
        item_bias = module.param("item_bias", zeros, (sizes.items, 1))
        tables = tables._replace(user_bias=user_bias, item_bias=item_bias)
    return tables
