"""Which events count, which of them train, validate and test, and an audit of the result."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from ancf_jax.config import SplitConfig
from ancf_jax.data.interactions import (
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    Feature,
    Interactions,
)
from ancf_jax.errors import UserError, nearest

EVENT_COLUMNS = (
    "user",
    "item",
    "time",
    "kind",
    "rating",
    "clicked",
    "dwell",
    "hover",
    "quantity",
    "given_part",
)
PART_NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test", UNUSED: "unused"}


def keep_events(
    interactions: Interactions, keep: np.ndarray, reason: str
) -> Interactions:
    """The events of `keep` (bool [N]) alone; the others are counted in `left_out` under `reason`."""
    if keep.all():
        return interactions
    changes = {
        name: column[keep]
        for name in EVENT_COLUMNS
        if (column := getattr(interactions, name)) is not None
    }
    left_out = interactions.left_out | {
        reason: interactions.left_out.get(reason, 0) + int((~keep).sum())
    }
    return dataclasses.replace(interactions, left_out=left_out, **changes)


def drop_idle_users(interactions: Interactions) -> Interactions:
    """Users without events are dropped with their features and negatives; items all stay."""
    keep = np.bincount(interactions.user, minlength=len(interactions.users)) > 0
    features = {
        name: Feature(f.values, f.ids[keep])
        for name, f in interactions.user_features.items()
    }
    negatives = (
        None
        if interactions.given_negatives is None
        else interactions.given_negatives[keep]
    )
    changes = {
        "users": interactions.users[keep],
        "user_features": features,
        "given_negatives": negatives,
    }
    return dataclasses.replace(
        interactions,
        user=(np.cumsum(keep) - 1)[interactions.user].astype(np.int32),
        **changes,
    )


def select(interactions: Interactions, split: SplitConfig) -> Interactions:
    """The events that count, by kind, duplicates and least numbers of events; the rest is counted.

    Users and items with too few are left out in turn until none is left; items stay in the vocabulary. Raises
    UserError for an unknown kind of event and where no event remains.
    """
    kept, kinds = interactions, interactions.kinds
    if unknown := [name for name in split.events if name not in kinds]:
        there = f"the kinds of event in the data are {', '.join(kinds)}{nearest(unknown[0], kinds)}"
        raise UserError(
            f'--split.events names "{unknown[0]}", but {there}; choose among these'
        )
    if split.events:
        kept = keep_events(kept, np.isin(kinds, split.events)[kept.kind], "other_kind")
    if split.duplicates != "keep":
        kept = keep_events(
            kept,
            ~pd.Series(pair_ids(kept)).duplicated(split.duplicates).to_numpy(),
            "duplicate",
        )
    before = 0
    while len(kept.user) != before:
        before = len(kept.user)
        kept = keep_events(
            kept,
            np.bincount(kept.user)[kept.user] >= split.min_user_events,
            "few_user_events",
        )
        kept = keep_events(
            kept,
            np.bincount(kept.item)[kept.item] >= split.min_item_events,
            "few_item_events",
        )
    if not before:
        remedy = "widen --split.events, or lower --split.min-user-events or --split.min-item-events"
        raise UserError(
            f"none of the {len(interactions.user)} events remains (left out: {kept.left_out}); {remedy}"
        )
    return drop_idle_users(kept)


def pair_ids(interactions: Interactions) -> np.ndarray:
    """int64 [N], equal for the events of one user with one item."""
    return (
        interactions.user.astype(np.int64) * len(interactions.items) + interactions.item
    )


def resolve_kind(
    interactions: Interactions, split: SplitConfig, engagement: bool = False
) -> SplitConfig:
    """`split` with `auto` replaced: given where the files say so, else ratio for ratings and `engagement`, whose every
    event carries a label, else leave_one_out."""
    if split.kind != "auto":
        return split
    ratio = engagement or interactions.rating is not None
    kind = (
        "given"
        if interactions.given_part is not None
        else "ratio"
        if ratio
        else "leave_one_out"
    )
    return dataclasses.replace(split, kind=kind)


def assign(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    """The part of every event: int8 [N] of TRAIN, VALIDATION, TEST and UNUSED.

    leave_one_out: of every user with 3 or more events the last tests and the one before validates.
    ratio: a random share of the distinct (user, item) pairs, so a pair is never in two parts.
    time: the latest share of all events; events of one moment are never parted.
    given: as the files say; if they fix no validation, each user's last training event, or, where several rated events
    per user test, a random share of the training pairs.
    With a `validation` of 0, what would validate trains. Raises UserError where a part would be empty.
    """
    kind = resolve_kind(interactions, split).kind
    if split.validation + split.test >= 1:
        shares = f"--split.validation {split.validation} and --split.test {split.test}"
        raise UserError(
            f"{shares} leave nothing to train on; choose shares whose sum is below 1"
        )
    rule = {
        "leave_one_out": _leave_one_out,
        "ratio": _ratio,
        "time": _time,
        "given": _given,
    }[kind]
    part = rule(interactions, split, seed)
    needed = (TRAIN, VALIDATION, TEST) if split.validation else (TRAIN, TEST)
    part[~np.isin(part, (*needed, UNUSED))] = TRAIN
    if missing := [PART_NAMES[number] for number in needed if number not in part]:
        found = f"{len(part)} in all, at most {np.bincount(interactions.user).max()} of one user"
        remedy = "choose another --split.kind or other shares"
        raise UserError(
            f"the split {kind} leaves no {missing[0]} events, for there are {found}; {remedy}"
        )
    return part


def _leave_one_out(
    interactions: Interactions, split: SplitConfig, seed: int
) -> np.ndarray:
    part = np.full(len(interactions.user), TRAIN, np.int8)
    counts = np.bincount(interactions.user)
    end = np.cumsum(counts)[counts >= 3]
    part[end - 1], part[end - 2] = TEST, VALIDATION
    return part


def _ratio(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    rank, pairs = _shuffled_pairs(pair_ids(interactions), seed)
    test, validation = (
        max(1, round(share * pairs)) for share in (split.test, split.validation)
    )
    return np.select(
        [rank < test, rank < test + validation], [TEST, VALIDATION], TRAIN
    ).astype(np.int8)


def _shuffled_pairs(pairs: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """The place [N] of every event's pair in a random order of the distinct pairs, and their number."""
    distinct, place = np.unique(pairs, return_inverse=True)
    return np.random.default_rng(seed).permutation(len(distinct))[place], len(distinct)


