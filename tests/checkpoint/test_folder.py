"""A run's folder is ours, and nothing in it that others made: that stays, whatever its name."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.checkpoint import RunFolder, open_run
from ancf_jax.errors import UserError
from ancf_jax.models.registry import default_config

TEMPLATE = {"w": jax.ShapeDtypeStruct((7,), jnp.float32)}


def state(epoch: int) -> dict[str, jax.Array]:
    return {"w": jnp.full((7,), float(epoch))}


def opened(path: Path, resume: bool = True):
    return RunFolder.create(path, default_config("mf"), resume=resume)


@pytest.fixture
def run(tmp_path) -> Path:
    """A run with a checkpoint of epoch 3."""
    path = tmp_path / "run"
    with opened(path, resume=False) as folder:
        folder.save(3, state(3), {}, 0.5, {})
    return path


def listing(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", ["my.notes", "11", "3.deleted", ".git", "5+8"])
def test_a_foreign_folder_among_the_checkpoints_stays(run, name):
    """Also one that is called like a checkpoint or like what we delete."""
    foreign = run / "checkpoints" / name
    foreign.mkdir()
    (foreign / "diary").write_text("dear diary")
    with opened(run) as folder:
        found = folder.restore_latest(TEMPLATE)
        assert found is not None
        assert found.epoch == 3
        for epoch in (4, 5, 6, 7):
            assert folder.save(epoch, state(epoch), {}, 0.1 * epoch, {})
    assert listing(foreign) == {"diary": b"dear diary"}
    assert open_run(run).epochs() == [6, 7]


def test_a_foreign_folder_in_the_place_of_a_checkpoint_is_told(run):
    foreign = run / "checkpoints" / "4"
    foreign.mkdir()
    (foreign / "diary").write_text("dear diary")
    with (
        opened(run) as folder,
        pytest.raises(
            UserError, match=r'checkpoints/4" is in its place; move that away'
        ),
    ):
        folder.save(4, state(4), {}, 0.1, {}, final=True)
    assert listing(foreign) == {"diary": b"dear diary"}


def test_a_linked_folder_of_checkpoints_is_refused_and_nothing_behind_it_touched(
    run, tmp_path
):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id").write_text("secret")
    (home / "proj.v1").mkdir()
    (home / "proj.v1" / "code.py").write_text("pass")
    (run / "checkpoints").rename(tmp_path / "away")
    (run / "checkpoints").symlink_to(home)
    before = listing(home)
    with pytest.raises(UserError, match=r'/checkpoints" is a link'), opened(run):
        pass
    assert listing(home) == before


def test_a_linked_checkpoint_is_none_of_ours(run, tmp_path):
    (run / "checkpoints" / "3").rename(tmp_path / "moved")
    (run / "checkpoints" / "3").symlink_to(tmp_path / "moved")
    before = listing(tmp_path / "moved")
    with opened(run) as folder:
        assert folder.restore_latest(TEMPLATE) is None
        for epoch in (4, 5, 6, 7):
            folder.save(epoch, state(epoch), {}, 0.1 * epoch, {})
    assert listing(tmp_path / "moved") == before


def test_a_link_among_leftovers_goes_without_what_it_leads_to(run, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary").write_text("dear diary")
    leftovers = run / "checkpoints" / "unfinished"
    leftovers.mkdir()
    (leftovers / ".ancf_jax").touch()
    (leftovers / "4").mkdir()
    (leftovers / "4" / "half").touch()
    (leftovers / "4" / "link").symlink_to(tmp_path / "home")
    (leftovers / "5").symlink_to(tmp_path / "home")
    with opened(run):
        pass
    assert os.listdir(run / "checkpoints") == ["3"]
    assert listing(tmp_path / "home") == {"diary": b"dear diary"}


def test_leftovers_that_are_not_marked_are_refused(run):
    foreign = run / "checkpoints" / "unfinished"
    foreign.mkdir()
    (foreign / "diary").write_text("dear diary")
    with (
        pytest.raises(UserError, match=r"that ancf_jax did not make.*move it away"),
        opened(run),
    ):
        pass
    assert listing(foreign) == {"diary": b"dear diary"}


def test_a_linked_lock_does_not_empty_what_it_leads_to(run, tmp_path):
    (tmp_path / "diary").write_text("dear diary")
    (run / "run.lock").unlink()
    (run / "run.lock").symlink_to(tmp_path / "diary")
    with pytest.raises(UserError, match="cannot be written"), opened(run):
        pass
    assert (tmp_path / "diary").read_text() == "dear diary"


def test_checkpoints_go_on_beside_foreign_files(run):
    (run / "checkpoints" / "notes.txt").write_text("dear diary")
    with opened(run) as folder:
        folder.save(4, state(4), {}, 0.1, {})
        found = folder.restore_latest(TEMPLATE)
    assert found is not None
    np.testing.assert_array_equal(found.state["w"], np.full(7, 4.0))
    assert (run / "checkpoints" / "notes.txt").read_text() == "dear diary"
