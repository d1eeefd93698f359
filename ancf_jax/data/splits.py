"""Which events count, which of them train, validate and test, and an audit of the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ancf_jax.config import SplitConfig
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION, Interactions
from ancf_jax.errors import UserError, nearest

EVENT_COLUMNS = ("user", "item", "time", "kind", "rating", "clicked", "dwell", "hover", "quantity", "given_part")
PART_NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test", UNUSED: "unused"}


def keep_events(interactions: Interactions, keep: np.ndarray, reason: str) -> Interactions:
    """The events of `keep` (bool [N]) alone; the others are counted in `left_out` under `reason`."""
    if keep.all():
        return interactions
    changes = {name: column[keep] for name in EVENT_COLUMNS if (column := getattr(interactions, name)) is not None}
    left_out = interactions.left_out | {reason: interactions.left_out.get(reason, 0) + int((~keep).sum())}
    return dataclasses.replace(interactions, left_out=left_out, **changes)


def drop_idle_users(interactions: Interactions) -> Interactions:
    """Users without events are dropped with their features and negatives; items all stay."""
    keep = np.bincount(interactions.user, minlength=len(interactions.users)) > 0
    if keep.all():
        return interactions
    features = interactions.user_features.items()
    negatives = interactions.given_negatives
    return dataclasses.replace(
        interactions,
        user=(np.cumsum(keep) - 1)[interactions.user].astype(np.int32),
        users=interactions.users[keep],
        user_features={name: dataclasses.replace(feature, ids=feature.ids[keep]) for name, feature in features},
        given_negatives=None if negatives is None else negatives[keep],
    )


def select(interactions: Interactions, split: SplitConfig) -> Interactions:
    """The events that count, by kind, duplicates and least numbers of events; the rest is counted.

    Users left without events are dropped from the vocabulary, items stay. The least numbers hold
    together: users and items are left out in turn until all that remain have enough events.
    Raises UserError for an unknown kind of event and where no event remains.
    """
    result = interactions
    for name in split.events:
        if name not in interactions.kinds:
            there = ", ".join(interactions.kinds)
            raise UserError(
                f'--split.events names "{name}", but the kinds of event in the data are {there}'
                f"{nearest(name, interactions.kinds)}; choose among these"
            )
    if split.events:
        wanted = [interactions.kinds.index(name) for name in split.events]
        result = keep_events(result, np.isin(result.kind, wanted), "other_kind")
    if split.duplicates != "keep":
        result = keep_events(result, _one_per_pair(result, split.duplicates == "last"), "duplicate")
    result = drop_idle_users(_enough_events(result, split))
    if not len(result.user):
        raise UserError(
            f"none of the {len(interactions.user)} events remains (left out: {result.left_out}); "
            "widen --split.events, or lower --split.min-user-events or --split.min-item-events"
        )
    return result


def pair_ids(interactions: Interactions) -> np.ndarray:
    """int64 [N], equal for the events of one user with one item."""
    return interactions.user.astype(np.int64) * len(interactions.items) + interactions.item


def _one_per_pair(interactions: Interactions, last: bool) -> np.ndarray:
    pairs = pair_ids(interactions)
    if last:
        return _is_first(pairs[::-1])[::-1]
    return _is_first(pairs)


def _is_first(values: np.ndarray) -> np.ndarray:
    keep = np.zeros(len(values), bool)
    keep[np.unique(values, return_index=True)[1]] = True
    return keep


def _enough_events(interactions: Interactions, split: SplitConfig) -> Interactions:
    limits = (("user", split.min_user_events, "few_user_events"), ("item", split.min_item_events, "few_item_events"))
    while True:
        before = len(interactions.user)
        for name, least, reason in limits:
            column = getattr(interactions, name)
            interactions = keep_events(interactions, np.bincount(column)[column] >= least, reason)
        if len(interactions.user) == before:
            return interactions


def resolve_kind(interactions: Interactions, split: SplitConfig, engagement: bool = False) -> SplitConfig:
    """`split` with `auto` replaced: given where the files say so, else ratio for ratings, else leave_one_out.

    For the engagement model every event carries a label, so a share of all events tests: the latest
    by the clock (time), or a random one where the source has no clock (ratio).
    """
    if split.kind != "auto":
        return split
    if interactions.given_part is not None:
        return dataclasses.replace(split, kind="given")
    if engagement:
        return dataclasses.replace(split, kind="time" if interactions.clock else "ratio")
    return dataclasses.replace(split, kind="leave_one_out" if interactions.rating is None else "ratio")


def assign(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    """The part of every event: int8 [N] of TRAIN, VALIDATION, TEST and UNUSED.

    leave_one_out: of every user with 3 or more events the last tests and the one before validates.
    ratio: a random share of the distinct (user, item) pairs, so a pair is never in two parts.
    time: the latest share of all events; events of one moment are never parted.
    given: as the files say; where these have no validation events, each user's last training event
    validates, or, where the files test several rated events per user, a random share of the training pairs.
    Raises UserError where a part would be empty.
    """
    kind = resolve_kind(interactions, split).kind
    if split.validation + split.test >= 1:
        raise UserError(
            f"--split.validation {split.validation} and --split.test {split.test} leave nothing to train on; "
            "choose shares whose sum is below 1"
        )
    rules: dict[str, Callable[[Interactions, SplitConfig, int], np.ndarray]] = {
        "leave_one_out": _leave_one_out,
        "ratio": _ratio,
        "time": _time,
        "given": _given,
    }
    part = rules[kind](interactions, split, seed)
    _refuse_empty(interactions, part, kind)
    return part


def _refuse_empty(interactions: Interactions, part: np.ndarray, kind: str) -> None:
    counts = np.bincount(part, minlength=4)
    for number in (TRAIN, VALIDATION, TEST):
        if counts[number] == 0:
            users = np.bincount(interactions.user, minlength=1)
            raise UserError(
                f"the split {kind} leaves no {PART_NAMES[number]} events ({len(part)} events of {len(users)} users, "
                f"at most {users.max()} of one user: {counts[TRAIN]} train, {counts[VALIDATION]} validation, "
                f"{counts[TEST]} test); choose another --split.kind, or other --split.validation and --split.test"
            )


def _leave_one_out(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    part = np.full(len(interactions.user), TRAIN, np.int8)
    counts = np.bincount(interactions.user)
    end = np.cumsum(counts)[counts >= 3]
    part[end - 1] = TEST
    part[end - 2] = VALIDATION
    return part


def _ratio(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    rank, pairs = _shuffled_pairs(pair_ids(interactions), seed)
    test = max(1, round(split.test * pairs))
    validation = max(1, round(split.validation * pairs))
    return np.where(rank < test, TEST, np.where(rank < test + validation, VALIDATION, TRAIN)).astype(np.int8)


def _shuffled_pairs(pairs: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """The place [N] of every event's pair in a random order of the distinct pairs, and their number."""
    distinct, place = np.unique(pairs, return_inverse=True)
    return np.random.default_rng(seed).permutation(len(distinct))[place], len(distinct)


