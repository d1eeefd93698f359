"""What a history says of a pair of shopper and item by counting: inputs of the MLP path."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.models.ancf.config import AncfSettings
from ancf_jax.models.ancf.context import Scope
from ancf_jax.models.ancf.history import CountedHistory, counted_history
from ancf_jax.modules.heads import along_last
from ancf_jax.types import Array, Catalogue, Request, Sizes

ITEM = "item"  # the last level: every item is a value of its own
FEATURES_PER_LEVEL = 3
KEPT = 0.8  # of what an event counts as recent, for each event or basket that came after it


class Taken(NamedTuple):
    """What histories hold of the values of one level.

    Attributes:
        value: int32 [..., L, M], the values of each token; -1 where there are fewer than M.
        amount: float32 [..., L, 2], how much each token counts: 1, and as how recent.
    """

    value: Array
    amount: Array


class PairFeatures(nn.Module):
    """How often a shopper took items of the same category, department, and the item itself.

    For a level g of the hierarchy and a value v of it, over the visible events l whose item has v,

        n(v)   = how many they are
        taken  = log(1 + n(v))
        lift   = log(1 + n(v)) - log(1 + share(v) events)
        recent = log(1 + sum_l KEPT^(events, or baskets, that came after l))

    where share(v) is how often v is taken by everybody, and events are all visible ones. The lift
    is below 0 for what this shopper leaves on the shelf. An item's features are the means over its
    values of each level. They hold nothing of the event that is predicted, and nothing to learn.

    Attributes:
        levels: (name, number of values) of the item features, widest first.
        items: number of items, the values of the last level.
    """

    levels: tuple[tuple[str, int], ...]
    items: int

    def setup(self) -> None:
        self.sizes = (*self.levels, (ITEM, self.items))
        width = FEATURES_PER_LEVEL * len(self.sizes)
        self.weight = self.param("weight", nn.initializers.zeros, (width,))

    def of_request(
        self, catalogue: Catalogue, request: Request, scope: Scope
    ) -> tuple[Taken, ...]:
        """What is known of every level, by the leading axes of `request.minute`."""
        history = counted_history(request, scope)
        amount = amounts(history)
        found = []
        for name, _ in self.sizes:
            value = self._values(catalogue, name, history.token)
            shape = (*history.visible.shape, value.shape[-1])
            beside = jnp.broadcast_to(value[:, None], shape)
            taken = Taken(beside, amount)
            found.append(taken)
        if not history.is_window:
            found = [jax.tree.map(lambda x: x[:, 0], taken) for taken in found]
        return tuple(found)

    def of_users(
        self, catalogue: Catalogue, taken: tuple[Taken, ...]
    ) -> tuple[Array, ...]:
        """The features of every value of each level: [..., V, 3]."""
        found = []
        for (name, _), of_level in zip(self.sizes, taken, strict=True):
            share = self._share(catalogue, name)
            features = value_features(of_level, share)
            found.append(features)
        return tuple(found)

    def of_items(self, catalogue: Catalogue, items: Array) -> tuple[Array, ...]:
        """The values of items [..., C] at each level: int32 [..., C, M]."""
        return tuple(self._values(catalogue, name, items) for name, _ in self.sizes)

    def of_pairs(self, users: tuple[Array, ...], items: tuple[Array, ...]) -> Array:
        """The features of every pair: [..., C, F], F = 3 levels.

        Args:
            users: what `of_users` found, [..., V, 3].
            items: what `of_items` found, [C, M] for all users or [..., C, M] of their own.
        """
        found = []
        for features, value in zip(users, items, strict=True):
            mean = mean_over_values(features, value)
            found.append(mean)
        return jnp.concatenate(found, -1)

    def alone(self, features: Array) -> Array:
        """The features' weighted sum, the wide part beside the tower: [..., C, 1].

        Source: Cheng et al., Wide and Deep Learning for Recommender Systems (2016).
        """
        total = features @ self.weight
        return total[..., None]

    def _values(self, catalogue: Catalogue, name: str, items: Array) -> Array:
        """Values [..., M] of items [...], -1 for item -1."""
        if name == ITEM:
            return items[..., None]
        values = jnp.asarray(catalogue.item_features[name])[items]
        return jnp.where(items[..., None] >= 0, values, -1)

    def _share(self, catalogue: Catalogue, name: str) -> Array:
        """How often events of everybody have each value of a level, as popularity counts: [V]."""
        events = catalogue.popularity
        if name != ITEM:
            events = catalogue.value_events[name]
        return (1 + events) / (1 + catalogue.total_events)


def pair_features(settings: AncfSettings, sizes: Sizes) -> PairFeatures | None:
    """The pair features of a model, for the MLP path where events before it and levels are known.

    The item itself is one more level.
    """
    n = settings
    levels = sizes.item_features if n.hierarchy else ()
    if not n.mlp_path or n.history in ("none", "bag") or not levels:
        return None
    return PairFeatures(levels, sizes.items)


def amounts(history: CountedHistory) -> Array:
    """How much each token counts for each position, see `Taken`: [B, Q, L, 2]."""
    place = jnp.arange(history.length)
    newest = place[-history.positions :]
    distance = (newest[:, None] - place[None, :])[None]
    if history.ago is not None:
        distance = history.ago
    recency = KEPT ** jnp.maximum(distance, 0)
    one = jnp.ones_like(recency)
    counts = jnp.stack([one, recency], -1)
    is_visible = history.visible[..., None]
    return jnp.where(is_visible, counts, 0.0)


def value_features(taken: Taken, share: Array) -> Array:
    """taken, lift and recent of every value, see `PairFeatures`: [..., V, 3].

    Args:
        taken: values [..., L, M] and amounts [..., L, 2].
        share: [V] how often events of everybody have each value.
    """
    sums = _sum_by_value(taken, len(share))
    log_sums = jnp.log1p(sums)
    log_taken = log_sums[..., 0]
    events = taken.amount[..., 0].sum(-1, keepdims=True)
    expected = events * along_last(share, events.ndim)
    lift = log_taken - jnp.log1p(expected)
    recent = log_sums[..., 1]
    return jnp.stack([log_taken, lift, recent], -1)


def _sum_by_value(taken: Taken, size: int) -> Array:
    """The sums of the amounts of every value: [..., V, 2]."""
    *leading, length, many = taken.value.shape
    value = jnp.where(taken.value < 0, size, taken.value)
    value = value.reshape(-1, length * many)
    amount = taken.amount.reshape(-1, length, 2)
    amount = jnp.repeat(amount, many, axis=1)
    rows = len(amount)
    row = jnp.arange(rows)[:, None]
    zeros = jnp.zeros((rows, size, 2))
    total = zeros.at[row, value].add(amount, mode="drop")
    return total.reshape(*leading, size, 2)


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
