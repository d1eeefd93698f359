"""What a history says of a pair of shopper and item by counting: inputs of the MLP path."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.models.ancf.config import AncfSettings
from ancf_jax.models.ancf.context import Scope
from ancf_jax.models.ancf.history import ByAge, CountedHistory, counted_history
from ancf_jax.modules.heads import along_last
from ancf_jax.types import Array, Catalogue, Request, Sizes

ITEM = "item"  # the last level: every item is a value of its own
PSEUDO_EVENTS = 5.0  # events of every value besides those that were counted
FEATURES_PER_LEVEL = 2


class Taken(NamedTuple):
    """What histories hold of the values of one level.

    Attributes:
        value: int32 [..., L, M], the values of each token; -1 where there are fewer than M.
        amount: float32 [..., L], how much each token counts.
    """

    value: Array
    amount: Array


class PairFeatures(nn.Module):
    """How often a shopper took items of the same category, department, and the item itself.

    For a level g of the hierarchy and a value v of it, over the visible events l,

        n_g(v)  = sum of exp(age_g(l)) over the events l whose item has v
        taken_g = log(1 + n_g(v))
        lift_g  = log(1 + n_g(v)) - log(1 + share(v) sum_l exp(age_g(l)))

    where age_g is learned by how many events ago and how long ago l was, and share(v) is how
    often v is taken by everybody. The lift is below 0 for what this shopper leaves on the shelf.
    An item's features are the means over its values of each level. They hold nothing of the
    event that is predicted.

    Attributes:
        levels: (name, number of values) of the item features, widest first.
        items: number of items, the values of the last level.
        length: L, the longest history.
        clock: whether there are times.
    """

    levels: tuple[tuple[str, int], ...]
    items: int
    length: int
    clock: bool

    def setup(self) -> None:
        self.sizes = (*self.levels, (ITEM, self.items))
        self.ages = [self._age(name) for name, _ in self.sizes]
        width = FEATURES_PER_LEVEL * len(self.sizes)
        self.weight = self.param("weight", nn.initializers.zeros, (width,))

    def _age(self, name: str) -> ByAge:
        return ByAge(0.0, self.length, self.clock, name=f"age_{name}")

    def of_request(
        self, catalogue: Catalogue, request: Request, scope: Scope
    ) -> tuple[Taken, ...]:
        """What is known of every level, by the leading axes of `request.minute`."""
        history = counted_history(request, scope)
        found = self.of_history(catalogue, history)
        return found if history.is_window else jax.tree.map(lambda x: x[:, 0], found)

    def of_history(
        self, catalogue: Catalogue, history: CountedHistory
    ) -> tuple[Taken, ...]:
        """What each position knows of every level: values [B, Q, L, M], amounts [B, Q, L]."""
        found = []
        for (name, _), age in zip(self.sizes, self.ages, strict=True):
            value = self._values(catalogue, name, history.token)
            shape = (*history.visible.shape, value.shape[-1])
            beside = jnp.broadcast_to(value[:, None], shape)
            amount = jnp.where(history.visible, age.exponential(history), 0.0)
            found.append(Taken(beside, amount))
        return tuple(found)

    def of_users(
        self, catalogue: Catalogue, taken: tuple[Taken, ...]
    ) -> tuple[Array, ...]:
        """The features of every value of each level: [..., V, 2]."""
        found = []
        for (name, size), of_level in zip(self.sizes, taken, strict=True):
            share = self._share(catalogue, name, size)
            found.append(value_features(of_level, share))
        return tuple(found)

    def of_items(self, catalogue: Catalogue, items: Array) -> tuple[Array, ...]:
        """The values of items [..., C] at each level: int32 [..., C, M]."""
        return tuple(self._values(catalogue, name, items) for name, _ in self.sizes)

    def of_pairs(self, users: tuple[Array, ...], items: tuple[Array, ...]) -> Array:
        """The features of every pair: [..., C, F], F = 2 levels.

        Args:
            users: what `of_users` found, [..., V, 2].
            items: what `of_items` found, [C, M] for all users or [..., C, M] of their own.
        """
        found = []
        for features, value in zip(users, items, strict=True):
            found.append(mean_over_values(features, value))
        return jnp.concatenate(found, -1)

    def alone(self, features: Array) -> Array:
        """The features' weighted sum, the wide part beside the tower: [..., C, 1].

        Source: Cheng et al., Wide and Deep Learning for Recommender Systems (2016).
        """
        return (features @ self.weight)[..., None]

    def _values(self, catalogue: Catalogue, name: str, items: Array) -> Array:
        """Values [..., M] of items [...], -1 for item -1."""
        if name == ITEM:
            return items[..., None]
        values = jnp.asarray(catalogue.item_features[name])[items]
        return jnp.where(items[..., None] >= 0, values, -1)

    def _share(self, catalogue: Catalogue, name: str, size: int) -> Array:
        """How often events of everybody have each value of a level: [V]."""
        events = catalogue.popularity
        if name != ITEM:
            events = catalogue.value_events[name]
        pseudo_events = PSEUDO_EVENTS * size
        return (events + PSEUDO_EVENTS) / (catalogue.total_events + pseudo_events)


def pair_features(settings: AncfSettings, sizes: Sizes) -> PairFeatures | None:
    """The pair features of a model, for the MLP path where events before it and levels are known.

    The item itself is one more level.
    """
    n = settings
    levels = sizes.item_features if n.hierarchy else ()
    if not n.mlp_path or n.history in ("none", "bag") or not levels:
        return None
    return PairFeatures(
        levels=levels,
        items=sizes.items,
        length=n.history_length,
        clock=bool(n.temporal),
    )


def value_features(taken: Taken, share: Array) -> Array:
    """taken and lift of every value, see `PairFeatures`: [..., V, 2].

    Args:
        taken: values [..., L, M] and amounts [..., L].
        share: [V] how often events of everybody have each value.
    """
    total = _sum_by_value(taken, len(share))
    events = taken.amount.sum(-1, keepdims=True)
    expected = events * along_last(share, events.ndim)
    log_taken = jnp.log1p(total)
    return jnp.stack([log_taken, log_taken - jnp.log1p(expected)], -1)


def _sum_by_value(taken: Taken, size: int) -> Array:
    """The sum of the amounts of every value: [..., V]."""
    *leading, length, many = taken.value.shape
    value = jnp.where(taken.value < 0, size, taken.value)
    value = value.reshape(-1, length * many)
    amount = taken.amount.reshape(-1, length)
    amount = jnp.repeat(amount, many, axis=-1)
    row = jnp.arange(len(amount))[:, None]
    zeros = jnp.zeros((len(amount), size))
    total = zeros.at[row, value].add(amount, mode="drop")
    return total.reshape(*leading, size)


def mean_over_values(features: Array, value: Array) -> Array:
    """The mean of features [..., V, K] over the values of each item: [..., C, K].

    Args:
        features: of every value.
        value: int32 [C, M] or [..., C, M]; -1 where an item has fewer than M. An item without
            any has features 0.
    """
    place = jnp.maximum(value, 0)
    if value.ndim == 2:
        found = jnp.take(features, place, axis=-2)
    else:
        flat = place.reshape(*place.shape[:-2], -1, 1)
        found = jnp.take_along_axis(features, flat, axis=-2)
        found = found.reshape(*value.shape, features.shape[-1])
    is_value = value >= 0
    users = (1,) * (found.ndim - value.ndim - 1)
    is_value = is_value.reshape(users + value.shape)
    counted = jnp.where(is_value[..., None], found, 0.0)
    values = jnp.maximum(is_value.sum(-1), 1)
    return counted.sum(-2) / values[..., None]
