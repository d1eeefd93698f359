"""A whole run: what it leaves, and that stopping and going on is as if it had never stopped."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import jax
import pytest

from ancf_jax import data
from ancf_jax.checkpoint import RunFolder
from ancf_jax.config import Config, to_json
from ancf_jax.data import TEST, VALIDATION
from ancf_jax.errors import NumericalError, Stopped, UserError
from ancf_jax.prepared import prepare
from ancf_jax.runs import load
from ancf_jax.training.fit import fit
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
    prepared = prepare(config, data.build(config), data.known_parts(VALIDATION))
    shapes = trainer(prepared).shapes
    with RunFolder.create(config.run, config, resume=True) as run:
        found = run.restore_latest(shapes)
    assert found is not None
    leaves = jax.device_get(jax.tree.leaves(found.state))
    return found.epoch, [leaf.tobytes() for leaf in leaves]


def opened_epoch(config: Config) -> int:
    """The epoch of the checkpoint that evaluation opens."""
    return load(config.run, data.known_parts(TEST)).epoch


def metrics_of(config: Config) -> bytes:
    return (Path(config.run) / "metrics.jsonl").read_bytes()


def rows(config: Config) -> list[dict]:
    return [json.loads(line) for line in metrics_of(config).splitlines()]


def validation_metric(config: Config) -> dict[int, float]:
    """The metric that chooses the checkpoint, by epoch trained."""
    return {
        row["epoch"]: row["validation_ndcg@10"] for row in rows(config) if row["epoch"]
    }


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """Drawing takes longer than training here; the run of `straight`, made before, has its own."""
    request.getfixturevalue("straight")
    monkeypatch.setattr("ancf_jax.training.fit.draw_curves", lambda rows, path: None)


@pytest.fixture(scope="module")
def straight(tiny, tmp_path_factory) -> tuple[Config, Screen, float]:
    """A run of `mf` that nothing disturbed."""
    config = tiny("mf", epochs=5, run=str(tmp_path_factory.mktemp("straight") / "run"))
    screen = Screen()
    return config, screen, fit(config, view=screen).score


def test_a_run_leaves_what_it_promises(straight):
    config, screen, score = straight
    folder = Path(config.run)
    found = rows(config)
    assert [row["epoch"] for row in found] == [0, 1, 2, 3, 4, 5]
    assert "train_loss" not in found[0]
    trained = found[1:]
    names = {"train_loss", "validation_loss", "validation_ndcg@10"}
    assert all(names <= set(row) for row in trained)
    assert trained[-1]["train_loss"] < trained[0]["train_loss"]
    assert score == max(row["validation_ndcg@10"] for row in trained)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG\r\n")
    saved = json.loads((folder / "config.json").read_text())
    assert saved == json.loads(to_json(data.resolve(config)))
    assert len(set(screen.titles)) == 5


def test_every_epoch_that_is_better_than_all_before_is_marked(straight):
    config, screen, _ = straight
    figures = validation_metric(config)
    best = -math.inf
    expected = []
    for epoch, figure in figures.items():
        if figure > best:
            best = figure
            expected.append(epoch)
    marked = [int(line.split()[1]) for line in screen.said if line.endswith("*")]
    assert marked == expected
    assert len(marked) < len(figures)  # otherwise a mark would say nothing


def test_without_a_view_nothing_is_shown(tiny, tmp_path, capfd):
    """Neither on standard output nor on standard error, by this library or those it uses."""
    fit(tiny("mf", epochs=1, run=str(tmp_path / "run")))
    assert capfd.readouterr() == ("", "")


def test_without_validation_the_last_epoch_is_kept(tiny, tmp_path):
    """Nothing is judged, patience never ends the run, and what validated before trains."""
    config = tiny(
        "mf",
        epochs=5,
        run=str(tmp_path / "run"),
        split__validation=0.0,
        loop__patience=1,
        loop__checkpoint_every=3,
    )
    screen = Screen()
    fitted = fit(config, view=screen)
    assert fitted.epochs == 5
    assert VALIDATION not in fitted.dataset.part
    found = rows(config)
    assert [row["epoch"] for row in found] == [0, 1, 2, 3, 4, 5]
    assert [set(row) for row in found[1:]] == [{"epoch", "train_loss"}] * 5
    assert opened_epoch(config) == 5
    folders = (tmp_path / "run" / "checkpoints").iterdir()
    assert sorted(folder.name for folder in folders) == ["3", "5"]
    assert not any("*" in line for line in screen.said)


def test_the_metric_last_keeps_the_last_epoch_and_validates_all_the_same(
    tiny, tmp_path
):
    """At so high a learning rate some epoch before the last one validates best."""
    config = tiny(
        "mf",
        epochs=4,
        run=str(tmp_path / "run"),
        loop__metric="last",
        loop__patience=1,
        optim__learning_rate=0.3,
    )
    screen = Screen()
    assert fit(config, view=screen).epochs == 4
    figures = validation_metric(config)
    assert max(figures, key=figures.__getitem__) < 4
    assert opened_epoch(config) == 4
    assert not any("*" in line for line in screen.said)


def test_the_best_checkpoint_is_opened_not_the_latest(tiny, tmp_path):
    """The same run judged by its metric."""
    config = tiny(
        "mf",
        epochs=4,
        run=str(tmp_path / "run"),
        loop__patience=0,
        optim__learning_rate=0.3,
    )
    score = fit(config).score
    figures = validation_metric(config)
    best = max(figures, key=figures.__getitem__)
    assert best < 4
    assert opened_epoch(config) == best
    assert score == figures[best]


@pytest.mark.parametrize(
    ("title", "done"), [("epoch 1/5", 1), ("epoch 3/5", 1), ("epoch 5/5", 99)]
)
def test_a_run_that_broke_off_goes_on_bit_for_bit(straight, tmp_path, title, done):
    expected = straight[0]
    config = dataclasses.replace(expected, run=str(tmp_path / "run"))
    steps = steps_per_epoch(expected)
    with pytest.raises(Killed):
        fit(config, view=Screen(die_at(title, min(done, steps))))
    screen = Screen()
    fit(config, resume=True, view=screen)
    has_resumed = any("resuming after epoch" in line for line in screen.said)
    assert has_resumed == (title != "epoch 1/5")
    assert latest(config) == latest(expected)
    assert metrics_of(config) == metrics_of(expected)


def steps_per_epoch(config: Config) -> int:
    """Every training event once, 16 at a time."""
    events = (data.build(config).part == 0).sum()
    return math.ceil(events / config.loop.batch_size)


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from ancf_jax.models.registry import from_json
from ancf_jax.training.fit import fit

class Screen:
    def say(self, message): pass
    def progress(self, title, done, total, note=""):
        if title.startswith("epoch 3/"):
            os.kill(os.getpid(), signal.SIGKILL)

fit(from_json(Path(sys.argv[1]).read_text()), view=Screen())
"""


