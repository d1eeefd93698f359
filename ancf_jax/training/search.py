"""The search for better settings, kept in a journal, so that a killed one goes on where it was."""

import json
import math
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ancf_jax.checkpoint import open_run
from ancf_jax.checkpoint.scratch import refuse_link, told_to_the_user
from ancf_jax.config import Config, override, to_json
from ancf_jax.data import build, facts, resolve
from ancf_jax.data.marked import empty_marked, make_marked
from ancf_jax.errors import NumericalError, UserError
from ancf_jax.models.registry import registered
from ancf_jax.output import write_table
from ancf_jax.training.adapt import adapt, suiting
from ancf_jax.training.fit import Check, fit, never
from ancf_jax.training.space import (
    Space,
    command_of,
    import_optuna,
    parse_space,
    with_params,
)
from ancf_jax.view import SILENT, View, Watcher, view_of

LOSS = "validation loss"
NOT_KEPT = "checkpoints|dataset"  # of a trial
RANDOM_TRIALS = 4  # before TPE has enough to go by


@dataclass(frozen=True)
class SearchConfig:
    """How `--search` looks for better settings."""

    trials: int = 12
    """Trainings in all; the first one is of the settings as they stand."""
    over: tuple[str, ...] = ()
    """What varies: FIELD=LOW:HIGH, FIELD=LOW:HIGH:log or FIELD=A,B (several values in one:
    64+32,32); by default the learning rate, up to ten times either way, and the embedding size."""
    epochs: int = 0
    """Epochs of each trial; 0 for those of --epochs."""


class Found(NamedTuple):
    """What a search has found.

    Attributes:
        rows: of each trial its number, loss and settings, best first.
        verdict: what they mean, in a sentence.
        command: trains the winner.
    """

    rows: list[dict[str, Any]]
    verdict: str
    command: str


def search(
    config: Config,
    settings: SearchConfig,
    view: Watcher = SILENT,
    check: Check = never,
    undecided: Collection[str] = (),
) -> Found:
    """Trains variants of `config` for the lowest validation loss.

    They are drawn by TPE (Bergstra et al. 2011). Trial n, in RUN/trials/n, follows from the seed
    and the trials before it, and a killed one is resumed: so a killed search ends alike. Writes
    RUN/search.journal, search.csv and search.png.

    Args:
        config: what varies, and the first trial.
        settings: of the search.
        view: where it shows how it goes.
        check: see `fit`.
        undecided: see `fit`.

    Raises:
        UserError: there is nothing to search, or the journal is of another search.
    """
    view = view_of(view)
    config = override(config, {"run": resolve(config).run})
    config, said = _adapted(config, undecided, view)
    base = override(config, {"epochs": settings.epochs or config.epochs})
    _require_losses(base, settings)
    space, start = parse_space(config, settings.over)
    study = _open(base, space)
    for number in range(len(study.trials), settings.trials):
        params = _propose(study, space, config.seed) if number else start
        view.say(f"trial {number} of {settings.trials}: {params}")
        folder = _trial_folder(Path(config.run), number)
        trial = override(with_params(base, params), {"run": str(folder)})
        loss = _train(trial, view, check)
        _add_trial(study, space, params, loss)
        empty_marked(folder, NOT_KEPT)
    return _conclude(config, study.trials, space, said)


def _trial_folder(run: Path, number: int) -> Path:
    """The folder of a trial, marked as ours unless it holds a run already.

    Raises:
        UserError: something else is there, or it cannot be written.
    """
    folder = run / "trials" / str(number)
    refuse_link(folder.parent)
    refuse_link(folder)
    if not _is_begun(folder):
        with told_to_the_user(folder):
            make_marked(folder, "move it away, or choose another --run")
    return folder


def _is_begun(folder: Path) -> bool:
    return (folder / "config.json").exists()


def _adapted(
    config: Config, undecided: Collection[str], view: View
) -> tuple[Config, Collection[str]]:
    """`config` as the data chooses, and the names of all settings that it might choose."""
    if not undecided:
        return config, ()
    dataset = build(config)
    names = suiting(config, facts(dataset))
    return adapt(config, dataset, undecided, view), names


def _require_losses(config: Config, settings: SearchConfig) -> None:
    """Raises UserError where trials would have no validation losses."""
    has_trials = config.epochs >= 1 and settings.trials >= 1
    fitted = registered(config.model).fitted
    if fitted or not has_trials or not config.split.validation:
        raise UserError(
            "--search needs a model that trains by epochs, with --epochs, --tuning.trials and "
            "--split.validation above 0; set these"
        )


