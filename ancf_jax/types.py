"""The pytrees that travel through the library, and the one legend of shapes.

Legend: `B` batch, `L` history length, `C` candidates per example, `D` embedding size, `H` heads,
`U` / `I` number of users / items, `N` events, `M` values of a multi-valued feature.

Ids are row numbers: users 0..U-1, items 0..I-1. -1 stands for "no value".
Time on the device is `minute`: int32 minutes since 1970-01-01 00:00 of the shop's clock (or the
position in the user's history where the source has only an order).
"""

from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray
Variables = dict[str, Any]


class EventLog(NamedTuple):
    """Events sorted by (user, time, input order), as flat columns; all that a batch is gathered from.

    The log holds only events that a model may see in the phase at hand, so no index arithmetic on
    it can reach a held-out event. `prior_dwell` and `prior_kind` are what was known just before
    the event: never anything of the event itself.
    """

    user: Array  # int32 [N]
    item: Array  # int32 [N]
    minute: Array  # int32 [N]
    value: (
        Array  # float32 [N] rating or engagement score; 1 where the source has neither
    )
    kind: Array  # int32 [N] kind of the event itself (view, click, purchase ...)
    mean_dwell: Array  # float32 [N] mean compressed dwell of the user's events up to this one, known ones alone
    prior_kind: Array  # int32 [N] kind of the user's previous event, -1 for the first
    prior_dwell: Array  # float32 [N] mean compressed dwell of the user's earlier events, 0 for the first
    start: Array  # int32 [U + 1] the events of user u are start[u] .. start[u + 1] - 1
    seen_item: (
        Array  # int32 [S] the distinct items of every user, ascending within a user
    )
    seen_start: Array  # int32 [U + 1] offsets into `seen_item`
    number: Array  # int32 [U] which of all users each one of the log is; `user` counts those of the log alone
    seen_bits: Array = np.zeros(
        (0, 0), np.uint8
    )  # uint8 [U, I / 8] the same as `seen_item`, a bit each; may be empty


class Heldout(NamedTuple):
    """Queries about users with held-out events, and what the user took, in order, each item once."""

    user: np.ndarray  # int32 [Q] ascending
    minute: np.ndarray  # int32 [Q] of the first of the query's events
    item: np.ndarray  # int32 [E]
    value: np.ndarray  # float32 [E] of the first held-out event with the item
    start: (
        np.ndarray
    )  # int32 [Q + 1] the items of query q are start[q] .. start[q + 1] - 1


class Catalogue(NamedTuple):
    """What is known of items and users besides their events."""

    item_features: dict[
        str, Array
    ]  # name -> int32 [I, M], -1 where there are fewer than M values
    user_features: dict[str, Array]  # name -> int32 [U, M]
    popularity: Array  # float32 [I] events per item in the training log
    events: Array = np.zeros(
        (), np.float32
    )  # float32 [] events of the training log, of all items
    repeated: Array = np.zeros(
        (), np.float32
    )  # float32 [] those of them whose user had had the item before
    similar: Array = np.zeros(
        (1, 1, 2), np.float32
    )  # float32 [I, levels + 1, 2] both, of such items alone, by level
    follower: Array = np.zeros(
        (0, 0), np.int32
    )  # int32 [I, K] what most often came soon after an item; I for none
    times: Array = np.zeros(
        (0, 0), np.float32
    )  # float32 [I, K] how often, see `data.tendencies`


class Query(NamedTuple):
    """What is known before the event that is to be scored: who, when, and what came earlier.

    `user`, `minute`, `kind` and `dwell` are [B] for one moment per row, with the history right-aligned:
    the latest token stands at L-1. They are [B, L] for windows, where every position is a moment of its
    own that knows the tokens of its segment up to itself, all earlier than its event.
    A token of -1 in a segment is the learned "nothing yet" that precedes a user's first event.
    """

    user: Array  # int32 [B] or [B, L]; -1 for a user the model does not know
    minute: Array  # int32, as `user`
    kind: Array  # int32, as `user`: kind of the user's previous event, -1 for none
    dwell: (
        Array  # float32, as `user`: mean compressed dwell of the user's earlier events
    )
    token: Array  # int32 [B, L] items of the history
    token_minute: Array  # int32 [B, L]
    segment: Array  # int32 [B, L] tokens of one segment belong together; -1 is padding


class Prior(NamedTuple):
    """What scores hold beside a product of matrices: of each item [I], and `value` [..., K] of the items `item` [..., K].

    Items I and above count for nothing.
    """

    all: Array  # float32
    item: Array  # int32
    value: Array  # float32


class Batch(NamedTuple):
    """A query with the candidates to score: the positive first, then negatives."""

    query: Query
    row: Array  # int32, as `positive`: the user's place in the log
    positive: Array  # int32 [B], or [B, L] for windows
    value: Array  # float32, as `positive`: rating or engagement score of the event
    weight: Array  # float32, as `positive`: 0 for padding


class TrainState(NamedTuple):
    """All that a training step changes; data order and randomness are functions of seed and step.

    Where tables are updated by row, they and their moments are empty in training, and lie side by side in `rows`.
    """

    step: Array  # int32 []
    params: Any
    batch_stats: Any
    opt_state: Any
    rows: Any = ()  # kind of table -> [V, W], see `training.tables`


class Sizes(NamedTuple):
    """The numbers that fix the shapes of a model's parameters."""

    users: int
    items: int
    kinds: int
    item_features: tuple[tuple[str, int], ...]  # (name, number of distinct values)
    user_features: tuple[tuple[str, int], ...]
