"""Figures that say how far a result on a split can be trusted."""

from typing import Any

import numpy as np
import pandas as pd

from ancf_jax.config import SplitConfig
from ancf_jax.data.baskets import basket_numbers
from ancf_jax.data.interactions import TEST, TRAIN, VALIDATION, Interactions
from ancf_jax.data.questions import question
from ancf_jax.data.selection import pair_ids
from ancf_jax.data.splits import BASKET_KINDS, PART_NAMES


def audit(
    interactions: Interactions, part: np.ndarray, split: SplitConfig
) -> dict[str, Any]:
    """Figures that say how far a result on this split can be trusted.

    Args:
        interactions: the N events that were split.
        part: int8 [N] of TRAIN, VALIDATION, TEST and UNUSED.
        split: the rule that split them, with its kind resolved.

    Returns:
        Sizes: users, items, events and the events of every part.
        Shares, None where only a clock could tell:
            ties_in_time: events that share user and time (or its number) with another.
            test_before_newest_train: test events older than the newest training event.
            test_before_newest_train_of_user: the same within each user.
            repeat_share: events whose (user, item) occurred before.
            test_pairs_in_train: test events whose (user, item) trains.
        Counts:
            duplicates: events equal to an earlier one in user, item, time and kind.
            cold_users, cold_items: tested but never trained.
        Baskets:
            baskets: how many there are, None where every event stands alone.
            share_in_baskets: events that are in one basket with the event before.
            test_in_open_basket: test events in one basket with a known event before.
            baskets_held_out, users_held_out: what validates or tests, where baskets are whole.
        Origin: split, test_begins (None without a clock), left_out, remarks on the source (such
            as numbers that are no times) and data_sha256.
    """
    figures = _size_figures(interactions, part)
    figures["split"] = split.kind
    figures.update(_tie_figures(interactions))
    figures.update(_order_figures(interactions, part))
    figures.update(_basket_figures(interactions, part, split))
    figures.update(_overlap_figures(interactions, part))
    figures["left_out"] = dict(interactions.left_out)
    figures["remarks"] = list(interactions.remarks)
    figures["data_sha256"] = interactions.digest
    return figures


def _size_figures(interactions: Interactions, part: np.ndarray) -> dict[str, Any]:
    """How many users, items and events there are, and events of every part."""
    figures = {
        "users": len(interactions.users),
        "items": len(interactions.items),
        "events": len(interactions.user),
    }
    for number, name in PART_NAMES.items():
        figures[name] = int((part == number).sum())
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
    test_begins = None
    if interactions.clock:
        before_newest = float(np.mean(time[test] < newest.max()))
        earliest = np.datetime64(int(time[test].min()), "s")
        test_begins = str(earliest.astype("datetime64[m]")).replace("T", " ")
    before_newest_of_user = float(np.mean(time[test] < newest[user[test]]))
    return {
        "test_before_newest_train": before_newest,
        "test_before_newest_train_of_user": before_newest_of_user,
        "test_begins": test_begins,
    }


def _basket_figures(
    interactions: Interactions, part: np.ndarray, split: SplitConfig
) -> dict[str, Any]:
    """How many baskets there are, and how the split treats them."""
    basket = basket_numbers(interactions, split.basket_minutes)
    baskets = int(basket[-1]) + 1
    is_whole = split.kind in BASKET_KINDS
    held_out = (part == VALIDATION) | (part == TEST)
    baskets_held_out = len(np.unique(basket[held_out]))
    users_held_out = len(np.unique(interactions.user[held_out]))
    return {
        "baskets": baskets if baskets < len(basket) else None,
        "share_in_baskets": 1 - baskets / len(basket),
        "test_in_open_basket": None if is_whole else _share_in_open(basket, part),
        "baskets_held_out": baskets_held_out if is_whole else None,
        "users_held_out": users_held_out if is_whole else None,
    }


def _share_in_open(basket: np.ndarray, part: np.ndarray) -> float:
    """Share of the test events that are in one basket with the latest known event before."""
    place = np.arange(len(part))
    is_test = part == TEST
    latest_known = np.maximum.accumulate(np.where(is_test, -1, place))
    has_known = latest_known >= 0
    in_open = has_known & (basket[latest_known] == basket)
    return float(in_open[is_test].mean())


def _tie_figures(interactions: Interactions) -> dict[str, Any]:
    """How many events share user and time, and how many are the same in all."""
    events = pd.DataFrame(
        {
            "user": interactions.user,
            "time": interactions.time,
            "item": interactions.item,
            "kind": interactions.kind,
        }
    )
    tied = events[events.duplicated(["user", "time"], keep=False)]
    # Without a clock, numbers that all differ may only say in which order the events stood.
    is_known = interactions.clock or len(tied) > 0
    return {
        "ties_in_time": len(tied) / len(events) if is_known else None,
        "duplicates": int(tied.duplicated().sum()),
    }


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
    lines = [_sizes_line(figures)]
    if "share_in_baskets" in figures:  # audits of version 0.1 say nothing of baskets
        lines.append(question(figures))
    lines.append(_order_line(figures))
    if figures.get("baskets"):
        lines.append(_baskets_line(figures))
    lines.append(_pairs_line(figures))
    lines.append(_rest_line(figures))
    lines += figures.get("remarks", [])
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


def _baskets_line(figures: dict[str, Any]) -> str:
    line = (
        f"baskets: {figures['baskets']:,}; events that share theirs with the event before: "
        f"{figures['share_in_baskets']:.1%}"
    )
    if figures["test_in_open_basket"] is not None:
        line += f", of test events: {figures['test_in_open_basket']:.1%}"
    return line


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
