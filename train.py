"""Train a model: `python train.py --model NAME --help` lists every setting of the model."""

import os
import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    # Ctrl-C during the imports below, which take seconds, leaves without a traceback.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

import tyro

from ancf_jax import cli
from ancf_jax.data import TEST, known_parts, resolve
from ancf_jax.machine.determinism import make_deterministic
from ancf_jax.machine.parallel import is_first, ranking_devices
from ancf_jax.models.registry import names
from ancf_jax.report import report_on_test
from ancf_jax.runs import load
from ancf_jax.training.fit import fit
from ancf_jax.training.search import SearchConfig, search

Settings = TypeVar("Settings")  # a Config, with the settings of one model


@dataclass(frozen=True)
class Command(Generic[Settings]):
    """What train.py is asked to do."""

    config: Annotated[Settings, tyro.conf.arg(name="")]
    resume: bool = False
    """Go on with the run in the folder, after its latest checkpoint."""
    strict: bool = False
    """Refuse to go on where the latest checkpoint is damaged, instead of taking the one before."""
    search: bool = False
    """Look for better settings, as --tuning says, instead of training once; a search that was
    stopped goes on."""
    tuning: SearchConfig = field(default_factory=SearchConfig)
    deterministic: bool = False
    """Train to the same bits each time on a GPU, too, which takes longer; a CPU always does."""


def parse(argv: list[str]) -> Command[Any]:
    """The command that `argv` gives, over the defaults of the model that it names.

    Raises:
        UserError: there is no such model.
    """
    description = (
        f"Train a model on shop events: {', '.join(names())}. "
        "The help lists the settings of the one that --model names."
    )
    return cli.parse_with_model(Command, argv, description)


def main(argv: list[str], screen: cli.Screen) -> None:
    """Trains, then shows the figures on the test events; or searches, then shows the trials."""
    command = parse(argv)
    if command.deterministic:
        make_deterministic()
    undecided = cli.not_given(argv)
    if command.search:
        search_settings(command, undecided, screen)
    else:
        train(command, undecided, screen)


def train(
    command: Command[Any], undecided: tuple[str, ...], screen: cli.Screen
) -> None:
    """Trains, then shows the figures on the test events."""
    config = resolve(command.config)
    stopped = f"stopped by a signal; resume with the same command and --run {config.run} --resume"
    with cli.stopped_by_signals(stopped) as check:
        fitted = fit(config, command.resume, screen, check, undecided, command.strict)
    if not is_first():
        return
    run = load(fitted.config.run, known_parts(TEST), screen, ranking_devices())
    cli.show(*report_on_test(run, screen))


def search_settings(
    command: Command[Any], undecided: tuple[str, ...], screen: cli.Screen
) -> None:
    """Searches, then shows the trials and the command that trains the winner."""
    stopped = "stopped by a signal; the same command goes on with the search"
    with cli.stopped_by_signals(stopped) as check:
        found = search(command.config, command.tuning, screen, check, undecided)
    title = f"Trials on {command.config.data}, lowest validation loss first"
    cli.show(found.rows, title)
    print(f"{found.verdict}\ntrain the winner with: {found.command}")


if __name__ == "__main__":
    cli.run(main)
