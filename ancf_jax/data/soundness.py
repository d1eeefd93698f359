"""What the saved events of a run have to be like: a file is held to it before it is used.

Every check raises ValueError, which says what was found and what was expected.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ancf_jax.data.interactions import UNUSED, Feature, Interactions

LAST_MINUTE = 2**31 - 1  # minutes are int32 on devices
_KINDS = {"whole numbers": "iu", "numbers": "f", "texts": "U"}


def require_fields(values: Any, form: type, what: str) -> None:
    """`values` is a dict of the fields of a dataclass, those with defaults maybe missing."""
    if not isinstance(values, dict):
        raise ValueError(f"{what} is no set of columns")
    fields = dataclasses.fields(form)
    unknown = values.keys() - {field.name for field in fields}
    missing = {field.name for field in fields if _is_needed(field)} - values.keys()
    for names, problem in ((unknown, "that is none"), (missing, "missing")):
        if names:
            raise ValueError(f"{what}: {min(names)[:60]} is a column {problem}")


def _is_needed(field: Any) -> bool:
    nothing = dataclasses.MISSING
    return field.default is nothing and field.default_factory is nothing


def require_column(
    name: str,
    column: Any,
    kind: str,
    shape: tuple[int | None, ...],
    low: float = -math.inf,
    high: float = math.inf,
) -> None:
    """A column of such a kind and shape (None: any length), all of it from `low` to `high`.

    NaN is within every range.
    """
    lengths = ["any" if length is None else f"{length}" for length in shape]
    expected = f"[{', '.join(lengths)}] {kind}"
    if not isinstance(column, np.ndarray):
        raise ValueError(f"{name} is no column, expected {expected}")
    has_shape = column.ndim == len(shape) and all(
        length in (None, found)
        for length, found in zip(shape, column.shape, strict=True)
    )
    if column.dtype.kind not in _KINDS[kind] or not has_shape:
        found = f"{column.dtype.name}{list(column.shape)}"
        raise ValueError(f"{name} is {found}, expected {expected}")
    if kind == "texts":
        return
    is_beyond = (column < low) | (column > high)
    if is_beyond.any():
        value = column[is_beyond][0]
        raise ValueError(f"{name} holds {value}, expected {low:,} to {high:,}")


def require_interactions(log: Interactions) -> None:
    """The columns agree in length, and every number of a row is one of a row that there is."""
    events = len(log.user) if isinstance(log.user, np.ndarray) and log.user.ndim else 0
    for name in ("users", "items"):
        require_column(name, getattr(log, name), "texts", (None,))
    users = len(log.users)
    items = len(log.items)
    require_column("names", log.names, "texts", (items,))
    _require_plain_values(log)
    last_time = LAST_MINUTE * 60 if log.clock else LAST_MINUTE
    tops = {"user": users, "item": items, "kind": len(log.kinds), "time": last_time + 1}
    for name, top in tops.items():
        column = getattr(log, name)
        require_column(name, column, "whole numbers", (events,), 0, top - 1)
    _require_order(log)
    if log.given_part is not None:
        require_part("given_part", log.given_part, events)
    for name in ("rating", "clicked", "dwell", "hover", "quantity"):
        if getattr(log, name) is not None:
            require_finite(name, getattr(log, name), events)
    _require_features("item_features", log.item_features, items)
    _require_features("user_features", log.user_features, users)
    if log.given_negatives is not None:
        shape = (users, None)
        negatives = log.given_negatives
        require_column(
            "given_negatives", negatives, "whole numbers", shape, -1, items - 1
        )


def require_part(name: str, part: Any, events: int) -> None:
    """A part of the split for each event."""
    require_column(name, part, "whole numbers", (events,), 0, UNUSED)


def require_finite(name: str, column: Any, events: int) -> None:
    """A number for each event, none of them infinite; NaN where there is none."""
    require_column(name, column, "numbers", (events,))
    if np.isinf(column).any():
        raise ValueError(f"{name} holds inf, expected finite numbers")


def _require_order(log: Interactions) -> None:
    is_same_user = np.diff(log.user) == 0
    if (np.diff(log.user) < 0).any() or (np.diff(log.time)[is_same_user] < 0).any():
        raise ValueError("events are in disorder, expected them by user and time")


def _require_plain_values(log: Interactions) -> None:
    """The values that are no columns."""
    counts = log.left_out
    problems = {
        "clock": not isinstance(log.clock, bool),
        "digest": not isinstance(log.digest, str),
        "kinds": not log.kinds or not _are_texts(log.kinds),
        "remarks": not _are_texts(log.remarks),
        "left_out": not isinstance(counts, dict)
        or not all(isinstance(count, int) for count in counts.values()),
    }
    for name, is_wrong in problems.items():
        if is_wrong:
            found = str(getattr(log, name))[:60]
            raise ValueError(f"{name} is {found}, which it cannot be")


def _are_texts(values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(one, str) for one in values)


def _require_features(what: str, features: Mapping[str, Feature], rows: int) -> None:
    for name, feature in features.items():
        require_column(f"values of {what} {name}", feature.values, "texts", (None,))
        last = len(feature.values) - 1
        ids = feature.ids
        require_column(f"{what} {name}", ids, "whole numbers", (rows, None), -1, last)
