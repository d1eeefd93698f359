"""Which events train, validate and test."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from ancf_jax.config import SplitConfig
from ancf_jax.data.baskets import basket_numbers, basket_places, share_in_baskets
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION, Interactions
from ancf_jax.data.selection import pair_ids
from ancf_jax.errors import UserError

BASKET_KINDS = ("next_basket", "time")  # splits that never part a basket
PART_NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test", UNUSED: "unused"}


def resolve_kind(
    interactions: Interactions, split: SplitConfig, engagement: bool = False
) -> SplitConfig:
    """`split` with the kind `auto` replaced by one that suits the data.

    That is `given` where the files fix a split; else `ratio` for ratings and for
    `engagement`, where every event carries a label; else `next_basket` where most events
    are in one basket with the event before; else `leave_one_out`.
    """
    if split.kind != "auto":
        return split
    if interactions.given_part is not None:
        kind = "given"
    elif engagement or interactions.rating is not None:
        kind = "ratio"
    elif share_in_baskets(interactions, split.basket_minutes) > 0.5:
        kind = "next_basket"
    else:
        kind = "leave_one_out"
    return dataclasses.replace(split, kind=kind)


def assign(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    """The part of every event, by the rule that `split.kind` names.

    next_basket: of every user with 3 or more baskets the last tests and the one before
        validates.
    leave_one_out: the same of single events; rows that agree in user, item and time are one.
    ratio: a random share of the distinct (user, item) pairs, so a pair is never in two
        parts.
    time: the latest share of all events; events of one moment, or of one basket, are never
        parted.
    given: as the files say. If they fix no validation, each user's last training event
        validates; or, where several rated events per user test, a random share of the
        training pairs.

    With a `validation` of 0, what would validate trains.

    Returns:
        int8 [N] of TRAIN, VALIDATION, TEST and UNUSED.

    Raises:
        UserError: where a part would be empty.
    """
    kind = resolve_kind(interactions, split).kind
    _check_shares(split)
    part = _RULES[kind](interactions, split, seed)
    needed = (TRAIN, VALIDATION, TEST) if split.validation else (TRAIN, TEST)
    part[~np.isin(part, (*needed, UNUSED))] = TRAIN
    _check_parts(interactions, part, needed, kind)
    return part


def places_in_baskets(
    interactions: Interactions, split: SplitConfig
) -> np.ndarray | None:
    """How many events of its basket come before each event, int32 [N], where `split` has baskets.

    None where an event may know all earlier ones, of its own basket, too.
    """
    if split.kind not in BASKET_KINDS:
        return None
    return basket_places(basket_numbers(interactions, split.basket_minutes))


def _check_shares(split: SplitConfig) -> None:
    """Raises UserError where validation and test leave nothing."""
    if split.validation + split.test < 1:
        return
    shares = f"--split.validation {split.validation} and --split.test {split.test}"
    raise UserError(
        f"{shares} leave nothing to train on; choose shares whose sum is below 1"
    )


def _check_parts(
    interactions: Interactions, part: np.ndarray, needed: tuple[int, ...], kind: str
) -> None:
    """Raises UserError where a needed part has no events."""
    missing = [PART_NAMES[number] for number in needed if number not in part]
    if not missing:
        return
    largest = np.bincount(interactions.user).max()
    raise UserError(
        f"the split {kind} leaves no {missing[0]} events, "
        f"for there are {len(part)} in all, at most {largest} of one user; "
        "choose another --split.kind or other shares"
    )


def _leave_one_out(
    interactions: Interactions, split: SplitConfig, seed: int
) -> np.ndarray:
    number = _numbers_of_events(interactions)
    _, first = np.unique(number, return_index=True)
    return _latest_two(interactions.user[first])[number]


def _numbers_of_events(interactions: Interactions) -> np.ndarray:
    """int [N], from 0 up: equal for rows that agree in user, time and item."""
    user = interactions.user
    time = interactions.time
    is_tied = (np.diff(user) == 0) & (np.diff(time) == 0)
    if not is_tied.any():
        return np.arange(len(user))
    events = pd.DataFrame({"user": user, "time": time, "item": interactions.item})
    return events.groupby(list(events), sort=False).ngroup().to_numpy()


def _next_basket(
    interactions: Interactions, split: SplitConfig, seed: int
) -> np.ndarray:
    basket = basket_numbers(interactions, split.basket_minutes)
    _, first_event = np.unique(basket, return_index=True)
    return _latest_two(interactions.user[first_event])[basket]


def _latest_two(user: np.ndarray) -> np.ndarray:
    """The parts of rows by user: the last tests, the one before validates, of 3 or more."""
    part = np.full(len(user), TRAIN, np.int8)
    counts = np.bincount(user)
    end = np.cumsum(counts)[counts >= 3]
    part[end - 1] = TEST
    part[end - 2] = VALIDATION
    return part


def _ratio(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    rank, pairs = _shuffled_pairs(pair_ids(interactions), seed)
    test = max(1, round(split.test * pairs))
    validation = max(1, round(split.validation * pairs))
    is_test = rank < test
    is_validation = rank < test + validation
    return _parts(is_test, is_validation)


def _shuffled_pairs(pairs: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """The place [N] of every event's pair in a random order of the distinct pairs.

    Also the number of distinct pairs.
    """
    distinct, place = np.unique(pairs, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(distinct))
    return order[place], len(distinct)


def _parts(is_test: np.ndarray, is_validation: np.ndarray) -> np.ndarray:
    """int8 [N]: TEST goes before VALIDATION, and what is neither is TRAIN."""
    part = np.select([is_test, is_validation], [TEST, VALIDATION], TRAIN)
    return part.astype(np.int8)


def _time(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    if not interactions.clock:
        raise UserError(
            "--split.kind time needs times, but the data has only an order; "
            "map them with --table.time"
        )
    basket = basket_numbers(interactions, split.basket_minutes)
    _, first_event = np.unique(basket, return_index=True)
    time = interactions.time[first_event][basket]
    moments, counts = np.unique(time, return_counts=True)
    earlier = (np.cumsum(counts) - counts) / len(time)
    test_begins = _nearest_place(earlier, 1 - split.test)
    validation_begins = _nearest_place(earlier, 1 - split.test - split.validation)
    is_test = time >= moments[test_begins]
    is_validation = time >= moments[validation_begins]
    return _parts(is_test, is_validation)


def _nearest_place(values: np.ndarray, value: float) -> np.intp:
    """The place of the entry of `values` that is nearest to `value`."""
    return np.argmin(np.abs(values - value))


def _given(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    if interactions.given_part is None:
        raise UserError(
            "--split.kind given, but the files fix no split; "
            "use ratio, leave_one_out or time"
        )
    part = interactions.given_part.astype(np.int8)
    if (part == VALIDATION).any():
        return part
    train = np.flatnonzero(part == TRAIN)
    tests = np.bincount(interactions.user[part == TEST], minlength=1)
    if interactions.rating is not None and tests.max() > 1:
        rank, pairs = _shuffled_pairs(pair_ids(interactions)[train], seed)
        validation = train[rank < max(1, round(split.validation * pairs))]
    else:
        validation = train[_last_of_each(interactions.user[train])]
    part[validation] = VALIDATION
    return part


def _last_of_each(user: np.ndarray) -> np.ndarray:
    """The place of the last event of every user that has 2 or more; `user` [N] ascends."""
    counts = np.bincount(user, minlength=1)
    return np.cumsum(counts)[counts >= 2] - 1


_RULES: dict[str, Callable[[Interactions, SplitConfig, int], np.ndarray]] = {
    "next_basket": _next_basket,
    "leave_one_out": _leave_one_out,
    "ratio": _ratio,
    "time": _time,
    "given": _given,
}
