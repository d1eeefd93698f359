"""The pytrees that travel through the library, and the one legend of shapes.

Legend: `B` batch, `L` history length, `C` candidates per example, `D` embedding size,
`H` heads, `U` / `I` number of users / items, `N` events, `M` values of a multi-valued
feature, `R` requests, `K` entries of a sparse row.

Ids are row numbers: users 0 .. U-1, items 0 .. I-1. -1 stands for "no value".
Time on the device is `minute`: int32 minutes since 1970-01-01 00:00 of the shop's clock (or
the position in the user's history where the source has only an order).
"""

from typing import Any, Literal, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray
Variables = dict[str, Any]
Precision = Literal["float32", "tf32", "bfloat16"]  # see `machine.precision`
BUY_AGAIN = 0.05  # share of repeats from which on people are said to buy again
AXIS = "data"  # the name of the axis along which the examples of a step are spread

NO_BITS = np.zeros((0, 0), np.uint8)
NO_FOLLOWERS = np.zeros((0, 0), np.int32)
NO_VALUES: dict[str, Array] = {}


class EventLog(NamedTuple):
    """Events sorted by (user, time, input order), as flat columns; batches are gathered from it.

    The log holds only events that a model may see in the phase at hand, so no index arithmetic
    on it can reach a held-out event. `prior_dwell` and `prior_kind` are what was known just
    before the event: never anything of the event itself.

    Attributes:
        user: int32 [N] place of the event's user in this log.
        item: int32 [N].
        minute: int32 [N]; all events of a basket have that of its first.
        value: float32 [N] rating or engagement score; 1 where the source has neither.
        kind: int32 [N] kind of the event itself (view, click, purchase ...).
        mean_dwell: float32 [N] mean compressed dwell of the user's events up to this one,
            those with a known dwell alone.
        prior_kind: int32 [N] kind of the user's previous event, -1 for the first.
        prior_dwell: float32 [N] mean compressed dwell of the user's earlier events, 0 for the
            first.
        start: int32 [U + 1] the events of user u are start[u] .. start[u + 1] - 1.
        seen_item: int32 [S] the distinct items of every user, ascending within a user.
        seen_start: int32 [U + 1] offsets into `seen_item`.
        number: int32 [U] row number among all users of each user of this log.
        seen_bits: uint8 [U, I / 8] the same as `seen_item`, a bit each; may be empty.
        basket_place: int32 [N] how many events of its basket come before the event; None where
            every event stands alone. Nothing of an event's own basket is known before it.
        basket_size: int32 [N] how many events its basket has; None as above.
    """

    user: Array
    item: Array
    minute: Array
    value: Array
    kind: Array
    mean_dwell: Array
    prior_kind: Array
    prior_dwell: Array
    start: Array
    seen_item: Array
    seen_start: Array
    number: Array
    seen_bits: Array = NO_BITS
    basket_place: Array | None = None
    basket_size: Array | None = None


class Facts(NamedTuple):
    """What a model's settings may depend on, counted on the training events.

    Attributes:
        users: number of users.
        items: number of items.
        events: number of training events.
        history: that many events or fewer have nine of ten users.
        repeats: share of the events whose user has an earlier one with the item, 0 .. 1.
    """

    users: int
    items: int
    events: int
    history: int
    repeats: float

    @property
    def people_buy_again(self) -> bool:
        """Whether at least `BUY_AGAIN` of the events are repeats."""
        return self.repeats >= BUY_AGAIN


class Heldout(NamedTuple):
    """Requests of users with held-out events, and what each took, in order, every item once.

    Attributes:
        user: int32 [R] ascending.
        minute: int32 [R] of the request's earliest held-out event.
        item: int32 [E].
        value: float32 [E] of the earliest held-out event with the item.
        start: int32 [R + 1] the items of request r are start[r] .. start[r + 1] - 1.
    """

    user: np.ndarray
    minute: np.ndarray
    item: np.ndarray
    value: np.ndarray
    start: np.ndarray


