"""What a run holds in memory from its first step on, known before anything is made."""

import math
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jax

from ancf_jax import data
from ancf_jax.config import as_flag, flatten, override, validate
from ancf_jax.errors import UserError
from ancf_jax.machine.memory import in_gigabytes, memory_of_device
from ancf_jax.machine.parallel import device_count, largest
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.models.registry import build, default_config
from ancf_jax.prepared import Prepared
from ancf_jax.training.optim import optimizer

FEWER_ROWS = "raise --split.min-user-events or --split.min-item-events"


def require_memory(prepared: Prepared) -> None:
    """Refuses a model whose parameters and optimiser's state alone are too large for a device.

    Raises:
        UserError: with the estimate, here or in another process of the run.
    """
    needed = state_bytes(prepared)
    at_hand = memory_of_device()
    if prepared.config.loop.tables == "divided":
        at_hand *= device_count()
    if largest(int(needed > at_hand)):
        raise UserError(
            "the parameters and the optimiser's state take "
            f"{in_gigabytes(needed)}, expected at most the {in_gigabytes(at_hand)} that a "
            f"device can hold; {_remedy(prepared)}"
        )


def state_bytes(prepared: Prepared) -> float:
    """Bytes of the parameters and the optimiser's state; inf where they cannot be counted."""
    try:
        shapes = jax.tree.leaves(_state_shapes(prepared))
    except OverflowError:
        return math.inf
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in shapes)


def _state_shapes(prepared: Prepared) -> Any:
    model = prepared.model
    if not isinstance(model, NeuralModel):
        return model.shapes()
    key = jax.random.key(0)
    variables = jax.eval_shape(model.init, key, prepared.catalogue)
    optim = prepared.config.optim
    moves = optimizer(optim, 1, model.step_scales, model.members)
    return variables, jax.eval_shape(moves.init, variables["params"])


def _remedy(prepared: Prepared) -> str:
    """What to do: to lower the setting above its default that takes most, if there is one."""
    settings = flatten(prepared.config)
    defaults = flatten(default_config(prepared.config.model))
    bytes_without = {}
    for name, value in settings.items():
        if value != defaults[name] and _is_size(name, value):
            with suppress(UserError):  # the default does not go with the other settings
                smaller = _changed(prepared, name, defaults[name])
                bytes_without[name] = state_bytes(smaller)
    if not bytes_without:
        return FEWER_ROWS
    costliest = min(bytes_without, key=lambda name: bytes_without[name])
    flag = as_flag(costliest, settings[costliest])[0]
    return f"lower {flag}"


def _is_size(name: str, value: Any) -> bool:
    """Whether a setting is a number, or numbers, of which there are more parameters."""
    is_number = isinstance(value, int | tuple) and not isinstance(value, bool)
    return is_number and (name.startswith("network.") or name == "loop.members")


def _changed(prepared: Prepared, name: str, value: Any) -> Prepared:
    """The same model with another value of one setting; without its parameters."""
    config = override(prepared.config, {name: value})
    validate(config)
    dataset = prepared.dataset
    model = build(config, data.sizes(dataset), dataset.interactions.clock)
    return replace(prepared, config=config, model=model)