def _time(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    if not interactions.clock:
        raise UserError(
            "--split.kind time needs events with a time, but the data has only an order; "
            "use --split.kind leave_one_out, or map the column with --table.time"
        )
    moments, counts = np.unique(interactions.time, return_counts=True)
    earlier = np.cumsum(counts) - counts
    total = len(interactions.time)
    test_from, validation_from = (
        moments[np.argmin(np.abs(earlier - total * (1 - share)))]
        for share in (split.test, split.test + split.validation)
    )
    time = interactions.time
    return np.where(time >= test_from, TEST, np.where(time >= validation_from, VALIDATION, TRAIN)).astype(np.int8)


def _given(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    if interactions.given_part is None:
        raise UserError("--split.kind given, but the files fix no split; use ratio, leave_one_out or time")
    part = interactions.given_part.astype(np.int8)
    if (part == VALIDATION).any():
        return part
    train = np.flatnonzero(part == TRAIN)
    tests = np.bincount(interactions.user[part == TEST], minlength=1)
    if interactions.rating is not None and tests.max() > 1:
        rank, pairs = _shuffled_pairs(pair_ids(interactions)[train], seed)
        part[train[rank < max(1, round(split.validation * pairs))]] = VALIDATION
    else:
        counts = np.bincount(interactions.user[train], minlength=1)
        part[train[np.cumsum(counts)[counts >= 2] - 1]] = VALIDATION
    return part


def audit(interactions: Interactions, part: np.ndarray, kind: str) -> dict[str, Any]:
    """Figures that say how far a result on this split can be trusted; `kind` is the resolved split.

    Shares are in [0, 1], of all events or of the test events; None where the source has no clock:
    ties_in_time: events that share user and time with another; test_before_newest_train: test events
    older than the newest training event of anybody, and ..._of_user: of the same user; repeat_share:
    events whose (user, item) occurred before; test_pairs_in_train: test events whose (user, item) trains
    too. Counts: duplicates are events equal to an earlier one in user, item, time and kind; cold_users
    and cold_items are those of the test events without training events.
    """
    user, item, time = interactions.user, interactions.item, interactions.time
    train, test = part == TRAIN, part == TEST
    newest = np.full(len(interactions.users), np.iinfo(np.int64).min)
    np.maximum.at(newest, user[train], time[train])
    pairs, clock = pair_ids(interactions), interactions.clock
    tied = _tied(user, time)
    trained = np.sort(pairs[train])
    in_train = np.searchsorted(trained, pairs[test], "right") > np.searchsorted(trained, pairs[test])
    return {
        "users": len(interactions.users),
        "items": len(interactions.items),
        "events": len(user),
        **{name: int((part == number).sum()) for number, name in PART_NAMES.items()},
        "split": kind,
        "ties_in_time": _share(tied) if clock else None,
        "test_before_newest_train": _share(time[test] < newest.max()) if clock else None,
        "test_before_newest_train_of_user": _share(time[test] < newest[user[test]]),
        "cold_users": len(np.setdiff1d(user[test], user[train])),
        "cold_items": len(np.setdiff1d(item[test], item[train])),
        "repeat_share": _share(~_is_first(pairs)),
        "test_pairs_in_train": _share(in_train),
        "duplicates": _duplicates(interactions, tied),
        "left_out": dict(interactions.left_out),
        "data_sha256": interactions.digest,
    }


def _share(where: np.ndarray) -> float:
    return float(where.mean()) if where.size else 0.0


def _tied(user: np.ndarray, time: np.ndarray) -> np.ndarray:
    same = (user[1:] == user[:-1]) & (time[1:] == time[:-1])
    return np.concatenate([[False], same]) | np.concatenate([same, [False]])


def _duplicates(interactions: Interactions, tied: np.ndarray) -> int:
    columns = [getattr(interactions, name)[tied] for name in ("kind", "item", "time", "user")]
    order = np.lexsort(columns)
    same = [column[order][1:] == column[order][:-1] for column in columns]
    return int(np.logical_and.reduce(same).sum())


def describe(audit: dict[str, Any]) -> str:
    """The audit as a few lines for people."""

    def percent(key: str) -> str:
        return "unknown (no clock)" if audit[key] is None else f"{audit[key]:.1%}"

    parts = ", ".join(f"{name} {audit[name]:,}" for name in PART_NAMES.values() if audit[name])
    left_out = ", ".join(f"{reason} {count:,}" for reason, count in audit["left_out"].items()) or "none"
    return "\n".join(
        [
            f"{audit['users']:,} users, {audit['items']:,} items, {audit['events']:,} events; "
            f"split {audit['split']}: {parts}",
            f"test events older than the newest training event: {percent('test_before_newest_train')}, "
            f"of the same user: {percent('test_before_newest_train_of_user')}; "
            f"ties in time: {percent('ties_in_time')}",
            f"repeated (user, item): {percent('repeat_share')}, test pairs that train too: "
            f"{percent('test_pairs_in_train')}; exact duplicates: {audit['duplicates']:,}",
            f"in test without training events: {audit['cold_users']:,} users, {audit['cold_items']:,} items; "
            f"left out: {left_out}; data SHA-256 {audit['data_sha256'][:12] or 'none'}",
        ]
    )
