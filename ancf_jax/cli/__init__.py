"""What the three scripts share: flags, errors in one sentence, signals, and the screen."""

from ancf_jax.cli.flags import expand, flag_value, parse
from ancf_jax.cli.process import run, stopped_by_signals
from ancf_jax.cli.screen import Screen, show
from ancf_jax.cli.settings import FittedConfig, not_given, parse_with_model

__all__ = [
    "FittedConfig",
    "Screen",
    "expand",
    "flag_value",
    "not_given",
    "parse",
    "parse_with_model",
    "run",
    "show",
    "stopped_by_signals",
]
