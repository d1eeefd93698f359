"""What users, items and their pairs are made of on the way to a score."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.models.ancf.history import Boost
from ancf_jax.models.ancf.pair_features import Taken
from ancf_jax.modules.embeddings import boost_of_items
from ancf_jax.types import Array


class UserState(NamedTuple):
    """What is known of users at their moments, before either path.

    Attributes:
        user: int32 [...], -1 for a user who is unknown, or forgotten in training.
        moment: [..., D_mlp] the time, encoded.
        context: [..., D_mlp] the moment, and what attention made of the past.
        boost: items that the history speaks for, [..., K].
        memory: what candidates look at; None unless the context does.
        taken: what the history holds of every level; empty without pair features.
    """

    user: Array
    moment: Array
    context: Array
    boost: Boost
    memory: Any
    taken: tuple[Taken, ...] = ()


class UserSide(NamedTuple):
    """What a request contributes to each of its pairs.

    Attributes:
        mf: [..., D_mf] factors of the MF path; None without it.
        first_layer: [..., hidden[0]] part of the first layer; None without the MLP path.
        level: [..., 1] the user's own level; None without biases.
        boost: items that the history speaks for, [..., K].
        memory: what candidates look at; None unless the context does.
        counted: [..., V, 3] pair features of every value of each level; empty without them.
    """

    mf: Array | None
    first_layer: Array | None
    level: Array | None
    boost: Boost
    memory: Any
    counted: tuple[Array, ...] = ()


class ItemSide(NamedTuple):
    """What an item contributes to each of its pairs.

    Attributes:
        item: int32 [..., C].
        prior: [..., C] its popularity, and its own level where it has one.
        mf: [..., C, D_mf] factors of the MF path; None without it.
        first_layer: [..., C, hidden[0]] part of the first layer; None without the MLP path.
        asked: what it asks of a history; None unless the context looks at candidates.
        values: int32 [..., C, M] its values of each level; empty without pair features.
    """

    item: Array
    prior: Array
    mf: Array | None
    first_layer: Array | None
    asked: Array | None
    values: tuple[Array, ...] = ()


class Pair(NamedTuple):
    """What the score of a pair of user and item is made of.

    Attributes:
        prior: [..., C, 1], what speaks for the item before any embedding does.
        mf_output: [..., C, 1], the output of the MF path; None without it.
        first_layer: [..., C, hidden[0]], the MLP tower's first layer before its ReLU; None
            without the MLP path.
        counted: [..., C, 1], the pair features alone; None without them.
    """

    prior: Array
    mf_output: Array | None
    first_layer: Array | None
    counted: Array | None = None


def at_positions(state: UserState, chosen: Array) -> UserState:
    """What is known at the positions `chosen` [B, P] of windows, of leaves [B, L, ...]."""

    def take(x: Array) -> Array:
        places = chosen.reshape(chosen.shape + (1,) * (x.ndim - 2))
        return jnp.take_along_axis(x, places, axis=1)

    return jax.tree.map(take, state)


def prior_of_pairs(users: UserSide, items: ItemSide, size: int) -> Array:
    """What speaks for each pair before any embedding does: [..., C, 1].

    Args:
        users: what users contribute.
        items: what items contribute.
        size: number of items.
    """
    boost = users.boost
    candidates = items.prior.shape[-1]
    prior = jnp.broadcast_to(items.prior, (*boost.item.shape[:-1], candidates))
    if users.level is not None:
        prior += users.level
    boosts = boost_of_items(boost.item, boost.amount, items.item, size)
    return (prior + boosts)[..., None]
