"""Limits that stand on the fields of settings, as `annotated_types` say them."""

from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import BaseMetadata, Ge, Gt, Interval, Le, Lt

from ancf_jax.errors import UserError, nearest

Count = Annotated[int, Ge(0)]  # 0 or more
Size = Annotated[int, Ge(1)]  # 1 or more
Seed = Annotated[
    int, Interval(ge=0, le=2**32 - 1)
]  # what JAX and NumPy both tell apart
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Interval(ge=0, lt=1)]  # of something of which a part is left
Decay = Annotated[float, Interval(gt=0, le=1)]  # what a step leaves of a weight
Widths = tuple[Annotated[int, Ge(1)], ...]  # of the layers of an MLP

# What may choose the best checkpoint.
MetricName = Literal[
    "auto",
    "last",
    "loss",
    "hit_rate@10",
    "recall@10",
    "precision@10",
    "ndcg@10",
    "mrr@10",
    "auc",
    "rmse",
    "mae",
    "log_loss",
]


def check_value(flag: str, value: Any, hint: Any) -> None:
    """Raises UserError where a value is none of a setting's choices, or beyond its limits."""
    choices = get_args(hint) if get_origin(hint) is Literal else (value,)
    if value not in choices:
        known = ", ".join(map(str, choices))
        raise UserError(
            f'{flag} is "{value}"{nearest(str(value), choices)}, expected one of {known}'
        )
    values = value if isinstance(value, tuple) else (value,)
    for limit in limits_of(hint):
        if not all(holds(limit, one) for one in values):
            raise UserError(f"{flag} is {value}, expected {in_words(limit)}")


def require_layers(hidden: tuple[int, ...]) -> None:
    """Raises UserError where an MLP tower has no layers."""
    if not hidden:
        raise UserError(
            "--network.hidden is empty, expected the widths of the MLP tower, such as 32 16"
        )


def limits_of(hint: Any) -> list[BaseMetadata]:
    """The limits that a type carries, or that of the elements of a tuple."""
    own = [limit for limit in getattr(hint, "__metadata__", ()) if _is_limit(limit)]
    inner = [
        limit for part in getattr(hint, "__args__", ()) for limit in limits_of(part)
    ]
    return own + inner


def _is_limit(metadata: Any) -> bool:
    return isinstance(metadata, Ge | Gt | Le | Lt | Interval)


def _bounds(limit: Any) -> tuple[Any, ...]:
    """ge, gt, le and lt of a limit, None where it has no such bound."""
    return tuple(getattr(limit, name, None) for name in ("ge", "gt", "le", "lt"))


def holds(limit: Any, value: float) -> bool:
    """Whether a value keeps within a limit."""
    at_least, above, at_most, below = _bounds(limit)
    return (
        (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
    )


def in_words(limit: Any) -> str:
    """Such as "1 or more", "above 0", "from 0 to 1", "above 0 and at most 1"."""
    at_least, above, at_most, below = _bounds(limit)
    if at_most is None and below is None:
        return f"{at_least} or more" if above is None else f"above {above}"
    low = f"from {at_least}" if above is None else f"above {above}"
    link = "to" if above is None else "and"
    if below is not None:
        return f"{low} {link} below {below}"
    return f"{low} to {at_most}" if above is None else f"{low} and at most {at_most}"
