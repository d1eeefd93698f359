"""Train a model: `python train.py --help` lists every setting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from ancf_jax import cli
from ancf_jax.config import Config, default_config
from ancf_jax.data.dataset import known_parts
from ancf_jax.data.interactions import TEST
from ancf_jax.report import report_on_test
from ancf_jax.runs import load
from ancf_jax.training.fit import fit
from ancf_jax.training.parallel import everywhere, is_first
from ancf_jax.training.search import SearchConfig, search


@dataclass(frozen=True)
class Command:
    """What train.py is asked to do."""

    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)
    resume: bool = False
    """Go on with the run in the folder, after its latest checkpoint."""
    search: bool = False
    """Look for better settings, as --tuning says, instead of training once; a search that was stopped goes on."""
    tuning: SearchConfig = field(default_factory=SearchConfig)


def main(argv: list[str], screen: cli.Screen) -> None:
    """Trains, then shows the figures on the test events; or searches, then shows the trials."""
    default = Command(default_config(cli.flag_value(argv, "--model") or "ancf"))
    command = cli.parse(Command, default, argv, "Train a model on shop events.")
    if command.search:
        rows, verdict, winner = search(command.config, command.tuning, screen)
        cli.show(rows, f"Trials on {command.config.data}, lowest validation loss first")
        print(f"{verdict}\ntrain the winner with: {winner}")
        return
    fitted = fit(command.config, command.resume, screen)
    if not is_first():
        return

    def progress(done: int, total: int) -> None:
        screen.progress("testing", done, total)

    run = load(fitted.config.run, known_parts(TEST), screen.say, everywhere())
    cli.show(*report_on_test(run, progress))


if __name__ == "__main__":
    cli.run(main)
