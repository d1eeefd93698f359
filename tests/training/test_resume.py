"""Runs that are stopped: they go on as if they never had been."""

from __future__ import annotations

import asyncio
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

import pytest

from ancf_jax import data
from ancf_jax.config import Config, to_json
from ancf_jax.errors import Stopped, UserError
from ancf_jax.machine import sizes
from ancf_jax.training.fit import fit
from ancf_jax.training.pace import CallLength

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("no_pictures")


SMALL_ANCF = {
    "network__history": "none",
    "network__temporal": (),
    "network__hierarchy": False,
}


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


def metrics_of(config: Config) -> bytes:
    return (Path(config.run) / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("title", "done"), [("epoch 1/5", 1), ("epoch 3/5", 1), ("epoch 5/5", 99)]
)
def test_a_run_that_broke_off_goes_on_bit_for_bit(
    straight, tmp_path, title, done, new_screen, latest
):
    expected = straight[0]
    config = dataclasses.replace(expected, run=str(tmp_path / "run"))
    steps = steps_per_epoch(expected)
    with pytest.raises(Killed):
        fit(config, view=new_screen(die_at(title, min(done, steps))))
    screen = new_screen()
    fit(config, resume=True, view=screen)
    has_resumed = any("resuming after epoch" in line for line in screen.said)
    assert has_resumed
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


def test_a_killed_process_is_resumed_bit_for_bit(tiny, tmp_path, latest):
    """`ancf` with dropout, batch statistics and a schedule; kill -9 in the third of four epochs."""
    expected = tiny("ancf", epochs=4, run=str(tmp_path / "straight"), **SMALL_ANCF)
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
    written = metrics_of(config).splitlines()
    assert json.loads(written[-1])["epoch"] == 2
    fit(config, resume=True)
    assert latest(config) == latest(expected)
    assert metrics_of(config) == metrics_of(expected)


def stop_in(begin: str, screen) -> Callable[[], None]:
    """A check that stops once the screen has shown an epoch whose title begins so."""

    def check() -> None:
        if any(title.startswith(begin) for title in screen.titles):
            raise Stopped("stopped by a test", 143)

    return check


def test_a_check_stops_the_run_and_it_goes_on_bit_for_bit(
    straight, tmp_path, new_screen, latest
):
    config = dataclasses.replace(straight[0], run=str(tmp_path / "run"))
    screen = new_screen()
    with pytest.raises(Stopped, match="by a test"):
        fit(config, view=screen, check=stop_in("epoch 2/5", screen))
    assert latest(config)[0] == 1
    fit(config, resume=True)
    assert latest(config) == latest(straight[0])


def stop_after(calls: int) -> Callable[[], None]:
    """A check that stops when it is asked for so many times."""
    asked = []

    def check() -> None:
        asked.append(1)
        if len(asked) == calls:
            raise Stopped("stopped by a test", 143)

    return check


PLAIN = {"model": "mf", "epochs": 3}
RARELY = {"loop__checkpoint_every": 1000, "split__validation": 0}
WITHIN = {
    "dense": PLAIN | {"loop__spread": "shard_map"},
    "by row": PLAIN | {"loop__tables": "sparse"},
    "divided": PLAIN | {"loop__tables": "divided"},
    "streamed": PLAIN | {"loop__stream": 9},
    "rare checkpoints": PLAIN | RARELY,
    "batch statistics": {"model": "neumf", "epochs": 3},
    "dropout": {"model": "ancf", "epochs": 3} | SMALL_ANCF,
}


@pytest.mark.parametrize("kind", WITHIN)
def test_a_run_stopped_within_epochs_goes_on_bit_for_bit(
    tiny, tmp_path, kind, latest, new_screen, monkeypatch
):
    """Stopped twice in the same epoch."""
    monkeypatch.setattr(sizes, "MIN_STEPS_PER_CALL", 1)  # so that a call is a step
    expected = tiny(**WITHIN[kind], run=str(tmp_path / "straight"))
    whole = new_screen()
    fit(expected, view=whole)
    assert len(whole.titles) > 3 * expected.epochs
    config = dataclasses.replace(expected, run=str(tmp_path / "stopped"))
    screen = new_screen()
    for calls in (4, 3):
        with pytest.raises(Stopped):
            fit(config, resume=calls == 3, view=screen, check=stop_after(calls))
        (within,) = (tmp_path / "stopped" / "checkpoints").glob("*+*")
        assert (
            f"saved after epoch {within.name.replace('+', ' and ')}" in screen.said[-1]
        )
    fit(config, resume=True, view=screen)
    assert screen.titles == whole.titles, "steps are done twice or left out"
    assert latest(config) == latest(expected)
    assert metrics_of(config) == metrics_of(expected)
    assert not list((tmp_path / "stopped" / "checkpoints").glob("*+*"))


@pytest.mark.parametrize("kind", ["dense", "by row", "streamed", "dropout"])
def test_how_many_steps_a_call_does_changes_nothing(
    tiny, tmp_path, kind, latest, new_screen, monkeypatch
):
    """Not a bit, the training loss in metrics.jsonl included: calls of 3, and of as many as fit."""
    found = []
    lengths = []
    for steps in (3, 99):
        monkeypatch.setattr(CallLength, "most_steps", lambda _, steps=steps: steps)
        config = tiny(**WITHIN[kind], run=str(tmp_path / str(steps)))
        config = dataclasses.replace(config, epochs=2)
        screen = new_screen()
        fit(config, view=screen)
        found.append((latest(config), metrics_of(config)))
        lengths.append(len(screen.titles))
    assert lengths[0] > lengths[1]
    assert found[0] == found[1]