def _open(config: Config, space: Space) -> Any:
    """The study in the run folder, begun or gone on with.

    Raises:
        UserError: it was begun with other settings, or cannot be read or written.
    """
    journal = Path(config.run) / "search.journal"
    try:
        study = _read_journal(journal)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f'"{journal}" cannot be read and written ({error}); choose another --run'
        ) from None
    settings = json.loads(to_json(config))
    settings["run"] = ""
    settings["tuning.over"] = str(space)
    saved = study.user_attrs.get("settings", settings)
    changes = [name for name, value in saved.items() if value != settings[name]]
    if changes:
        raise UserError(
            f'the search in "{config.run}" had other {", ".join(changes)}; keep them, '
            "or use another --run"
        )
    study.set_user_attr("settings", settings)
    return study


def _read_journal(journal: Path) -> Any:
    """The study of a journal, made where there is none; its last line may be torn by a kill."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.touch()
    end_of_whole_lines = journal.read_bytes().rfind(b"\n") + 1
    os.truncate(journal, end_of_whole_lines)
    storages = import_optuna().storages
    backend = storages.journal.JournalFileBackend(str(journal))
    return import_optuna().create_study(
        study_name="search",
        storage=storages.JournalStorage(backend),
        load_if_exists=True,
    )


def _propose(study: Any, space: Space, seed: int) -> dict[str, Any]:
    """What TPE would try next.

    The same for the same trials, for it is asked on a copy and seeded anew.
    """
    optuna = import_optuna()
    sampler = optuna.samplers.TPESampler(
        seed=(seed * 1009 + len(study.trials)) % 2**32, n_startup_trials=RANDOM_TRIALS
    )
    copy = optuna.create_study(sampler=sampler)
    copy.add_trials(study.trials)
    return copy.ask(space).params


def _train(config: Config, view: View, check: Check) -> float:
    """The lowest validation loss of a training, resumed where it was killed.

    Infinite where it diverged.
    """
    try:
        fit(config, resume=_is_begun(Path(config.run)), view=view, check=check)
    except NumericalError as error:
        view.say(str(error))
        return math.inf
    rows = open_run(config.run, view).read_metrics()
    losses = [row["validation_loss"] for row in rows]
    return min((loss for loss in losses if loss is not None), default=math.inf)


def _add_trial(study: Any, space: Space, params: dict[str, Any], loss: float) -> None:
    trial = import_optuna().trial.create_trial(
        params=params, distributions=space, value=loss
    )
    study.add_trial(trial)


def _conclude(
    config: Config, trials: list[Any], space: Space, said: Collection[str]
) -> Found:
    """Writes the table and the picture of a search, and says which trial is the best."""
    run = Path(config.run)
    ranked = sorted(trials, key=lambda trial: trial.value)
    rows = [
        {"trial": trial.number, LOSS: trial.value, **trial.params} for trial in ranked
    ]
    table = pd.DataFrame(rows)
    write_table(run / "search.csv", [table])
    _draw(table[np.isfinite(table[LOSS])], space, run / "search.png")
    winner = with_params(config, ranked[0].params)
    winner = override(winner, {"run": str(run / "winner")})
    return Found(
        rows=[_rounded(row, space) for row in rows],
        verdict=_verdict(ranked[0], trials[0].value),
        command=command_of(winner, said),
    )


def _verdict(best: Any, default: float) -> str:
    if best.value < default:
        return (
            f"trial {best.number} beats the default (trial 0): {LOSS} {best.value:.4f} "
            f"against {default:.4f}"
        )
    return f"the default stands: no trial has a {LOSS} below its {default:.4f}"


def _rounded(row: dict[str, Any], space: Space) -> dict[str, Any]:
    """A row with short numbers of the settings that vary, as text."""
    short = dict(row)
    for name in space:
        if isinstance(row[name], float):
            short[name] = f"{row[name]:.4g}"
    return short


def _draw(table: pd.DataFrame, space: Space, path: Path) -> None:
    """The loss against each setting that varies, as a PNG at `path`."""
    figure = Figure(figsize=(1 + 4 * len(space), 4), layout="constrained")
    panels = figure.subplots(1, len(space), squeeze=False)[0]
    for panel, (name, axis) in zip(panels, space.items(), strict=True):
        _draw_setting(panel, table, name, axis)
    figure.savefig(path, dpi=110)


def _draw_setting(panel: Axes, table: pd.DataFrame, name: str, axis: Any) -> None:
    # Choices are texts; they stand in the order in which they were given.
    panel.xaxis.update_units(getattr(axis, "choices", ()))
    color = np.where(table["trial"] > 0, "C0", "C1")
    panel.scatter(table[name], table[LOSS], c=color)
    panel.set(xlabel=name, ylabel=LOSS, title="orange: the default")
    if getattr(axis, "log", False):
        panel.set(xscale="log")
