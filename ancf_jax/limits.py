"""Limits that stand on the fields of settings, as `annotated_types` say them."""

from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import BaseMetadata, Ge, Gt, Interval, Le, Lt

from ancf_jax.errors import UserError, nearest

Count = Annotated[int, Ge(0)]  # 0 or more
Size = Annotated[int, Ge(1)]  # 1 or more
Seed = Annotated[
    int, Interval(ge=0, le=2**32 - 1)
]  # what JAX and NumPy both tell apart
# Each is traced by itself, so that the compiler would never end with millions of them.
Layers = Annotated[int, Interval(ge=1, le=256)]
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
    """Raises UserError where a value has not a setting's type, or is beyond its limits.

    Args:
        flag: the setting, as messages name it.
        value: what it is.
        hint: the type of the field, with its limits and choices.
    """
    if not fits(value, hint):
        close = ""
        if get_origin(hint) is Literal:
            close = nearest(str(value), get_args(hint))
        raise UserError(f'{flag} is "{value}"{close}, expected {type_in_words(hint)}')
    values = value if isinstance(value, tuple) else (value,)
    for limit in limits_of(hint):
        if not all(holds(limit, one) for one in values):
            raise UserError(f"{flag} is {value}, expected {in_words(limit)}")


# What a value of a plain type is an instance of; a bool is no number, though Python says so.
_PLAIN = {bool: bool, int: Integral, float: Real, str: str, NoneType: NoneType}
_PLAIN_IN_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "None",
}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value has the type of a field; a type that settings do not have fits all."""
    kind = get_origin(hint)
    parts = get_args(hint)
    if kind is Annotated:
        return fits(value, parts[0])
    if kind is Literal:
        return value in parts
    if kind in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if kind is tuple:
        return isinstance(value, tuple) and _all_fit(value, parts)
    if hint in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, _PLAIN.get(hint, object))


def _all_fit(values: tuple[Any, ...], hints: tuple[Any, ...]) -> bool:
    """Whether the elements of a tuple have their types; `...` repeats the one before it."""
    if hints[-1] is Ellipsis:
        hints = hints[:1] * len(values)
    return len(values) == len(hints) and all(map(fits, values, hints))


def type_in_words(hint: Any) -> str:
    """Such as "a whole number", "one of mse, bpr", "a list, each text", "a number or None"."""
    kind = get_origin(hint)
    parts = get_args(hint)
    if kind is Annotated:
        return type_in_words(parts[0])
    if kind is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if kind in (Union, UnionType):
        return " or ".join(map(type_in_words, parts))
    if kind is tuple:
        return f"a list, each {type_in_words(parts[0])}"
    return _PLAIN_IN_WORDS.get(hint, str(hint))


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
