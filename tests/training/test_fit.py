"""A whole run: what it leaves, and that stopping and going on is as if it had never stopped."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import pytest

from ancf_jax.checkpoint import RunFolder
from ancf_jax.config import Config, to_json
from ancf_jax.data import dataset as data
from ancf_jax.data.interactions import TEST, VALIDATION
from ancf_jax.errors import NumericalError, UserError
from ancf_jax.runs import build_model, load
from ancf_jax.training.fit import Stopped, fit
from ancf_jax.training.loop import trainer

REPOSITORY = Path(__file__).resolve().parents[2]


class Screen:
    """What a run shows; `act` is called at every progress with (title, done)."""

    def __init__(self, act: Callable[[str, int], None] = lambda title, done: None):
        self.said: list[str] = []
        self.titles: list[str] = []
        self.act = act

    def say(self, message: str) -> None:
        self.said.append(message)

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        self.titles.append(title)
        assert 0 < done <= total
        self.act(title, done)


class Killed(Exception):
    pass


def die_at(
    begin: str, done: int, error: type[Exception] = Killed
) -> Callable[[str, int], None]:
    """Raises in the epoch whose title begins so, once so many steps are done."""

    def act(title: str, reached: int) -> None:
        if title.startswith(begin) and reached >= done:
            raise error

    return act


def latest(config: Config) -> tuple[int, list[bytes]]:
    """Epoch and bits of the newest checkpoint."""
    config = data.resolve(config)
    dataset = data.build(config)
    log = data.event_log(dataset, data.known_parts(VALIDATION))
    made = trainer(config, build_model(config, dataset), log, data.catalogue(dataset))
    with RunFolder.create(config.run, config, resume=True, say=print) as run:
        found = run.restore_latest(made.shapes)
    assert found is not None
    return found.epoch, [
        jax.device_get(leaf).tobytes() for leaf in jax.tree.leaves(found.state)
    ]


def rows(config: Config) -> list[dict]:
    return [
        json.loads(line)
        for line in (Path(config.run) / "metrics.jsonl").read_text().splitlines()
    ]


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Drawing takes longer than training here; the run of `straight`, made before, has its picture."""
    request.getfixturevalue("straight")
    monkeypatch.setattr("ancf_jax.training.fit.draw_curves", lambda rows, path: None)


@pytest.fixture(scope="module")
def straight(tiny, tmp_path_factory) -> tuple[Config, Screen, float]:
    """A run of `mf` that nothing disturbed."""
    config = tiny("mf", epochs=5, run=str(tmp_path_factory.mktemp("straight") / "run"))
    screen = Screen()
    return config, screen, fit(config, resume=False, view=screen).score


def test_a_run_leaves_what_it_promises(straight):
    config, screen, score = straight
    folder, found = Path(config.run), rows(config)
    assert [row["epoch"] for row in found] in ([1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5])
    trained = [row for row in found if row["epoch"] > 0]
    assert all(
        {"train_loss", "validation_loss", "validation_ndcg@10"} <= set(row)
        for row in trained
    )
    assert trained[-1]["train_loss"] < trained[0]["train_loss"]
    assert score == max(row["validation_ndcg@10"] for row in trained)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert json.loads((folder / "config.json").read_text()) == json.loads(
        to_json(data.resolve(config))
    )
    assert len(set(screen.titles)) == 5
    assert sum("*" in line for line in screen.said) >= 1


def test_without_validation_the_last_epoch_is_kept(tiny, tmp_path):
    """Nothing is judged, patience never ends the run, and what validated before trains."""
    loop = {"loop__patience": 1, "loop__checkpoint_every": 3}
    config, screen = (
        tiny("mf", epochs=5, run=str(tmp_path / "run"), split__validation=0.0, **loop),
        Screen(),
    )
    fitted = fit(config, resume=False, view=screen)
    assert fitted.epochs == 5
    assert VALIDATION not in fitted.dataset.part
    assert [set(row) for row in rows(config) if row["epoch"]] == [
        {"epoch", "train_loss"}
    ] * 5
    assert load(config.run, data.known_parts(TEST), print).epoch == 5
    assert sorted(
        folder.name for folder in (tmp_path / "run" / "checkpoints").iterdir()
    ) == ["3", "5"]
    assert not any("*" in line for line in screen.said)


def test_the_metric_last_keeps_the_last_epoch_and_validates_all_the_same(
    tiny, tmp_path
):
    """At so high a learning rate some epoch before the last one validates best."""
    loop = {"loop__metric": "last", "loop__patience": 1, "optim__learning_rate": 0.3}
    config, screen = tiny("mf", epochs=4, run=str(tmp_path / "run"), **loop), Screen()
    assert fit(config, resume=False, view=screen).epochs == 4
    figures = {
        row["epoch"]: row["validation_ndcg@10"] for row in rows(config) if row["epoch"]
    }
    assert max(figures, key=figures.__getitem__) < 4
    assert load(config.run, data.known_parts(TEST), print).epoch == 4
    assert not any("*" in line for line in screen.said)


def test_the_best_checkpoint_is_opened_not_the_latest(straight):
    config, _, score = straight
    figures = {
        row["epoch"]: row["validation_ndcg@10"]
        for row in rows(config)
        if row["epoch"] > 0
    }
    assert figures[load(config.run, data.known_parts(TEST), print).epoch] == score


