"""Events of a shop as plain columns on the host: what every reader returns."""

from dataclasses import dataclass, field

import numpy as np

# The parts of a split, as `Interactions.given_part` and the splits mark them.
TRAIN = 0
VALIDATION = 1
TEST = 2
UNUSED = 3


@dataclass(frozen=True)
class Feature:
    """A feature of items or users that may hold several values per row.

    Attributes:
        values: text [V], the distinct values; the id of a value is its place here.
        ids: int32 [rows, M] ids of values, -1 where a row has fewer than M of them.
    """

    values: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True)
class Interactions:
    """A log of N events between U users and I items.

    Events are sorted by (user, time, input order). Ids are opaque text. Optional columns are
    None where the source has none, and NaN where a single row has none.

    Attributes:
        user: int32 [N] row number in `users`.
        item: int32 [N] row number in `items`.
        time: int64 [N] UTC unix seconds; where not `clock`, the number of the moment in the
            user's history, from 0 up.
        clock: whether `time` is a real time (hours and seasons mean something).
        users: text [U], the ids of users in order of first appearance in the source.
        items: text [I], the ids of items; items known from an item table without events
            included.
        names: text [I], what a person calls the item; the id where the source has no name.
        kind: int8 [N] row number in `kinds`.
        kinds: the kinds of events, e.g. ("view", "purchase").
        rating: float32 [N] or None, explicit ratings.
        clicked: float32 [N] or None, 1.0 where the user clicked and 0.0 where not.
        dwell: float32 [N] or None, seconds spent on the item.
        hover: float32 [N] or None, seconds the pointer rested on the item.
        quantity: float32 [N] or None, number of pieces bought.
        item_features: features of items by name, with I rows.
        user_features: features of users by name, with U rows.
        given_part: int8 [N] TRAIN, VALIDATION, TEST or UNUSED where the files themselves fix
            the split, else None.
        given_negatives: int32 [U, K] items to rank the test item against, -1 padded, or None.
        left_out: counts of rows that cleaning dropped, by reason.
        remarks: what a person should be told of the source, such as that its times are none.
        digest: SHA-256 of the bytes of the source files, hexadecimal.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    clock: bool
    users: np.ndarray
    items: np.ndarray
    names: np.ndarray
    kind: np.ndarray
    kinds: tuple[str, ...] = ("interaction",)
    rating: np.ndarray | None = None
    clicked: np.ndarray | None = None
    dwell: np.ndarray | None = None
    hover: np.ndarray | None = None
    quantity: np.ndarray | None = None
    item_features: dict[str, Feature] = field(default_factory=dict)
    user_features: dict[str, Feature] = field(default_factory=dict)
    given_part: np.ndarray | None = None
    given_negatives: np.ndarray | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    digest: str = ""