def _time(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    if not interactions.clock:
        raise UserError(
            "--split.kind time needs times, but the data has only an order; map them with --table.time"
        )
    time = interactions.time
    moments, counts = np.unique(time, return_counts=True)
    earlier = (np.cumsum(counts) - counts) / len(time)
    begins = [1 - split.test, 1 - split.test - split.validation]
    test, validation = (
        time >= moments[np.argmin(np.abs(earlier - begin))] for begin in begins
    )
    return np.select([test, validation], [TEST, VALIDATION], TRAIN).astype(np.int8)


def _given(interactions: Interactions, split: SplitConfig, seed: int) -> np.ndarray:
    if interactions.given_part is None:
        raise UserError(
            "--split.kind given, but the files fix no split; use ratio, leave_one_out or time"
        )
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

    Shares, None where only a clock could tell: ties_in_time, events that share user and time with another;
    test_before_newest_train(_of_user), test events older than the newest training event (of the user); repeat_share,
    events whose (user, item) occurred before; test_pairs_in_train, test events whose (user, item) trains. Counts:
    duplicates, equal to an earlier one in user, item, time and kind; cold_users, cold_items, tested but never trained.
    """
    user, item, time, clock = (
        interactions.user,
        interactions.item,
        interactions.time,
        interactions.clock,
    )
    train, test, pairs = part == TRAIN, part == TEST, pair_ids(interactions)
    newest = np.full(len(interactions.users), np.iinfo(np.int64).min)
    np.maximum.at(newest, user[train], time[train])
    events = pd.DataFrame(
        {"user": user, "time": time, "item": item, "kind": interactions.kind}
    )
    events = events[events.duplicated(["user", "time"], keep=False)]
    return {
        "users": len(interactions.users),
        "items": len(interactions.items),
        "events": len(user),
    } | {
        **{name: int((part == number).sum()) for number, name in PART_NAMES.items()},
        "split": kind,
        "ties_in_time": len(events) / len(user) if clock else None,
        "test_before_newest_train": float(np.mean(time[test] < newest.max()))
        if clock
        else None,
        "test_before_newest_train_of_user": float(
            np.mean(time[test] < newest[user[test]])
        ),
        "cold_users": len(np.setdiff1d(user[test], user[train])),
        "cold_items": len(np.setdiff1d(item[test], item[train])),
        "repeat_share": float(pd.Series(pairs).duplicated().mean()),
        "test_pairs_in_train": float(pd.Series(pairs[test]).isin(pairs[train]).mean()),
        "duplicates": int(events.duplicated().sum()),
        "left_out": dict(interactions.left_out),
        "data_sha256": interactions.digest,
    }


def describe(audit: dict[str, Any]) -> str:
    """The audit as a few lines for people."""
    share = {
        key: f"{x:.1%}" if isinstance(x, float) else "unknown (no clock)"
        for key, x in audit.items()
    }
    parts = ", ".join(
        f"{name} {audit[name]:,}" for name in PART_NAMES.values() if audit[name]
    )
    left_out = (
        ", ".join(f"{reason} {count:,}" for reason, count in audit["left_out"].items())
        or "none"
    )
    return (
        f"{audit['users']:,} users, {audit['items']:,} items, {audit['events']:,} events; split {audit['split']}: {parts}\n"
        f"test events older than the newest training event: {share['test_before_newest_train']}, of the same user: "
        f"{share['test_before_newest_train_of_user']}; ties in time: {share['ties_in_time']}\n"
        f"repeated (user, item): {share['repeat_share']}, test pairs that train too: {share['test_pairs_in_train']}; "
        f"exact duplicates: {audit['duplicates']:,}\n"
        f"in test without training events: {audit['cold_users']:,} users, {audit['cold_items']:,} items; "
        f"left out: {left_out}; data SHA-256 {audit['data_sha256'][:12] or 'none'}"
    )