def test_a_killed_process_is_resumed_bit_for_bit(tiny, tmp_path):
    """`ancf` with dropout, batch statistics and a schedule; kill -9 in the third of four epochs."""
    parts = {
        "network__history": "none",
        "network__temporal": (),
        "network__hierarchy": False,
    }
    expected = tiny("ancf", epochs=4, run=str(tmp_path / "straight"), **parts)
    fit(expected)
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
    fit(config, resume=True)
    assert latest(config) == latest(expected)
    assert metrics_of(config) == metrics_of(expected)


# Many steps an epoch; and one, whose loss is still a number.
@pytest.mark.parametrize("batch", [8, 4096])
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
        fit(config)
    assert caught.value.exit_code == 3
    folders = (tmp_path / "run" / "checkpoints").glob("*")
    assert not [path for path in folders if path.name.isdecimal()]


def stop_in(begin: str, screen: Screen) -> Callable[[], None]:
    """A check that stops once the screen has shown an epoch whose title begins so."""

    def check() -> None:
        if any(title.startswith(begin) for title in screen.titles):
            raise Stopped("stopped by a test", 143)

    return check


def test_a_check_stops_the_run_and_it_goes_on_bit_for_bit(straight, tmp_path):
    config = dataclasses.replace(straight[0], run=str(tmp_path / "run"))
    screen = Screen()
    with pytest.raises(Stopped, match="by a test"):
        fit(config, view=screen, check=stop_in("epoch 2/5", screen))
    assert latest(config)[0] == 1
    fit(config, resume=True)
    assert latest(config) == latest(straight[0])