@pytest.mark.parametrize(
    ("title", "done"), [("epoch 1/5", 1), ("epoch 3/5", 1), ("epoch 5/5", 99)]
)
def test_a_run_that_broke_off_goes_on_bit_for_bit(straight, tmp_path, title, done):
    expected, config = (
        straight[0],
        dataclasses.replace(straight[0], run=str(tmp_path / "run")),
    )
    steps = math.ceil(latest_steps(expected) / 5)
    with pytest.raises(Killed):
        fit(config, resume=False, view=Screen(die_at(title, min(done, steps))))
    screen = Screen()
    fit(config, resume=True, view=screen)
    assert any("resuming after epoch" in line for line in screen.said) == (
        title != "epoch 1/5"
    )
    assert latest(config) == latest(expected)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (
        Path(expected.run) / "metrics.jsonl"
    ).read_bytes()


def latest_steps(config: Config) -> int:
    """Steps of the whole run: all training events of each of five epochs, 16 at a time."""
    dataset = data.build(config)
    return 5 * math.ceil((dataset.part == 0).sum() / config.loop.batch_size)


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from ancf_jax.config import from_json
from ancf_jax.training.fit import fit

class Screen:
    def say(self, message): pass
    def progress(self, title, done, total, note=""):
        if title.startswith("epoch 3/"):
            os.kill(os.getpid(), signal.SIGKILL)

fit(from_json(Path(sys.argv[1]).read_text()), resume=False, view=Screen())
"""


def test_a_killed_process_is_resumed_bit_for_bit(tiny, tmp_path):
    """`ancf` with dropout, batch statistics and a schedule; kill -9 in the third of four epochs."""
    parts = {
        "network__history": "none",
        "network__temporal": (),
        "network__hierarchy": False,
    }
    expected = tiny("ancf", epochs=4, run=str(tmp_path / "straight"), **parts)
    fit(expected, resume=False, view=Screen())
    config = dataclasses.replace(expected, run=str(tmp_path / "killed"))
    (tmp_path / "config.json").write_text(to_json(config))
    command = [sys.executable, "-c", KILLED_RUN, str(tmp_path / "config.json")]
    killed = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert max(row["epoch"] for row in rows(config)) == 2
    fit(config, resume=True, view=Screen())
    assert latest(config) == latest(expected)
    assert (tmp_path / "killed" / "metrics.jsonl").read_bytes() == (
        tmp_path / "straight/metrics.jsonl"
    ).read_bytes()


@pytest.mark.parametrize(
    "batch", [8, 4096]
)  # many steps an epoch; and one, whose loss is still a number
def test_a_loss_that_is_no_number_ends_the_run_and_is_never_saved(
    tiny, tmp_path, batch
):
    changes = {
        "optim__optimizer": "sgd",
        "optim__learning_rate": 1e30,
        "optim__schedule": "constant",
    }
    config = tiny("mf", run=str(tmp_path / "run"), loop__batch_size=batch, **changes)
    with pytest.raises(NumericalError, match=r"learning[ -]rate") as caught:
        fit(config, resume=False, view=Screen())
    assert caught.value.exit_code == 3
    assert not [
        path
        for path in (tmp_path / "run" / "checkpoints").glob("*")
        if path.name.isdecimal()
    ]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_ends_the_run_with_its_own_code(straight, tmp_path, number, code):
    before = signal.getsignal(number)
    config, sent = dataclasses.replace(straight[0], run=str(tmp_path / "run")), []

    def act(title: str, done: int) -> None:
        if title.startswith("epoch 2/5") and not sent:
            sent.append(os.kill(os.getpid(), number))

    with pytest.raises(Stopped, match="--resume") as caught:
        fit(config, resume=False, view=Screen(act))
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before
    assert latest(config)[0] == 1
    fit(config, resume=True, view=Screen())
    assert latest(config) == latest(straight[0])


def test_training_stops_early_and_stays_stopped(tiny, tmp_path):
    """Steps too small to change a ranking: the first epoch is the best there will be."""
    config = tiny(
        "mf",
        epochs=9,
        loop__patience=2,
        optim__learning_rate=1e-12,
        run=str(tmp_path / "run"),
    )
    assert fit(config, resume=False, view=Screen()).epochs == 3
    screen = Screen()
    assert fit(config, resume=True, view=screen).epochs == 3
    assert not screen.titles
    assert any("2 epochs" in line for line in screen.said)


def test_no_epochs_leave_the_untrained_model(tiny, tmp_path):
    config = tiny("mf", epochs=0, run=str(tmp_path / "run"))
    assert fit(config, resume=False, view=Screen()).epochs == 0
    assert load(config.run, data.known_parts(TEST), print).epoch == 0


def test_a_finished_run_may_be_trained_for_longer(tiny, tmp_path):
    """With a constant learning rate two epochs and two more are four."""
    long = tiny("mf", epochs=4, optim__schedule="constant", run=str(tmp_path / "long"))
    short = dataclasses.replace(long, epochs=2, run=str(tmp_path / "short"))
    fit(long, resume=False, view=Screen())
    fit(short, resume=False, view=Screen())
    more = dataclasses.replace(short, epochs=4)
    fit(more, resume=True, view=Screen())
    assert latest(more) == latest(long)


def test_a_baseline_becomes_a_run_that_scores(tiny, tmp_path):
    config = tiny("popularity", run=str(tmp_path / "run"))
    fitted = fit(config, resume=False, view=Screen())
    opened = load(config.run, data.known_parts(TEST), print)
    source = fitted.dataset
    count = [
        int((source.interactions.item[source.part == 0] == item).sum())
        for item in range(23)
    ]
    assert opened.ranker.variables["params"]["count"].tolist() == count


def test_a_folder_with_a_run_is_not_trained_again_by_accident(straight):
    with pytest.raises(UserError, match="--resume"):
        fit(straight[0], resume=False, view=Screen())


def test_other_settings_are_refused_on_resume(straight):
    config = dataclasses.replace(straight[0], seed=7)
    with pytest.raises(UserError, match="seed 0 -> 7"):
        fit(config, resume=True, view=Screen())
