from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ancf_jax.config import Config, default_config, override
from ancf_jax.errors import NumericalError, UserError
from ancf_jax.training import search as searching
from ancf_jax.training.search import LOSS, SearchConfig, search

BEST_RATE = 0.013


class Silent:
    """A view that remembers what was said, and dies when `deadly` has been said so often."""

    def __init__(self, deadly: str = "", times: int = 0):
        self.said: list[str] = []
        self.deadly, self.times = deadly, times

    def say(self, message: str) -> None:
        self.said.append(message)
        if self.times and sum(self.deadly in line for line in self.said) == self.times:
            raise KeyboardInterrupt

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        pass


def planted_fit(config: Config, resume: bool, view: Silent) -> None:
    """A training whose best validation loss is least at BEST_RATE, and which diverges above 0.018."""
    folder = Path(config.run)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(searching.to_json(config))
    (folder / "checkpoints").mkdir()
    loss = math.log(config.optim.learning_rate / BEST_RATE) ** 2
    rows = [
        {"epoch": epoch, "validation_loss": loss + abs(epoch - 2)}
        for epoch in range(1, config.epochs + 1)
    ]
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )
    if config.optim.learning_rate > 0.018:
        raise NumericalError("the loss is no number")


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setattr(searching, "fit", planted_fit)


def config_in(folder: Path, **changes) -> Config:
    return override(
        default_config("mf"),
        {"run": str(folder / "run"), "epochs": 3, "optim.learning_rate": 0.002}
        | changes,
    )


def test_the_search_finds_a_planted_learning_rate(planted, tmp_path):
    rows, verdict, command = search(
        config_in(tmp_path), SearchConfig(trials=12), Silent()
    )
    default = math.log(0.002 / BEST_RATE) ** 2
    assert len(rows) == 12
    assert [row[LOSS] for row in rows] == sorted(row[LOSS] for row in rows)
    assert next(row for row in rows if row["trial"] == 0)[LOSS] == pytest.approx(
        default
    )
    assert rows[0][LOSS] < default / 10
    assert verdict.startswith(f"trial {rows[0]['trial']} beats the default")
    words = command.split()
    rate = float(words[words.index("--optim.learning-rate") + 1])
    assert math.log(rate / BEST_RATE) ** 2 == pytest.approx(rows[0][LOSS])
    assert words[words.index("--run") + 1] == str(tmp_path / "run" / "winner")


def test_the_default_stands_where_nothing_is_better(planted, tmp_path):
    config = config_in(tmp_path, **{"optim.learning_rate": BEST_RATE})
    rows, verdict, command = search(config, SearchConfig(trials=6), Silent())
    assert rows[0]["trial"] == 0
    assert (
        verdict == "the default stands: no trial has a validation loss below its 0.0000"
    )
    assert "--network.embedding-size" not in command


def test_a_search_leaves_a_table_a_picture_and_no_checkpoints(planted, tmp_path):
    rows, _, _ = search(config_in(tmp_path), SearchConfig(trials=5), Silent())
    table = pd.read_csv(tmp_path / "run" / "search.csv")
    assert list(table) == [
        "trial",
        LOSS,
        "optim.learning_rate",
        "network.embedding_size",
    ]
    np.testing.assert_allclose(table[LOSS], [row[LOSS] for row in rows])
    assert (tmp_path / "run" / "search.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "run" / "trials").iterdir()) == [
        "0",
        "1",
        "2",
        "3",
        "4",
    ]
    assert not list((tmp_path / "run").rglob("checkpoints"))


def test_a_diverged_trial_comes_last_and_the_search_goes_on(planted, tmp_path):
    over = ("optim.learning_rate=0.002,0.5",)
    rows, verdict, _ = search(
        config_in(tmp_path), SearchConfig(trials=6, over=over), Silent()
    )
    diverged = [row[LOSS] for row in rows if row["optim.learning_rate"] == "0.5"]
    assert diverged == [math.inf] * len(diverged) != []
    assert rows[0]["optim.learning_rate"] == "0.002"
    assert "default stands" in verdict