class Catalogue(NamedTuple):
    """What is known of items and users besides their events, and counts of known events.

    Attributes:
        item_features: name -> int32 [I, M], -1 where there are fewer than M values.
        user_features: name -> int32 [U, M].
        popularity: float32 [I] known events of each item.
        total_events: float32 [] known events of all items.
        total_repeats: float32 [] those of them whose user had had the item before.
        repeat_counts: float32 [I, levels + 1, 2] known events, and repeats among them, of
            all items that share a level of the hierarchy with this one; last, of the item alone.
        log_unsold: float32 [I] for items without known events, the logarithm of how many to
            expect, see `data.counts`; 0 for all others.
        follower: int32 [I, K] what most often came soon after an item; I stands for none.
        follower_weight: float32 [I, K] how often, see `data.counts`.
        value_events: name -> float32 [V] known events of the items that have each value of an
            item feature.
    """

    item_features: dict[str, Array]
    user_features: dict[str, Array]
    popularity: Array
    total_events: Array = np.zeros((), np.float32)
    total_repeats: Array = np.zeros((), np.float32)
    repeat_counts: Array = np.zeros((1, 1, 2), np.float32)
    log_unsold: Array = np.zeros(1, np.float32)
    follower: Array = NO_FOLLOWERS
    follower_weight: Array = np.zeros((0, 0), np.float32)
    value_events: dict[str, Array] = NO_VALUES


class Request(NamedTuple):
    """What is known before the event that is to be scored: who, when, and what came earlier.

    `user`, `minute`, `kind` and `dwell` are [B] for one moment per row, with the history
    right-aligned: the latest token stands at L-1. They are [B, L] for windows, where every
    position is a moment of its own that knows the tokens of its segment up to itself, all
    earlier than its event. A token of -1 in a segment is the learned "nothing yet" that
    precedes a user's first event. Where a model learns from all other events of a user, the tokens
    of a training event lie on both sides of it in time.

    Attributes:
        user: int32 [B] or [B, L]; -1 for a user the model does not know.
        minute: int32, as `user`.
        kind: int32, as `user`: kind of the user's previous event, -1 for none.
        dwell: float32, as `user`: mean compressed dwell of the user's earlier events.
        token: int32 [B, L] items of the history.
        token_minute: int32 [B, L].
        segment: int32 [B, L] tokens of one segment belong together; -1 is padding.
        basket: int32 [B, L] number of each token's basket within the row, ascending; None where
            every event stands alone.
        known: int32 [B, L] for windows with baskets, the place of the latest token that each
            position knows; None where that is its own place.
        token_value: float32 [B, L] what the event of each token says of its item: its rating or
            engagement score; 0 where there is no event. None where no model reads it.
    """

    user: Array
    minute: Array
    kind: Array
    dwell: Array
    token: Array
    token_minute: Array
    segment: Array
    basket: Array | None = None
    known: Array | None = None
    token_value: Array | None = None


class SparsePrior(NamedTuple):
    """What scores hold beside a product of matrices: `base` of every item, `boost` of a few.

    Attributes:
        base: float32 [I].
        item: int32 [..., K] the items that are boosted; I and above count for nothing.
        boost: float32 [..., K] what is added to the score of `item`.
    """

    base: Array
    item: Array
    boost: Array


class Batch(NamedTuple):
    """Requests with the event that each leads to.

    Attributes:
        request: see `Request`.
        row: int32, as `positive`: the user's place in the log.
        positive: int32 [B], or [B, L] for windows: the item of the event.
        value: float32, as `positive`: rating or engagement score of the event.
        weight: float32, as `positive`: 0 for padding; else 1 / the number of events in its
            basket, so that every basket counts alike.
    """

    request: Request
    row: Array
    positive: Array
    value: Array
    weight: Array


class TrainState(NamedTuple):
    """All that a training step changes; order and randomness are functions of seed and step.

    Attributes:
        step: int32 [].
        params: the model's parameters.
        batch_stats: running moments of batch normalisation.
        opt_state: the optimiser's state.
        rows: "user" or "item" -> [V, W]: tables that are updated by row, and their moments, side
            by side; their leaves in `params` and `opt_state` are empty. See `training.rows`.
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any
    rows: Any = ()


class Sizes(NamedTuple):
    """The numbers that fix the shapes of a model's parameters.

    Attributes:
        users: number of users.
        items: number of items.
        kinds: number of kinds of event.
        item_features: (name, number of distinct values) of each.
        user_features: the same of users.
        baskets: whether several events may make a basket.
    """

    users: int
    items: int
    kinds: int
    item_features: tuple[tuple[str, int], ...]
    user_features: tuple[tuple[str, int], ...]
    baskets: bool = False
