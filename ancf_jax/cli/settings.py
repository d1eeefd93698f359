"""The flags of training, which depend on the model: every model shows what it uses."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tyro.conf import Fixed, Suppress

from ancf_jax.cli.flags import flag_value, parse
from ancf_jax.config import (
    Config,
    LoopConfig,
    Network,
    ObjectiveConfig,
    OptimConfig,
    flatten,
)
from ancf_jax.models.registry import default_config, names, registered

TRAINING_ALONE = ("objective", "optim", "loop")


@dataclass(frozen=True)
class FittedConfig(Config[Network]):
    """The settings of a model that is fitted as a whole: without flags for training."""

    objective: Suppress[Fixed[ObjectiveConfig]] = field(default_factory=ObjectiveConfig)
    optim: Suppress[Fixed[OptimConfig]] = field(default_factory=OptimConfig)
    loop: Suppress[Fixed[LoopConfig]] = field(default_factory=LoopConfig)


def parse_with_model(command: Any, argv: Sequence[str], description: str) -> Any:
    """The flags of `argv`, over the defaults of the model that `--model` names.

    Args:
        command: a generic dataclass; its parameter is the type of its field `config`, and its
            other fields have defaults.
        argv: the words of the command line.
        description: what the help says first.

    Raises:
        UserError: there is no such model.
    """
    model = flag_value(argv, "--model") or Config.model
    config = default_config(model)
    settings = registered(model).settings
    form = FittedConfig if registered(model).fitted else Config
    default = command(form(**vars(config)))
    try:
        parsed = parse(command[form[settings]], default, argv, description)
        return replace(parsed, config=Config(**vars(parsed.config)))
    except SystemExit as stop:
        if stop.code:
            for hint in _hints(argv, model):
                print(hint, file=sys.stderr)
        raise


def not_given(argv: Sequence[str]) -> tuple[str, ...]:
    """The settings, by dotted name, of the model of `argv` that no flag of `argv` gives."""
    model = flag_value(argv, "--model") or Config.model
    given = {_flag_of(word) for word in argv}
    return tuple(
        name
        for name in flatten(default_config(model))
        if _flag_of(f"--{name}") not in given
    )


def _flag_of(word: str) -> str:
    """The flag of a word such as --optim.learning_rate=0.1 or --network.no-mlp-path."""
    return word.split("=")[0].replace("_", "-").replace(".no-", ".")


def _hints(argv: Sequence[str], model: str) -> Iterator[str]:
    """A sentence for every flag of `argv` that other models have, but not this one."""
    flags = {name: _flags_of(name) for name in names()}
    for word in argv:
        flag = _flag_of(word)
        owners = [name for name in names() if flag in flags[name]]
        if owners and model not in owners:
            yield f"{flag} is a setting of {', '.join(owners)}; {model} does not have it"


def _flags_of(model: str) -> set[str]:
    """The flags of the settings that a model uses."""
    used = list(flatten(default_config(model)))
    if registered(model).fitted:
        used = [name for name in used if name.split(".")[0] not in TRAINING_ALONE]
    return {_flag_of(f"--{name}") for name in used}