def test_more_trials_go_on_and_other_settings_are_refused(planted, tmp_path):
    config, view = config_in(tmp_path), Silent()
    search(config, SearchConfig(trials=3), Silent())
    rows, _, _ = search(config, SearchConfig(trials=5), view)
    assert len(rows) == 5
    assert [line.split()[1] for line in view.said if line.startswith("trial")] == [
        "3",
        "4",
    ]
    straight, _, _ = search(
        config_in(tmp_path / "straight"), SearchConfig(trials=5), Silent()
    )
    assert rows == straight
    with pytest.raises(UserError, match=r"had other optim\.clip; keep"):
        search(override(config, {"optim.clip": 3.0}), SearchConfig(trials=5), Silent())
    with pytest.raises(UserError, match=r"had other epochs, tuning\.over; keep"):
        search(
            config, SearchConfig(over=("network.dropout=0:0.3",), epochs=2), Silent()
        )


def test_a_torn_line_of_the_journal_is_cut_and_rubbish_is_refused(planted, tmp_path):
    config, journal = config_in(tmp_path), tmp_path / "run" / "search.journal"
    search(config, SearchConfig(trials=3), Silent())
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"wor')
    search(config, SearchConfig(trials=4), Silent())
    assert journal.read_bytes().startswith(whole + b'{"op_code"')
    rows, _, _ = search(config, SearchConfig(trials=4), Silent())
    assert len(rows) == 4
    journal.write_bytes(b"rubbish\n" + whole)
    with pytest.raises(UserError, match=r"search\.journal"):
        search(config, SearchConfig(trials=4), Silent())


@pytest.mark.parametrize(
    ("model", "epochs", "trials", "validation"),
    [
        ("popularity", 3, 4, 0.1),
        ("ease", 3, 4, 0.1),
        ("mf", 0, 4, 0.1),
        ("mf", 3, 0, 0.1),
        ("mf", 3, 4, 0.0),
    ],
)
def test_a_search_without_validation_losses_is_refused(
    model, epochs, trials, validation, tmp_path
):
    changes = {
        "run": str(tmp_path / "run"),
        "epochs": epochs,
        "split.validation": validation,
    }
    config = override(default_config(model), changes)
    with pytest.raises(UserError, match="trains by epochs"):
        search(config, SearchConfig(trials=trials), Silent())
    assert not (tmp_path / "run").exists()


def write_events(path: Path) -> None:
    rng = np.random.default_rng(0)
    users, steps = np.repeat(np.arange(31), 7), np.tile(np.arange(7), 31)
    items = np.concatenate([rng.choice(17, 7, replace=False) for _ in range(31)])
    columns = {
        "user_id": users,
        "item_id": items,
        "timestamp": 1_700_000_000 + 86_400 * steps + users,
    }
    pd.DataFrame(columns).to_csv(path, index=False)


def test_a_killed_trial_is_tried_again_with_the_same_settings(
    planted, monkeypatch, tmp_path
):
    straight, _, _ = search(
        config_in(tmp_path / "straight"), SearchConfig(trials=6), Silent()
    )

    def killed_fit(config: Config, resume: bool, view: Silent) -> None:
        planted_fit(config, resume, view)
        if config.run.endswith("4"):
            raise KeyboardInterrupt

    def resumed_fit(config: Config, resume: bool, view: Silent) -> None:
        assert resume == config.run.endswith("4")
        if resume:
            assert (Path(config.run) / "config.json").read_text() == searching.to_json(
                config
            )
        else:
            planted_fit(config, resume, view)

    monkeypatch.setattr(searching, "fit", killed_fit)
    with pytest.raises(KeyboardInterrupt):
        search(config_in(tmp_path), SearchConfig(trials=6), Silent())
    monkeypatch.setattr(searching, "fit", resumed_fit)
    rows, _, _ = search(config_in(tmp_path), SearchConfig(trials=6), Silent())
    assert rows == straight


def test_a_killed_search_goes_on_inside_the_training(tmp_path):
    write_events(tmp_path / "interactions.csv")
    config = config_in(
        tmp_path, **{"data": str(tmp_path / "interactions.csv"), "loop.batch_size": 64}
    )
    settings, view = SearchConfig(trials=1, epochs=2), Silent()
    with pytest.raises(KeyboardInterrupt):
        search(config, settings, Silent("epoch   2", 1))
    rows, _, command = search(config, settings, view)
    assert "resuming after epoch 1" in view.said
    written = (
        (tmp_path / "run" / "trials" / "0" / "metrics.jsonl").read_text().splitlines()
    )
    assert rows[0][LOSS] == min(json.loads(line)["validation_loss"] for line in written)
    assert (
        "--epochs 3" in command
    )  # the winner trains as long as --epochs says, not as a trial
