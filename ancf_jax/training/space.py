"""The settings that a search varies, read from text, and the command that trains a winner."""

import re
import shlex
from collections.abc import Collection
from operator import attrgetter
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from ancf_jax.config import Config, as_flag, flatten, override, validate
from ancf_jax.errors import UserError, nearest
from ancf_jax.models.registry import default_config

Space = dict[str, Any]  # Optuna's distributions by setting
RANGE = re.compile(r"([-+.\de]+):([-+.\de]+)(:log)?")
SIZE_FACTORS = (0.25, 0.5, 1, 2)  # of the embedding size that are tried by default


def import_optuna() -> Any:
    """Optuna, which is an extra.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError(
            "--search needs Optuna, which is not installed: pip install optuna"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class _Setting(NamedTuple):
    """A setting that varies.

    Attributes:
        name: dotted.
        hint: its type.
        present: its value in the config that the search begins at.
    """

    name: str
    hint: Any
    present: Any


def parse_space(
    config: Config, over: tuple[str, ...] = ()
) -> tuple[Space, dict[str, Any]]:
    """What a search varies, and where it begins.

    Args:
        config: where it begins.
        over: texts such as "optim.learning_rate=0.001:0.1:log"; without any the learning rate and
            the embedding size vary.

    Returns:
        Optuna's distributions, and the value of `config` in each.

    Raises:
        UserError: a text is malformed, names no setting, or leaves out the value of `config`.
    """
    known = flatten(config)
    space: Space = {}
    start: dict[str, Any] = {}
    for text in over or _default_texts(config):
        field, _, spec = text.partition("=")
        name = field.replace("-", "_")
        if name not in known or name == "run":
            raise UserError(
                f'--tuning.over "{text}": "{name}" is no setting that can vary'
                f"{nearest(name, known)}"
            )
        setting = _Setting(name, _hint(config, name), known[name])
        try:
            space[name], start[name] = _axis(config, setting, spec)
        except (ValueError, LookupError):
            forms = f"{name}=LOW:HIGH, {name}=LOW:HIGH:log or {name}=A,B"
            raise UserError(
                f'--tuning.over "{text}" is none of {forms} with {known[name]} included'
            ) from None
    return space, start


def _default_texts(config: Config) -> tuple[str, ...]:
    rate = config.optim.learning_rate
    texts = [f"optim.learning_rate={rate / 10}:{rate * 10}:log"]
    size = getattr(config.network, "embedding_size", None)
    if size is not None:
        sizes = [str(max(1, int(size * factor))) for factor in SIZE_FACTORS]
        texts.append(f"network.embedding_size={','.join(sizes)}")
    return tuple(texts)


def _axis(config: Config, setting: _Setting, spec: str) -> tuple[Any, Any]:
    """Optuna's distribution of a setting, and the present value in it.

    Raises:
        ValueError, LookupError: the text is malformed, or leaves out the present value.
    """
    ends = RANGE.fullmatch(spec)
    if ends and setting.hint in (int, float):
        axis, start = _range(setting, ends)
        tried = (axis.low, axis.high)
    else:
        axis, start = _choices(setting, spec)
        tried = axis.choices
    for value in tried:
        validate(with_params(config, {setting.name: value}))
    if start is None:
        raise LookupError(f"{setting.present} is not included")
    return axis, start


def _range(setting: _Setting, ends: re.Match[str]) -> tuple[Any, Any]:
    distributions = import_optuna().distributions
    kind = distributions.FloatDistribution
    if setting.hint is int:
        kind = distributions.IntDistribution
    axis = kind(setting.hint(ends[1]), setting.hint(ends[2]), log=bool(ends[3]))
    is_within = axis.low <= setting.present <= axis.high
    return axis, setting.present if is_within else None


def _choices(setting: _Setting, spec: str) -> tuple[Any, Any]:
    """A choice among texts, for Optuna knows no tuples."""
    texts = list(dict.fromkeys(spec.split(",")))
    axis = import_optuna().distributions.CategoricalDistribution(texts)
    for text in texts:
        if _read(setting.hint, text) == setting.present:
            return axis, text
    return axis, None


def with_params(config: Config, params: dict[str, Any]) -> Config:
    """`config` with the values that Optuna drew: numbers, and choices as text."""
    changes = {}
    for name, value in params.items():
        is_choice = isinstance(value, str)
        changes[name] = _read(_hint(config, name), value) if is_choice else value
    return override(config, changes)


def command_of(config: Config, said: Collection[str] = ()) -> str:
    """The command line that trains `config`.

    Args:
        config: what is trained.
        said: settings that are given also where they are at their defaults, for what no flag gives
            the data may choose otherwise.
    """
    default = flatten(default_config(config.model))
    words = ["python", "train.py", "--model", config.model]
    for name, value in flatten(config).items():
        if value != default[name] or name in said:
            words += as_flag(name, value)
    return shlex.join(words)


def _hint(config: Config, name: str) -> Any:
    """The type of a setting, without its limits."""
    group, _, field = name.rpartition(".")
    owner = attrgetter(group)(config) if group else config
    return get_type_hints(type(owner))[field]


def _read(hint: Any, text: str) -> Any:
    """The value that a text stands for.

    Raises:
        ValueError, KeyError: the type has no such value.
    """
    if get_origin(hint) is tuple:
        element = get_args(hint)[0]
        return tuple(_read(element, part) for part in text.split("+") if part)
    if hint is bool:
        return {"true": True, "false": False}[text]
    names = get_args(hint)
    return {name: name for name in names}[text] if names else hint(text)
