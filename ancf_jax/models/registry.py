"""The models by name: their settings, how they are built, and what they need set differently.

A model of your own takes one call:

    register(Registration("mine", MySettings, build_mine, {"optim.learning_rate": 0.01}))

and then trains, evaluates and recommends under its name like those of the library.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ancf_jax.config import Config, flatten, from_text, override
from ancf_jax.errors import UserError, nearest
from ancf_jax.models.protocol import FittedModel, NeuralModel
from ancf_jax.objective.objective import objective_of
from ancf_jax.types import Facts, Sizes

Builder = Callable[[Config, Sizes, bool], NeuralModel | FittedModel]


@dataclass(frozen=True)
class Registration:
    """What the library knows of a model.

    Attributes:
        name: the value of `--model`.
        settings: frozen dataclass of the model's own settings, the flags `--network.*`. It may
            have a method `check()` that raises UserError where they contradict each other.
        build: makes the model from the config, the sizes of the data, and whether the data has
            a clock (real times).
        defaults: other settings, by dotted name, where the model differs from `Config`.
        fitted: whether it is fitted as a whole, a `FittedModel`, instead of trained by epochs.
        by_data: the settings, by dotted name, that suit what is known of the data; those that
            nobody gave are set so.
    """

    name: str
    settings: type
    build: Builder
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fitted: bool = False
    by_data: Callable[[Config, Facts], Mapping[str, Any]] | None = None


_REGISTERED: dict[str, Registration] = {}


def register(registration: Registration) -> Registration:
    """Makes a model known by its name; a later registration of the name takes its place."""
    _REGISTERED[registration.name] = registration
    return registration


def names() -> tuple[str, ...]:
    """The names of all models, in the order of their registration."""
    return tuple(_REGISTERED)


def registered(name: str) -> Registration:
    """The registration of `name`.

    Raises:
        UserError: no such model is registered.
    """
    if name not in _REGISTERED:
        known = ", ".join(_REGISTERED)
        raise UserError(
            f'there is no model "{name}"{nearest(name, _REGISTERED)}; choose one of {known}, '
            "or register it first (ancf_jax.register)"
        )
    return _REGISTERED[name]


def default_config(name: str) -> Config:
    """The defaults of one model.

    Raises:
        UserError: no such model is registered.
    """
    known = registered(name)
    config = Config(model=name, network=known.settings())
    return override(config, dict(known.defaults))


def from_json(text: str) -> Config:
    """The settings that `config.to_json` wrote; what it does not name is at its default.

    Raises:
        UserError: a setting or the model is unknown.
    """
    return from_settings(json.loads(text))


def from_settings(saved: Mapping[str, Any]) -> Config:
    """The settings of a run, by dotted name; what they do not name is at its default.

    Raises:
        UserError: a setting or the model is unknown.
    """
    config = default_config(saved["model"])
    defaults = flatten(config)
    for name in saved:
        if name not in defaults:
            raise UserError(
                f'there is no setting "{name}"{nearest(name, defaults)}; '
                "leave it out, or use the version that has it"
            )
    return override(config, defaults | from_text(saved))


def build(config: Config, sizes: Sizes, clock: bool) -> NeuralModel | FittedModel:
    """The model that `config` names, for data of these sizes; `clock`: it has real times.

    Raises:
        UserError: no such model is registered.
    """
    model = registered(config.model).build(config, sizes, clock)
    if isinstance(model, NeuralModel):
        link = objective_of(config.objective, sizes.items).link
        return replace(model, link=link, members=config.loop.members)
    return model
