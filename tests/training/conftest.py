"""What several tests of training share: a run that nothing disturbed, and how to look at runs."""

from __future__ import annotations

from collections.abc import Callable

import jax
import pytest

from ancf_jax import data
from ancf_jax.checkpoint import RunFolder
from ancf_jax.config import Config
from ancf_jax.data import VALIDATION
from ancf_jax.prepared import prepare
from ancf_jax.training.fit import fit
from ancf_jax.training.loop import trainer


class Screen:
    """What a run shows; `act` is called at every progress with (title, done).

    The titles are those of training; validation shows its own.
    """

    def __init__(self, act: Callable[[str, int], None] = lambda title, done: None):
        self.said: list[str] = []
        self.titles: list[str] = []
        self.act = act

    def say(self, message: str) -> None:
        self.said.append(message)

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        if title != "ranking":
            self.titles.append(title)
        assert 0 < done <= total
        self.act(title, done)


@pytest.fixture(scope="session")
def new_screen() -> type[Screen]:
    """A view that remembers: new_screen(act)."""
    return Screen


@pytest.fixture(scope="session")
def straight(tiny, tmp_path_factory) -> tuple[Config, Screen, float]:
    """A run of `mf` that nothing disturbed."""
    config = tiny("mf", epochs=5, run=str(tmp_path_factory.mktemp("straight") / "run"))
    screen = Screen()
    return config, screen, fit(config, view=screen).score


@pytest.fixture
def no_pictures(straight, monkeypatch):
    """Drawing takes longer than training here; the run of `straight`, made before, has its own."""
    monkeypatch.setattr("ancf_jax.training.fit.draw_curves", lambda rows, path: None)


@pytest.fixture(scope="session")
def latest() -> Callable[[Config], tuple[int, list[bytes]]]:
    """latest(config): epoch and bits of the newest checkpoint."""
    return newest_checkpoint


def newest_checkpoint(config: Config) -> tuple[int, list[bytes]]:
    """Epoch and bits of the newest checkpoint."""
    config = data.resolve(config)
    prepared = prepare(config, data.build(config), data.known_parts(VALIDATION))
    shapes = trainer(prepared).shapes
    with RunFolder.create(config.run, config, resume=True) as run:
        found = run.restore_latest(shapes)
    assert found is not None
    leaves = jax.device_get(jax.tree.leaves(found.state))
    return found.epoch, [leaf.tobytes() for leaf in leaves]
