"""The search for better settings, journalled in the run folder, so that a killed one goes on where it was."""

import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ancf_jax.checkpoint import open_run
from ancf_jax.config import BASELINES, Config, override, to_json
from ancf_jax.data.dataset import resolve
from ancf_jax.errors import NumericalError, UserError
from ancf_jax.output import write_table
from ancf_jax.training.fit import Stopped, View, fit
from ancf_jax.training.space import command_of, import_optuna, parse_space, with_params

LOSS = "validation loss"


@dataclass(frozen=True)
class SearchConfig:
    """How `--search` looks for better settings."""

    trials: int = 12
    """Trainings in all; the first one is of the settings as they stand."""
    over: tuple[str, ...] = ()
    """What varies: FIELD=LOW:HIGH, FIELD=LOW:HIGH:log or FIELD=A,B (several values in one: 64+32,32); by default
    the learning rate, up to ten times either way, and the embedding size."""
    epochs: int = 0
    """Epochs of each trial; 0 for those of --epochs."""


def search(
    config: Config, settings: SearchConfig, view: View
) -> tuple[list[dict[str, Any]], str, str]:
    """Trains variants of `config`, drawn by TPE (Bergstra et al. 2011), for the lowest validation loss.

    Trial n, in RUN/trials/n, follows from the seed and the trials before it, and a killed one is resumed: so a killed
    search ends alike. Writes RUN/search.journal, search.csv and search.png. Returns a row per trial, best first, what
    they mean, and the command that trains the winner. Raises UserError where there is nothing to search, or Stopped.
    """
    config = override(config, {"run": resolve(config).run})
    base = override(config, {"epochs": settings.epochs or config.epochs})
    if (
        config.model in BASELINES
        or min(base.epochs, settings.trials) < 1
        or not config.split.validation
    ):
        needs = "--epochs, --tuning.trials and --split.validation above 0"
        raise UserError(
            f"--search needs a model that trains by epochs, with {needs}; set these"
        )
    space, start = parse_space(config, settings.over)
    study = _open(base, space)
    while (number := len(study.trials)) < settings.trials:
        params = _propose(study, space, config.seed) if number else start
        view.say(f"trial {number} of {settings.trials}: {params}")
        folder = Path(config.run) / "trials" / str(number)
        loss = _train(override(with_params(base, params), {"run": str(folder)}), view)
        study.add_trial(
            import_optuna().trial.create_trial(
                params=params, distributions=space, value=loss
            )
        )
        for part in ("checkpoints", "dataset"):
            shutil.rmtree(folder / part, ignore_errors=True)
    return _conclude(config, study.trials, space)


def _open(config: Config, space: dict[str, Any]) -> Any:
    """The study in the run folder, begun or gone on with; UserError where it was begun with other settings."""
    optuna, journal = import_optuna(), Path(config.run) / "search.journal"
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.touch()
        os.truncate(
            journal, journal.read_bytes().rfind(b"\n") + 1
        )  # a kill may have torn the last line
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(journal))
        )
        study = optuna.create_study(
            study_name="search", storage=storage, load_if_exists=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f'"{journal}" cannot be read and written ({error}); choose another --run'
        ) from None
    asked = json.loads(to_json(config)) | {"run": "", "tuning.over": str(space)}
    if changes := [
        name
        for name, value in study.user_attrs.get("settings", asked).items()
        if value != asked[name]
    ]:
        raise UserError(
            f'the search in "{config.run}" had other {", ".join(changes)}; keep them, or use another --run'
        )
    study.set_user_attr("settings", asked)
    return study


def _propose(study: Any, space: dict[str, Any], seed: int) -> dict[str, Any]:
    """What TPE would try next; the same for the same trials, for it is asked on a copy and seeded anew."""
    optuna = import_optuna()
    sampler = optuna.samplers.TPESampler(
        seed=seed * 1009 + len(study.trials), n_startup_trials=4
    )
    copy = optuna.create_study(sampler=sampler)
    copy.add_trials(study.trials)
    return copy.ask(space).params


def _train(config: Config, view: View) -> float:
    """The lowest validation loss of a training, resumed where it was killed; infinite where it diverged."""
    try:
        fit(config, (Path(config.run) / "config.json").exists(), view)
    except NumericalError as error:
        view.say(str(error))
        return math.inf
    except Stopped as error:
        raise Stopped(
            "stopped by a signal; the same command goes on with the search",
            error.exit_code,
        ) from None
    rows = open_run(config.run, view.say).read_metrics()
    return min(
        (row["validation_loss"] for row in rows if row["validation_loss"] is not None),
        default=math.inf,
    )


def _conclude(
    config: Config, trials: list[Any], space: dict[str, Any]
) -> tuple[list[dict[str, Any]], str, str]:
    ranked, run = sorted(trials, key=lambda trial: trial.value), Path(config.run)
    rows = [
        {"trial": trial.number, LOSS: trial.value} | trial.params for trial in ranked
    ]
    table = pd.DataFrame(rows)
    write_table(run / "search.csv", [table])
    _draw(table[np.isfinite(table[LOSS])], space, run / "search.png")
    best, default = ranked[0], trials[0].value
    verdict = f"the default stands: no trial has a {LOSS} below its {default:.4f}"
    if best.value < default:
        verdict = f"trial {best.number} beats the default (trial 0): {LOSS} {best.value:.4f} against {default:.4f}"
    winner = override(with_params(config, best.params), {"run": str(run / "winner")})
    shown = [
        row
        | {name: f"{row[name]:.4g}" for name in space if isinstance(row[name], float)}
        for row in rows
    ]
    return shown, verdict, command_of(winner)


def _draw(table: pd.DataFrame, space: dict[str, Any], path: Path) -> None:
    figure = Figure(figsize=(1 + 4 * len(space), 4), layout="constrained")
    for panel, (name, axis) in zip(
        figure.subplots(1, len(space), squeeze=False)[0], space.items(), strict=True
    ):
        panel.xaxis.update_units(
            getattr(axis, "choices", ())
        )  # texts, in the order of the choices
        panel.scatter(
            table[name], table[LOSS], c=np.where(table["trial"] > 0, "C0", "C1")
        )
        scale = {"xscale": "log"} if getattr(axis, "log", False) else {}
        panel.set(xlabel=name, ylabel=LOSS, title="orange: the default", **scale)
    figure.savefig(path, dpi=110)
