"""What the programs that do harm share: a small shop, small settings, and a table of outcomes."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ancf_jax.config import Config, flatten, override
from ancf_jax.models.registry import default_config

USERS = 31
ITEMS = 37
SMALL: dict[str, Any] = {
    "split.kind": "leave_one_out",
    "keep_seen": True,
    "network.embedding_size": 4,
    "network.mlp_size": 4,
    "network.hidden": (5, 3),
    "network.history_length": 7,
    "network.heads": 2,
    "network.layers": 1,
    "network.dual_positions": 1,
    "loop.batch_size": 8,
    "loop.patience": 0,
    "optim.learning_rate": 0.02,
}


def write_shop(folder: Path, seed: int = 0) -> None:
    """Events and products of a small shop, where shoppers take products of their own kind."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp", "rating", "dwell_seconds"])
        for user in range(USERS):
            for event in range(5 + user % 7):
                item = (user % 5 + 5 * int(rng.integers(0, 7))) % ITEMS
                time = 1_700_000_000 + 40_000 * event + int(rng.integers(0, 9_999))
                stars = int(rng.integers(1, 6))
                rows.writerow([f"u{user:03d}", f"p{item:03d}", time, stars, event + 1])
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "name", "department", "category"])
        for item in range(ITEMS):
            rows.writerow(
                [f"p{item:03d}", f"name {item}", item % 3, f"kind {item % 5}"]
            )


def small_config(model: str, data: Path, run: Path, **changes: Any) -> Config:
    """Settings of a model small enough to be trained in seconds.

    Args:
        model: its name.
        data: the shop.
        run: folder of the run.
        **changes: further settings, with dots written `__`.
    """
    config = default_config(model)
    known = flatten(config)
    small = {name: value for name, value in SMALL.items() if name in known}
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return override(config, {**small, "data": str(data), "run": str(run), **named})


def show_outcomes(
    title: str, outcomes: Counter[tuple[str, str]], bad: Iterable[str]
) -> int:
    """Prints how often what was harmed had which outcome; the number of bad ones."""
    kinds = sorted({kind for kind, _ in outcomes})
    names = sorted({name for _, name in outcomes})
    print(title)
    print("| harmed | " + " | ".join(names) + " |")
    print("| --- |" + " --- |" * len(names))
    for kind in kinds:
        counts = [f"{outcomes[kind, name]:,}" for name in names]
        print(f"| {kind} | " + " | ".join(counts) + " |")
    wrong = sum(count for (_, name), count in outcomes.items() if name in set(bad))
    print(f"{outcomes.total():,} in all, {wrong:,} wrong ({', '.join(bad)})")
    return wrong


def leave(wrong: int) -> None:
    """Ends the process, with code 1 where something was wrong."""
    sys.stdout.flush()
    sys.exit(1 if wrong else 0)
