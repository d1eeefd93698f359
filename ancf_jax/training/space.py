"""The settings that a search varies, read from text, and the command line that a winner is trained with."""

import re
import shlex
from operator import attrgetter
from typing import Any, get_args, get_origin, get_type_hints

from ancf_jax.config import Config, default_config, flatten, override, validate
from ancf_jax.errors import UserError, nearest


def import_optuna() -> Any:
    """Optuna, which is an extra; UserError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError(
            '--search needs Optuna, which is not installed: pip install "ancf_jax[search]"'
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def parse_space(
    config: Config, over: tuple[str, ...] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Optuna distributions by field that `over` (else the default) asks for, and the place of `config` in each,
    without which, or where a text is malformed, UserError is raised."""
    rate, size = config.optim.learning_rate, config.network.embedding_size
    sizes = ",".join(str(max(1, int(size * factor))) for factor in (0.25, 0.5, 1, 2))
    default = (
        f"optim.learning_rate={rate / 10}:{rate * 10}:log",
        f"network.embedding_size={sizes}",
    )
    space, start, known = {}, {}, flatten(config)
    for text, (field, _, spec) in (
        (text, text.partition("=")) for text in over or default
    ):
        name = field.replace("-", "_")
        if name not in known or name == "run":
            raise UserError(
                f'--tuning.over "{text}": "{name}" is no setting that can vary{nearest(name, known)}'
            )
        try:
            space[name], start[name] = _axis(config, name, spec)
        except (ValueError, LookupError):
            forms = f"{name}=LOW:HIGH, {name}=LOW:HIGH:log or {name}=A,B"
            raise UserError(
                f'--tuning.over "{text}" is none of {forms} with {known[name]} included'
            ) from None
    return space, start


def _axis(config: Config, name: str, spec: str) -> tuple[Any, Any]:
    kinds, hint, present = (
        import_optuna().distributions,
        _hint(config, name),
        attrgetter(name)(config),
    )
    ends = re.fullmatch(r"([-+.\de]+):([-+.\de]+)(:log)?", spec)
    if ends and hint in (int, float):
        kind = kinds.IntDistribution if hint is int else kinds.FloatDistribution
        axis = kind(hint(ends[1]), hint(ends[2]), log=bool(ends[3]))
        tried, places = (
            (axis.low, axis.high),
            [present] if axis.low <= present <= axis.high else [],
        )
    else:
        axis = kinds.CategoricalDistribution(list(dict.fromkeys(spec.split(","))))
        tried, places = (
            axis.choices,
            [text for text in axis.choices if _read(hint, text) == present],
        )
    for value in tried:
        validate(with_params(config, {name: value}))
    return axis, places[0]


def with_params(config: Config, params: dict[str, Any]) -> Config:
    """`config` with the values that Optuna drew: numbers, and choices as text."""
    return override(
        config,
        {
            n: _read(_hint(config, n), v) if isinstance(v, str) else v
            for n, v in params.items()
        },
    )


def command_of(config: Config) -> str:
    """The command line that trains `config`."""
    words, default = (
        ["python", "train.py", "--model", config.model],
        flatten(default_config(config.model)),
    )
    for name, value in flatten(config).items():
        if value != default[name]:
            group, dot, field = name.replace("_", "-").rpartition(".")
            values = (
                ()
                if isinstance(value, bool)
                else value
                if isinstance(value, tuple)
                else (value,)
            )
            words += [
                f"--{group}{dot}{'no-' if value is False else ''}{field}",
                *map(str, values),
            ]
    return shlex.join(words)


def _hint(config: Config, name: str) -> Any:
    group, _, field = name.rpartition(".")
    return get_type_hints(type(attrgetter(group)(config) if group else config))[field]


def _read(hint: Any, text: str) -> Any:
    """The value that `text` stands for; ValueError or KeyError where `hint`, the field's type, has none such."""
    if get_origin(hint) is tuple:
        return tuple(_read(get_args(hint)[0], part) for part in text.split("+") if part)
    named = (
        {"true": True, "false": False}
        if hint is bool
        else {name: name for name in get_args(hint)}
    )
    return named[text] if named else hint(text)
