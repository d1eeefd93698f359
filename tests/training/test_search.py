"""Searches: what they find, and that a stopped one goes on as if it had never stopped."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ancf_jax.config import Config, override, to_json
from ancf_jax.errors import NumericalError, Stopped, UserError
from ancf_jax.models.registry import default_config
from ancf_jax.training import search as searching
from ancf_jax.training.fit import Check, never
from ancf_jax.training.search import LOSS, SearchConfig, search
from ancf_jax.view import View

BEST_RATE = 0.013


class Remembering:
    """A view that remembers what was said, and dies when `deadly` is."""

    def __init__(self, deadly: str = ""):
        self.said: list[str] = []
        self.deadly = deadly

    def say(self, message: str) -> None:
        self.said.append(message)
        if self.deadly and self.deadly in message:
            raise KeyboardInterrupt

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        pass


def planted_fit(config: Config, resume: bool, view: View, check: Check = never) -> None:
    """A training whose validation loss is lowest at BEST_RATE, and which diverges above 0.018."""
    folder = Path(config.run)
    (folder / "config.json").write_text(to_json(config))
    (folder / "checkpoints").mkdir()
    loss = math.log(config.optim.learning_rate / BEST_RATE) ** 2
    lines = []
    for epoch in range(1, config.epochs + 1):
        row = {"epoch": epoch, "validation_loss": loss + abs(epoch - 2)}
        lines.append(json.dumps(row) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines))
    if config.optim.learning_rate > 0.018:
        raise NumericalError("the loss is no number")


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setattr(searching, "fit", planted_fit)


def config_in(folder: Path, **changes) -> Config:
    settings = {
        "run": str(folder / "run"),
        "epochs": 3,
        "optim.learning_rate": 0.002,
        **changes,
    }
    return override(default_config("mf"), settings)


def trials(count: int, *over: str) -> SearchConfig:
    return SearchConfig(trials=count, over=over)


def test_the_search_finds_a_planted_learning_rate(planted, tmp_path):
    rows, verdict, command = search(config_in(tmp_path), trials(12))
    default = math.log(0.002 / BEST_RATE) ** 2
    losses = [row[LOSS] for row in rows]
    assert len(losses) == 12
    assert losses == sorted(losses)
    of_default = [row[LOSS] for row in rows if row["trial"] == 0]
    assert of_default == [pytest.approx(default)]
    assert rows[0][LOSS] < default / 10
    assert verdict.startswith(f"trial {rows[0]['trial']} beats the default")
    words = command.split()
    rate = float(words[words.index("--optim.learning-rate") + 1])
    assert math.log(rate / BEST_RATE) ** 2 == pytest.approx(rows[0][LOSS])
    assert words[words.index("--run") + 1] == str(tmp_path / "run" / "winner")


def test_the_default_stands_where_nothing_is_better(planted, tmp_path):
    config = config_in(tmp_path, **{"optim.learning_rate": BEST_RATE})
    rows, verdict, command = search(config, trials(6))
    assert rows[0]["trial"] == 0
    expected = "the default stands: no trial has a validation loss below its 0.0000"
    assert verdict == expected
    assert "--network.embedding-size" not in command


def test_a_search_leaves_a_table_a_picture_and_no_checkpoints(planted, tmp_path):
    rows, _, _ = search(config_in(tmp_path), trials(5))
    run = tmp_path / "run"
    table = pd.read_csv(run / "search.csv")
    varied = ["optim.learning_rate", "network.embedding_size"]
    assert list(table) == ["trial", LOSS, *varied]
    np.testing.assert_allclose(table[LOSS], [row[LOSS] for row in rows])
    assert (run / "search.png").read_bytes().startswith(b"\x89PNG")
    folders = sorted(path.name for path in (run / "trials").iterdir())
    assert folders == ["0", "1", "2", "3", "4"]
    assert not list(run.rglob("checkpoints"))


def test_what_a_person_put_among_the_trials_stays(planted, tmp_path):
    foreign = tmp_path / "run" / "trials" / "1" / "checkpoints"
    foreign.mkdir(parents=True)
    (foreign / "diary").write_text("dear diary")
    with pytest.raises(UserError, match=r'trials/1" is a folder that ancf_jax did not'):
        search(config_in(tmp_path), trials(2))
    assert (foreign / "diary").read_text() == "dear diary"


def test_a_run_of_a_person_among_the_trials_keeps_its_checkpoints(tmp_path):
    foreign = tmp_path / "trials" / "0"
    (foreign / "checkpoints").mkdir(parents=True)
    (foreign / "config.json").write_text("{}")
    folder = searching._trial_folder(tmp_path, 0)
    searching.empty_marked(folder, searching.NOT_KEPT)
    assert (foreign / "checkpoints").is_dir()


@pytest.mark.parametrize("link", ["trials", "trials/0"])
def test_a_link_among_the_trials_is_refused(planted, tmp_path, link):
    home = tmp_path / "home"
    home.mkdir()
    place = tmp_path / "run" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(home)
    with pytest.raises(UserError, match="is a link"):
        search(config_in(tmp_path), trials(2))
    assert list(home.iterdir()) == []


def test_a_link_within_a_trial_goes_without_what_it_leads_to(
    planted, tmp_path, monkeypatch
):
    home = tmp_path / "home"
    home.mkdir()
    (home / "diary").write_text("dear diary")

    def fit(config: Config, *arguments, **options) -> None:
        planted_fit(config, *arguments, **options)
        (Path(config.run) / "dataset").symlink_to(home)

    monkeypatch.setattr(searching, "fit", fit)
    search(config_in(tmp_path), trials(1))
    assert (home / "diary").read_text() == "dear diary"
    assert not (tmp_path / "run" / "trials" / "0" / "dataset").is_symlink()


def test_a_diverged_trial_comes_last_and_the_search_goes_on(planted, tmp_path):
    settings = trials(6, "optim.learning_rate=0.002,0.5")
    rows, verdict, _ = search(config_in(tmp_path), settings)
    diverged = [row[LOSS] for row in rows if row["optim.learning_rate"] == "0.5"]
    assert diverged
    assert diverged == [math.inf] * len(diverged)
    assert rows[0]["optim.learning_rate"] == "0.002"
    assert "default stands" in verdict


def test_more_trials_go_on_and_other_settings_are_refused(planted, tmp_path):
    config = config_in(tmp_path)
    view = Remembering()
    search(config, trials(3))
    rows, _, _ = search(config, trials(5), view)
    assert len(rows) == 5
    begun = [line.split()[1] for line in view.said if line.startswith("trial")]
    assert begun == ["3", "4"]
    straight, _, _ = search(config_in(tmp_path / "straight"), trials(5))
    assert rows == straight
    with pytest.raises(UserError, match=r"had other optim\.clip; keep"):
        search(override(config, {"optim.clip": 3.0}), trials(5))
    other = SearchConfig(over=("optim.clip=0:3",), epochs=2)
    with pytest.raises(UserError, match=r"had other epochs, tuning\.over; keep"):
        search(config, other)


def test_a_torn_line_of_the_journal_is_cut_and_rubbish_is_refused(planted, tmp_path):
    config = config_in(tmp_path)
    journal = tmp_path / "run" / "search.journal"
    search(config, trials(3))
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"wor')
    search(config, trials(4))
    assert journal.read_bytes().startswith(whole + b'{"op_code"')
    rows, _, _ = search(config, trials(4))
    assert len(rows) == 4
    journal.write_bytes(b"rubbish\n" + whole)
    with pytest.raises(UserError, match=r"search\.journal"):
        search(config, trials(4))


@pytest.mark.parametrize(
    ("model", "epochs", "count", "validation"),
    [
        ("popularity", 3, 4, 0.1),
        ("ease", 3, 4, 0.1),
        ("mf", 0, 4, 0.1),
        ("mf", 3, 0, 0.1),
        ("mf", 3, 4, 0.0),
    ],
)
def test_a_search_without_validation_losses_is_refused(
    model, epochs, count, validation, tmp_path
):
    changes = {
        "run": str(tmp_path / "run"),
        "epochs": epochs,
        "split.validation": validation,
    }
    config = override(default_config(model), changes)
    with pytest.raises(UserError, match="trains by epochs"):
        search(config, trials(count))
    assert not (tmp_path / "run").exists()


def write_events(path: Path) -> None:
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(31), 7)
    days = np.tile(np.arange(7), 31)
    items = [rng.choice(17, 7, replace=False) for _ in range(31)]
    columns = {
        "user_id": users,
        "item_id": np.concatenate(items),
        "timestamp": 1_700_000_000 + 86_400 * days + users,
    }
    pd.DataFrame(columns).to_csv(path, index=False)


def test_a_killed_trial_is_tried_again_with_the_same_settings(
    planted, monkeypatch, tmp_path
):
    straight, _, _ = search(config_in(tmp_path / "straight"), trials(6))

    def killed_fit(config: Config, resume: bool, view: View, check: Check) -> None:
        planted_fit(config, resume, view)
        if config.run.endswith("4"):
            raise KeyboardInterrupt

    def resumed_fit(config: Config, resume: bool, view: View, check: Check) -> None:
        assert resume == config.run.endswith("4")
        if resume:
            saved = (Path(config.run) / "config.json").read_text()
            assert saved == to_json(config)
        else:
            planted_fit(config, resume, view)

    monkeypatch.setattr(searching, "fit", killed_fit)
    with pytest.raises(KeyboardInterrupt):
        search(config_in(tmp_path), trials(6))
    monkeypatch.setattr(searching, "fit", resumed_fit)
    rows, _, _ = search(config_in(tmp_path), trials(6))
    assert rows == straight


@pytest.fixture
def small_data(tmp_path) -> Config:
    """Settings of a search with real trainings."""
    events = tmp_path / "interactions.csv"
    write_events(events)
    return config_in(tmp_path, **{"data": str(events), "loop.batch_size": 64})


def test_a_killed_search_goes_on_inside_the_training(small_data):
    settings = SearchConfig(trials=1, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        search(small_data, settings, Remembering("epoch   2"))
    view = Remembering()
    rows, _, command = search(small_data, settings, view)
    assert "resuming after epoch 1" in view.said
    metrics = Path(small_data.run) / "trials" / "0" / "metrics.jsonl"
    written = metrics.read_text().splitlines()
    losses = [json.loads(line)["validation_loss"] for line in written]
    assert rows[0][LOSS] == min(losses)
    # The winner trains as long as --epochs says, not as a trial.
    assert "--epochs 3" in command


def test_a_check_stops_the_search(small_data):
    """It is asked inside the trainings; the search goes on from there."""
    view = Remembering()

    def check() -> None:
        if any(line.startswith("trial 1") for line in view.said):
            raise Stopped("stopped by a test", 143)

    with pytest.raises(Stopped, match="by a test"):
        search(small_data, trials(2), view, check)
    rows, _, _ = search(small_data, trials(2))
    assert sorted(row["trial"] for row in rows) == [0, 1]
