"""The category hierarchy: the levels of an item weighed by attention."""

import jax
import jax.numpy as jnp

from ancf_jax.types import Array

ABSENT = -1e30  # the logit of a level that an item has not


def level_attention(query: Array, levels: Array, present: Array) -> tuple[Array, Array]:
    """sum_g softmax_g(query . levels_g / sqrt(D)) levels_g over the levels that an item has.

    Args:
        query: [..., D] what the item asks of its levels.
        levels: [..., G, D] embedding of each level (department, category ...).
        present: bool [..., G]; an item without any level gets the zero vector.

    Returns:
        [..., D] and the weights [..., G].
    """
    scale = query.shape[-1] ** -0.5
    logits = jnp.einsum("...d,...gd->...g", query, levels) * scale
    weights = jax.nn.softmax(jnp.where(present, logits, ABSENT), axis=-1)
    weights = jnp.where(present, weights, 0.0)
    mixed = jnp.einsum("...g,...gd->...d", weights, levels)
    return mixed, weights
