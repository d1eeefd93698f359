"""A setting has the type, the choices and the limits of its field, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge

from ancf_jax.config import override, validate
from ancf_jax.errors import UserError
from ancf_jax.limits import Widths, check_value
from ancf_jax.models.registry import default_config


@dataclass(frozen=True)
class Unheard:
    """A type that no flag has."""


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("no", bool, "True or False"),
        (1, bool, "True or False"),
        ("no", bool | None, "True or False or None"),
        (True, int, "a whole number"),
        (3.0, int, "a whole number"),
        ("3", Annotated[int, Ge(1)], "a whole number"),
        (None, int, "a whole number"),
        (False, float, "a number"),
        ("0.1", float, "a number"),
        (3, str, "text"),
        ("yes", Literal["yea", "nay"], "one of yea, nay"),
        (7, Widths, "a list, each a whole number"),
        ((7, "5"), Widths, "a list, each a whole number"),
        (("hour", "moon"), tuple[Literal["hour", "day"], ...], "a list, each one of"),
        ((7, 5), tuple[int, str], "a list, each a whole number"),
        ((7,), tuple[int, str], "a list, each a whole number"),
    ],
)
def test_a_value_of_another_type_is_refused(value: Any, hint: Any, expected: str):
    with pytest.raises(UserError) as refused:
        check_value("--it", value, hint)
    assert str(refused.value).startswith(f'--it is "{value}"')
    assert f"expected {expected}" in str(refused.value)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (False, bool),
        (None, bool | None),
        (3, int),
        (3, float),
        (2.5, Annotated[float, Ge(0)]),
        ("", str),
        ((), Widths),
        ((7, 5, 3), Widths),
        ((7, "a"), tuple[int, str]),
        (Unheard(), Unheard),
        ({"a": 1}, dict[str, int]),
    ],
)
def test_a_value_of_the_type_passes(value: Any, hint: Any):
    check_value("--it", value, hint)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("keep_seen", "no", '--keep-seen is "no", expected True or False or None'),
        ("network.layers", True, '--network.layers is "True", expected a whole number'),
        ("network.layers", 0, "--network.layers is 0, expected from 1 to 256"),
        ("network.heads", 0, "--network.heads is 0, expected 1 or more"),
        ("objective.negatives", 2**31, "expected from 0 to 2147483647"),
        ("network.temporal", ("moon",), "expected a list, each one of hour, weekday"),
        ("optim.clip", None, '--optim.clip is "None", expected a number'),
        ("table.features", (3,), "expected a list, each text"),
    ],
)
def test_settings_of_code_are_held_to_their_types(name: str, value: Any, message: str):
    with pytest.raises(UserError) as refused:
        validate(override(default_config("ancf"), {name: value}))
    assert message in str(refused.value)
