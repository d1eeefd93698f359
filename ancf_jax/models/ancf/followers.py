"""What tends to follow what was just taken: counts of pairs that are too rare for embeddings."""

import flax.linen as nn
import jax.numpy as jnp

from ancf_jax.data.counts import LOOKAHEAD, LOOKAHEAD_DECAY, UNFOLLOWED_EVENTS
from ancf_jax.models.ancf.history import Boost, CountedHistory
from ancf_jax.types import Array, Catalogue

LATEST = 3  # events whose followers are likely now


class Followers(nn.Module):
    """boost_i = log(1 + sum_m exp(follow_m) lift(i after m)) over the latest events m.

    lift says how many times likelier item i is soon after the item of event m than at all (see
    `lifts`); follow_m is learned for each of the LATEST events.
    """

    def setup(self) -> None:
        start = nn.initializers.constant(-1.0)
        self.follow = self.param("follow", start, (LATEST,))

    def __call__(self, catalogue: Catalogue, history: CountedHistory) -> Boost:
        """The boost of the latest events' followers at every position, both [B, Q, K].

        Nothing at the end of a window: what came there is no token of it, and could not be left
        out of the counts.
        """
        row, place = _latest(history)
        is_known = history.visible[:, row, place]
        weight = is_known * jnp.exp(self.follow)[None, None]
        if history.is_window:
            weight *= _goes_on(history)[..., None]
        follower, lift = lifts(catalogue, history)
        weighted_lift = weight[..., None] * lift[:, place]
        return merged(follower[:, place], weighted_lift)


def _latest(history: CountedHistory) -> tuple[Array, Array]:
    """The rows [Q, 1] of positions, and the places [Q, LATEST] of their latest tokens.

    Places below 0 wrap round to the end, which the position does not know of.
    """
    row = jnp.arange(history.positions)[:, None]
    newest = row + history.length - history.positions
    back = jnp.arange(LATEST)[None]
    return row, newest - back


def _goes_on(history: CountedHistory) -> Array:
    """Whether all that comes in the basket after a position is a token, too: bool [B, L].

    That is, whether the basket does not hold the last event of its segment.
    """
    change = jnp.diff(history.segment, axis=1, append=-2)
    is_end = change != 0
    if history.known is None:
        return ~is_end
    place = jnp.arange(history.length)
    known_at_end = jnp.where(is_end, history.known, -1)
    knows_as_much = known_at_end[:, None, :] == place[None, :, None]
    is_last_basket = knows_as_much.any(-1)
    return ~is_last_basket


def lifts(catalogue: Catalogue, history: CountedHistory) -> tuple[Array, Array]:
    """Followers int32 [B, L, K] of each token, and how much likelier they are soon after it.

    lift = (follower_weight - own) / (events of the item - own events + UNFOLLOWED_EVENTS)
           / (share of the follower in all events)

    where `own` is what this user's tokens added, those to come among them, which would tell.
    """
    item = jnp.maximum(history.token, 0)
    popularity = jnp.asarray(catalogue.popularity)
    follower = jnp.asarray(catalogue.follower)[item]
    weight = jnp.asarray(catalogue.follower_weight)[item]
    same_item = history.same_item.astype(jnp.float32)
    own_weight = same_item @ _own_followers(follower, history)
    own_events = same_item.sum(-1)
    weight_of_others = jnp.maximum(weight - own_weight, 0)
    events_of_others = jnp.maximum(popularity[item] - own_events, 0)
    attempts = events_of_others[..., None] + UNFOLLOWED_EVENTS
    rate = weight_of_others / attempts
    total = catalogue.total_events + 1
    return follower, rate * total / (popularity[follower] + 1)


def _own_followers(follower: Array, history: CountedHistory) -> Array:
    """How often each follower came soon after its token in this history: [B, L, K]."""
    token = _padded(history.token)
    segment = _padded(history.segment)
    length = history.length
    own = jnp.zeros(follower.shape)
    for ahead in range(1, LOOKAHEAD + 1):
        later = slice(ahead, ahead + length)
        same_segment = segment[:, later] == history.segment
        item = jnp.where(same_segment, token[:, later], -1)
        weight = LOOKAHEAD_DECAY ** (ahead - 1)
        own += weight * (follower == item[..., None])
    return own


def _padded(x: Array) -> Array:
    """x [B, L] with room to look ahead, where nothing is equal to anything: -2."""
    return jnp.pad(x, ((0, 0), (0, LOOKAHEAD)), constant_values=-2)


def merged(item: Array, lift: Array) -> Boost:
    """Items and lifts [..., M, K] as a boost [..., M K].

    log(1 + sum of the lifts of an item) stands where the item is named the first time.
    """
    flat = (*item.shape[:-2], -1)
    item = item.reshape(flat)
    lift = lift.reshape(flat)
    other_item = item[..., None, :]
    other_lift = lift[..., None, :]
    is_same = item[..., :, None] == other_item
    of_same = jnp.where(is_same, other_lift, 0.0)
    amount = jnp.log1p(of_same.sum(-1))
    is_named_before = jnp.tril(is_same, -1).any(-1)
    at_first = jnp.where(is_named_before, 0.0, amount)
    return Boost(item, at_first)