def test_a_check_is_asked_between_the_calls_of_the_devices(tiny, tmp_path):
    """An epoch of many steps takes several calls; the check stops it after the first."""
    config = tiny("mf", epochs=1, loop__batch_size=4, run=str(tmp_path / "whole"))
    whole = Screen()
    fit(config, view=whole)
    assert len(whole.titles) > 1
    stopped = Screen()
    config = dataclasses.replace(config, run=str(tmp_path / "stopped"))
    with pytest.raises(Stopped):
        fit(config, view=stopped, check=stop_in("epoch 1/1", stopped))
    assert len(stopped.titles) == 1


def test_a_check_stops_a_model_that_is_fitted_as_a_whole(tiny, tmp_path):
    config = tiny("ials", run=str(tmp_path / "run"))
    screen = Screen()
    with pytest.raises(Stopped):
        fit(config, view=screen, check=stop_in("", screen))
    assert len(screen.titles) == 1


def test_a_run_leaves_the_handling_of_signals_alone(tiny, tmp_path):
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    during = []

    def act(title: str, done: int) -> None:
        during.append([signal.getsignal(number) for number in numbers])

    fit(tiny("mf", epochs=1, run=str(tmp_path / "run")), view=Screen(act))
    assert during
    assert all(found == before for found in during)


def test_a_run_off_the_main_thread_is_the_same(straight, tmp_path):
    config = dataclasses.replace(straight[0], run=str(tmp_path / "run"))
    scores = []
    thread = threading.Thread(target=lambda: scores.append(fit(config).score))
    thread.start()
    thread.join()
    assert scores == [straight[2]]
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
    assert fit(config).epochs == 3
    screen = Screen()
    assert fit(config, resume=True, view=screen).epochs == 3
    assert not screen.titles
    assert any("2 epochs" in line for line in screen.said)


def test_no_epochs_leave_the_untrained_model(tiny, tmp_path):
    config = tiny("mf", epochs=0, run=str(tmp_path / "run"))
    assert fit(config).epochs == 0
    assert opened_epoch(config) == 0


def test_a_finished_run_may_be_trained_for_longer(tiny, tmp_path):
    """With a constant learning rate two epochs and two more are four."""
    long = tiny("mf", epochs=4, optim__schedule="constant", run=str(tmp_path / "long"))
    short = dataclasses.replace(long, epochs=2, run=str(tmp_path / "short"))
    fit(long)
    fit(short)
    more = dataclasses.replace(short, epochs=4)
    fit(more, resume=True)
    assert latest(more) == latest(long)


def test_a_baseline_becomes_a_run_that_scores(tiny, tmp_path):
    config = tiny("popularity", run=str(tmp_path / "run"))
    fitted = fit(config)
    opened = load(config.run, data.known_parts(TEST))
    source = fitted.dataset
    trained_item = source.interactions.item[source.part == 0]
    count = [int((trained_item == item).sum()) for item in range(23)]
    assert opened.ranker.variables["params"]["count"].tolist() == count


def test_a_folder_with_a_run_is_not_trained_again_by_accident(straight):
    with pytest.raises(UserError, match="--resume"):
        fit(straight[0])


def test_other_settings_are_refused_on_resume(straight):
    config = dataclasses.replace(straight[0], seed=7)
    with pytest.raises(UserError, match="seed 0 -> 7"):
        fit(config, resume=True)