def test_a_run_stopped_while_it_is_judged_does_not_train_that_epoch_again(
    straight, tmp_path, latest, new_screen
):
    """Asked after the data, and then in the ranking and after the one call of each epoch."""
    config = dataclasses.replace(straight[0], run=str(tmp_path / "run"))
    with pytest.raises(Stopped):
        fit(config, check=stop_after(4))
    assert metrics_of(config).count(b"\n") == 1
    screen = new_screen()
    fit(config, resume=True, view=screen)
    assert f"resuming after epoch 0 and {steps_per_epoch(config)} steps" in screen.said
    assert screen.titles[0] == "epoch 2/5"
    assert latest(config) == latest(straight[0])
    assert metrics_of(config) == metrics_of(straight[0])


def test_a_run_killed_after_it_was_stopped_goes_on_from_the_stop(
    tiny, tmp_path, latest, new_screen, monkeypatch
):
    """Epochs before the best would be lost, as checkpoints are rare."""
    monkeypatch.setattr(sizes, "MIN_STEPS_PER_CALL", 1)
    expected = tiny(**PLAIN | RARELY, run=str(tmp_path / "straight"))
    fit(expected)
    config = dataclasses.replace(expected, run=str(tmp_path / "run"))
    screen = new_screen()
    with pytest.raises(Stopped):
        fit(config, view=screen, check=stop_in("epoch 2/3", screen))
    with pytest.raises(Killed):
        fit(config, resume=True, view=new_screen(die_at("epoch 3/3", 1)))
    screen = new_screen()
    fit(config, resume=True, view=screen)
    assert "resuming after epoch 1 and 1 steps" in screen.said
    assert latest(config) == latest(expected)
    assert metrics_of(config) == metrics_of(expected)


def test_a_damaged_state_within_an_epoch_is_told_and_passed_over(
    tiny, tmp_path, latest, new_screen, monkeypatch
):
    monkeypatch.setattr(sizes, "MIN_STEPS_PER_CALL", 1)
    expected = tiny(**PLAIN, run=str(tmp_path / "straight"))
    fit(expected)
    config = dataclasses.replace(expected, run=str(tmp_path / "run"))
    screen = new_screen()
    with pytest.raises(Stopped):
        fit(config, view=screen, check=stop_in("epoch 2/3", screen))
    os.truncate(tmp_path / "run/checkpoints/1+1/info/metadata", 10)
    screen = new_screen()
    fit(config, resume=True, view=screen)
    assert any(line.startswith("checkpoint 1+1 is damaged") for line in screen.said)
    assert "resuming after epoch 1" in screen.said
    assert latest(config) == latest(expected)
    assert metrics_of(config) == metrics_of(expected)


def test_a_check_is_asked_between_the_calls_of_the_devices(tiny, tmp_path, new_screen):
    """An epoch of many steps takes several calls; the check stops it after the first."""
    config = tiny("mf", epochs=1, loop__batch_size=4, run=str(tmp_path / "whole"))
    whole = new_screen()
    fit(config, view=whole)
    assert len(whole.titles) > 1
    stopped = new_screen()
    config = dataclasses.replace(config, run=str(tmp_path / "stopped"))
    with pytest.raises(Stopped):
        fit(config, view=stopped, check=stop_in("epoch 1/1", stopped))
    assert len(stopped.titles) == 1


def test_a_check_stops_a_model_that_is_fitted_as_a_whole(tiny, tmp_path, new_screen):
    config = tiny("ials", run=str(tmp_path / "run"))
    screen = new_screen()
    with pytest.raises(Stopped):
        fit(config, view=screen, check=stop_in("", screen))
    assert len(screen.titles) == 1


def test_a_run_leaves_the_handling_of_signals_alone(tiny, tmp_path, new_screen):
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    during = []

    def act(title: str, done: int) -> None:
        during.append([signal.getsignal(number) for number in numbers])

    fit(tiny("mf", epochs=1, run=str(tmp_path / "run")), view=new_screen(act))
    assert during
    assert all(found == before for found in during)


def test_a_run_off_the_main_thread_is_the_same(straight, tmp_path, latest):
    config = dataclasses.replace(straight[0], run=str(tmp_path / "run"))
    scores = []
    thread = threading.Thread(target=lambda: scores.append(fit(config).score))
    thread.start()
    thread.join()
    assert scores == [straight[2]]
    assert latest(config) == latest(straight[0])


def test_a_run_within_an_event_loop_is_the_same(straight, tmp_path, latest):
    """As in the cell of a notebook."""
    config = dataclasses.replace(straight[0], run=str(tmp_path / "run"))

    async def cell() -> float:
        return fit(config).score

    assert asyncio.run(cell()) == straight[2]
    assert latest(config) == latest(straight[0])


def test_a_finished_run_may_be_trained_for_longer(tiny, tmp_path, latest):
    """With a constant learning rate two epochs and two more are four."""
    long = tiny("mf", epochs=4, optim__schedule="constant", run=str(tmp_path / "long"))
    short = dataclasses.replace(long, epochs=2, run=str(tmp_path / "short"))
    fit(long)
    fit(short)
    more = dataclasses.replace(short, epochs=4)
    fit(more, resume=True)
    assert latest(more) == latest(long)


def test_other_settings_are_refused_on_resume(straight):
    config = dataclasses.replace(straight[0], seed=7)
    with pytest.raises(UserError, match="seed 0 -> 7"):
        fit(config, resume=True)
