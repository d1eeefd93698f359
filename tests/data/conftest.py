"""A log by hand, for the tests of what is done with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ancf_jax.data.interactions import Interactions


@pytest.fixture(scope="session")
def make_log() -> Callable[..., Interactions]:
    return _make_log


def _make_log(
    user: list[int],
    item: list[int],
    time: list[int] | None = None,
    clock: bool = True,
    **columns: Any,
) -> Interactions:
    """Events as given, already sorted; users u0.. and items i0.. as many as needed."""
    events = len(user)
    users = max(user) + 1
    items = max(item) + 1
    times = range(events) if time is None else time
    columns.setdefault("kind", np.zeros(events, np.int8))
    return Interactions(
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        time=np.array(times, np.int64),
        clock=clock,
        users=np.array([f"u{number}" for number in range(users)]),
        items=np.array([f"i{number}" for number in range(items)]),
        names=np.array([f"item {number}" for number in range(items)]),
        **columns,
    )
