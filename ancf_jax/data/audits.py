"""Figures that say how far a result on a split can be trusted."""

from typing import Any

import numpy as np
import pandas as pd

from ancf_jax.data.interactions import TEST, TRAIN, Interactions
from ancf_jax.data.selection import pair_ids
from ancf_jax.data.splits import PART_NAMES


def audit(interactions: Interactions, part: np.ndarray, kind: str) -> dict[str, Any]:
    """Figures that say how far a result on this split can be trusted.

    Args:
        interactions: the N events that were split.
        part: int8 [N] of TRAIN, VALIDATION, TEST and UNUSED.
        kind: the resolved kind of split.

    Returns:
        Sizes: users, items, events and the events of every part.
        Shares, None where only a clock could tell:
            ties_in_time: events that share user and time with another.
            test_before_newest_train: test events older than the newest training event.
            test_before_newest_train_of_user: the same within each user.
            repeat_share: events whose (user, item) occurred before.
            test_pairs_in_train: test events whose (user, item) trains.
        Counts:
            duplicates: events equal to an earlier one in user, item, time and kind.
            cold_users, cold_items: tested but never trained.
        Origin: split, left_out and data_sha256.
    """
    tied = _tied_events(interactions)
    events = len(interactions.user)
    figures: dict[str, Any] = {
        "users": len(interactions.users),
        "items": len(interactions.items),
        "events": events,
    }
    for number, name in PART_NAMES.items():
        figures[name] = int((part == number).sum())
    figures["split"] = kind
    figures["ties_in_time"] = len(tied) / events if interactions.clock else None
    figures.update(_order_figures(interactions, part))
    figures.update(_overlap_figures(interactions, part))
    figures["duplicates"] = int(tied.duplicated().sum())
    figures["left_out"] = dict(interactions.left_out)
    figures["data_sha256"] = interactions.digest
    return figures


def _order_figures(interactions: Interactions, part: np.ndarray) -> dict[str, Any]:
    """How many test events are older than training events."""
    user = interactions.user
    time = interactions.time
    train = part == TRAIN
    test = part == TEST
    newest = np.full(len(interactions.users), np.iinfo(np.int64).min)
    np.maximum.at(newest, user[train], time[train])
    before_newest = None
    if interactions.clock:
        before_newest = float(np.mean(time[test] < newest.max()))
    before_newest_of_user = float(np.mean(time[test] < newest[user[test]]))
    return {
        "test_before_newest_train": before_newest,
        "test_before_newest_train_of_user": before_newest_of_user,
    }


def _tied_events(interactions: Interactions) -> pd.DataFrame:
    """User, time, item and kind of the events that share user and time with another."""
    events = pd.DataFrame(
        {
            "user": interactions.user,
            "time": interactions.time,
            "item": interactions.item,
            "kind": interactions.kind,
        }
    )
    return events[events.duplicated(["user", "time"], keep=False)]


def _overlap_figures(interactions: Interactions, part: np.ndarray) -> dict[str, Any]:
    """What users, items and pairs occur in training, in testing, and more than once."""
    user = interactions.user
    item = interactions.item
    train = part == TRAIN
    test = part == TEST
    pairs = pair_ids(interactions)
    in_train = pd.Series(pairs[test]).isin(pairs[train])
    return {
        "cold_users": len(np.setdiff1d(user[test], user[train])),
        "cold_items": len(np.setdiff1d(item[test], item[train])),
        "repeat_share": float(pd.Series(pairs).duplicated().mean()),
        "test_pairs_in_train": float(in_train.mean()),
    }


def describe(figures: dict[str, Any]) -> str:
    """The figures of an `audit` as a few lines for people."""
    lines = (
        _sizes_line(figures),
        _order_line(figures),
        _pairs_line(figures),
        _rest_line(figures),
    )
    return "\n".join(lines)


def _sizes_line(figures: dict[str, Any]) -> str:
    sizes = [f"{figures[name]:,} {name}" for name in ("users", "items", "events")]
    parts = [
        f"{name} {figures[name]:,}" for name in PART_NAMES.values() if figures[name]
    ]
    return f"{', '.join(sizes)}; split {figures['split']}: {', '.join(parts)}"


def _order_line(figures: dict[str, Any]) -> str:
    older = _share(figures["test_before_newest_train"])
    older_of_user = _share(figures["test_before_newest_train_of_user"])
    ties = _share(figures["ties_in_time"])
    return (
        f"test events older than the newest training event: {older}, "
        f"of the same user: {older_of_user}; ties in time: {ties}"
    )


def _pairs_line(figures: dict[str, Any]) -> str:
    repeated = _share(figures["repeat_share"])
    trained = _share(figures["test_pairs_in_train"])
    return (
        f"repeated (user, item): {repeated}, test pairs that train too: {trained}; "
        f"exact duplicates: {figures['duplicates']:,}"
    )


def _rest_line(figures: dict[str, Any]) -> str:
    reasons = [f"{reason} {count:,}" for reason, count in figures["left_out"].items()]
    left_out = ", ".join(reasons) or "none"
    digest = figures["data_sha256"][:12] or "none"
    return (
        f"in test without training events: {figures['cold_users']:,} users, "
        f"{figures['cold_items']:,} items; left out: {left_out}; data SHA-256 {digest}"
    )


def _share(share: float | None) -> str:
    """A share in per cent; None where only a clock could tell."""
    return f"{share:.1%}" if isinstance(share, float) else "unknown (no clock)"
