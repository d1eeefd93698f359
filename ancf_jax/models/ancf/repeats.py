"""What a shopper takes again: counts of earlier events with the same item, with learned weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.models.ancf.history import (
    Boost,
    ByAge,
    CountedHistory,
    is_repeat,
    pairwise_equal,
)
from ancf_jax.types import Array, Catalogue

LOG_AMOUNT = -5.0  # at first an earlier event is worth a share of exp(-5) in all events
PSEUDO_EVENTS = 20.0  # events that speak for the average where a rate is counted


class Repeats(nn.Module):
    """boost_i = sum_l factor_l + log(1 + habit_u habit_i / share_i sum_l exp(amount_l)).

    The sums are over the events l of the history that were of item i, and share_i is what
    popularity makes of it, so that together with its log the second term is

        log(share_i + habit_u habit_i sum_l exp(amount_l)).

    factor and amount are learned by how many events ago and how long ago l was: what was just
    taken may be less likely, and what is taken often is more likely. habit_u and habit_i are
    learned powers of how often the user, and others with this item, repeat (rates relative to the
    average), and of the number of the user's events. An item's rate is drawn towards that of its
    category, and that towards the department's.

    Attributes:
        levels: names of the item features that items share rates through, widest first.
        length: L, the longest history.
        clock: whether there are times.
        items: number of items.
    """

    levels: tuple[str, ...]
    length: int
    clock: bool
    items: int

    def setup(self) -> None:
        self.factor = ByAge(0.0, self.length, self.clock)
        self.amount = ByAge(LOG_AMOUNT, self.length, self.clock)
        self.item_habit = self.param("item_habit", nn.initializers.ones, ())
        self.user_habit = self.param("user_habit", nn.initializers.ones, ())
        self.activity = self.param("activity", nn.initializers.zeros, ())

    def __call__(
        self, catalogue: Catalogue, history: CountedHistory, log_share: Array
    ) -> Boost:
        """The boost of every token's item at every position: K = L, both [B, Q, L].

        Args:
            catalogue: counts of all training events.
            history: the tokens, and what each position knows of.
            log_share: [B, L] what popularity says of the tokens' items.
        """
        item_rate, average = self._item_rates(catalogue, history)
        log_habit_of_item = self.item_habit * jnp.log(item_rate / average)
        log_habit_of_user = self._log_habit_of_user(history, average)
        per_share = jnp.exp(log_habit_of_item - log_share)
        events = self.amount.exponential(history) * per_share[:, None, :]
        events = jnp.where(history.visible, events, 0.0)
        total = _sum_over_same_item(events, history)
        repeated = jnp.log1p(total * jnp.exp(log_habit_of_user)[..., None])
        at_newest = jnp.where(_is_newest(history), repeated, 0.0)
        amount = jnp.where(history.visible, self.factor(history) + at_newest, 0.0)
        item = jnp.where(history.visible, history.token[:, None, :], self.items)
        return Boost(item, amount)

    def _item_rates(
        self, catalogue: Catalogue, history: CountedHistory
    ) -> tuple[Array, Array]:
        """How often others repeat each token's item, [B, L], and the average over all items.

        From the widest level to the item itself, each rate is drawn towards the one before. The
        user's own events are left out, those to come among them, which would tell.
        """
        average = (catalogue.total_repeats + 1) / (catalogue.total_events + 1)
        item = jnp.maximum(history.token, 0)
        own_events = _events_and_repeats(history)
        sharing = [
            *self._tokens_sharing_level(catalogue, history, item),
            history.same_item,
        ]
        rate = average
        for level, alike in enumerate(sharing, start=-len(sharing)):
            own = jnp.einsum("blm,bmk->blk", alike.astype(jnp.float32), own_events)
            counts = jnp.asarray(catalogue.repeat_counts)[item, level]
            rate = smoothed_rate(jnp.maximum(counts - own, 0), rate)
        return rate, average

    def _tokens_sharing_level(
        self, catalogue: Catalogue, history: CountedHistory, item: Array
    ) -> list[Array]:
        """For each level, which tokens of a segment share its value: bool [B, L, L]."""
        same_segment = pairwise_equal(history.segment)
        values = [
            jnp.asarray(catalogue.item_features[name])[item, 0] for name in self.levels
        ]
        return [pairwise_equal(value) & same_segment for value in values]

    def _log_habit_of_user(self, history: CountedHistory, average: Array) -> Array:
        """log habit_u at every position: [B, Q]."""
        visible = history.visible.astype(jnp.float32)
        own = jnp.einsum("bql,blk->bqk", visible, _events_and_repeats(history))
        relative_rate = smoothed_rate(own, average) / average
        activity = jnp.log1p(own[..., 0] / PSEUDO_EVENTS)
        return self.user_habit * jnp.log(relative_rate) + self.activity * activity


def smoothed_rate(counts: Array, expected: Array | float) -> Array:
    """(repeats + P expected) / (events + P), P = PSEUDO_EVENTS: the share of repeats.

    Args:
        counts: [..., 2] events, and the repeats among them.
        expected: the rate where there are no events.
    """
    repeats = counts[..., 1] + PSEUDO_EVENTS * expected
    return repeats / (counts[..., 0] + PSEUDO_EVENTS)


def _events_and_repeats(history: CountedHistory) -> Array:
    """1 for each token that is an event, and 1 where it is a repeat: [B, L, 2]."""
    is_event = history.token >= 0
    return jnp.stack([is_event, is_repeat(history)], -1).astype(jnp.float32)


def _is_newest(history: CountedHistory) -> Array:
    """Whether a token is the newest of its item that the position knows of: bool [B, Q, L]."""
    order = jnp.arange(history.length)
    is_later_repeat = jnp.tril(history.same_item, -1)
    next_of_item = jnp.where(is_later_repeat, order[None, :, None], history.length).min(
        1
    )
    position = order[-history.positions :]
    return next_of_item[:, None, :] > position[None, :, None]


def _sum_over_same_item(events: Array, history: CountedHistory) -> Array:
    """Sums of `events` [B, Q, L] over the tokens of one item, at each of them: [B, Q, L]."""
    has_repeats = jnp.tril(history.same_item, -1).any()

    def summed(x: Array) -> Array:
        return x @ history.same_item.astype(x.dtype)

    def as_it_is(x: Array) -> Array:
        return x

    # Many histories hold nothing twice, and are spared the product.
    return jax.lax.cond(has_repeats, summed, as_it_is, events)
