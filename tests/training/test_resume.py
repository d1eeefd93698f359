"""Runs that are stopped: they go on as if they never had been."""

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

import pytest

from ancf_jax import data
from ancf_jax.config import Config, to_json
from ancf_jax.errors import Stopped, UserError
from ancf_jax.training.fit import fit

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("no_pictures")


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
