"""Rows 1 to 4, 13 and 14: checkpoints that are half written, damaged, foreign, or made to do harm."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from ancf_jax.checkpoint.record import FORMAT, canonical
from ancf_jax.data.storage import digest
from ancf_jax.errors import UserError
from ancf_jax.training.fit import fit

DIES = """
import os, signal, sys
sys.path.insert(0, os.getcwd())
import train
from ancf_jax import cli
rename = os.rename

def die(source, target, **options):
    if os.path.basename(str(target)) == "2":
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target, **options)

os.rename = os.replace = die
with cli.Screen() as screen:
    train.main(sys.argv[1:], screen)
"""


def test_row_01_killed_within_a_write_it_goes_on_as_if_it_never_had_been(
    flags, trained, tmp_path, started, leave, lists
):
    run = tmp_path / "run"
    with started("-c", DIES, *flags, "--run", run) as training:
        assert training.wait() == -signal.SIGKILL
    checkpoints = run / "checkpoints"
    assert list((checkpoints / "unfinished").iterdir())
    code, _, err = leave("train", *flags, "--run", run, "--resume")
    assert code == 0, err
    assert "resuming after epoch 1\n" in err
    assert {path.name for path in checkpoints.iterdir()} == {"2", "3"}
    metrics = "metrics.jsonl"
    assert (run / metrics).read_bytes() == (trained / metrics).read_bytes()
    assert lists(run) == lists(trained)


def data_file(run: Path, epoch: int) -> Path:
    """The file of a checkpoint that holds the numbers."""
    files = (run / "checkpoints" / str(epoch) / "state" / "d").iterdir()
    return max(files, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("fault", ["truncated", "missing"])
def test_row_02_a_broken_file_is_told_and_the_checkpoint_before_is_used(
    flags, trained, copied, leave, fault
):
    file = data_file(copied, 3)
    if fault == "missing":
        file.unlink()
    else:
        os.truncate(file, 10)
    asked = ["recommend", "--run", copied, "--users", "u03"]
    code, out, err = leave(*asked)
    assert code == 0, err
    assert "u03" in out
    assert "checkpoint 3 is damaged (" in err
    assert "; using 2\n" in err
    code, out, err = leave(*asked, "--strict")
    assert (code, out) == (2, "")
    assert "checkpoint 3 is damaged (" in err
    resume = ["train", *flags, "--run", copied, "--resume"]
    code, _, err = leave(*resume, "--strict")
    assert code == 2
    assert "checkpoint 3 is damaged (" in err
    code, _, err = leave(*resume)
    assert code == 0, err
    assert "; using 2\n" in err
    assert "resuming after epoch 2\n" in err
    metrics = "metrics.jsonl"
    assert (copied / metrics).read_bytes() == (trained / metrics).read_bytes()


def test_row_02_a_run_never_begins_from_zero_because_all_is_damaged(
    flags, copied, leave
):
    for epoch in (2, 3):
        os.truncate(data_file(copied, epoch), 10)
    code, _, err = leave("train", *flags, "--run", copied, "--resume")
    assert code == 2
    assert "cannot be restored: checkpoint 3 is damaged" in err
    assert "checkpoint 2 is damaged" in err
    assert (copied / "checkpoints" / "3").is_dir()


def test_row_03_flipped_bits_name_the_leaf(flags, trained, copied, leave):
    file = data_file(copied, 3)
    content = bytearray(file.read_bytes())
    for place in range(0, len(content), 16):
        content[place] ^= 4
    file.write_bytes(content)
    code, _, err = leave("train", *flags, "--run", copied, "--resume")
    assert code == 0, err
    assert re.search(r"checkpoint 3 is damaged \(leaf \S+: .*\); using 2\n", err)
    metrics = "metrics.jsonl"
    assert (copied / metrics).read_bytes() == (trained / metrics).read_bytes()


class FillsUp:
    """A view of a run whose disk is full from one epoch on, until another."""

    def __init__(self, switch, full_from: str, until: str):
        self.said: list[str] = []
        self.switches = {full_from: lambda: switch(True), until: lambda: switch(False)}

    def say(self, message: str) -> None:
        self.said.append(message)

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        self.switches.get(title, lambda: None)()


def test_row_04_on_a_full_disk_training_goes_on_but_its_end_is_an_error(
    tiny, tmp_path, small_files
):
    config = tiny("mf", epochs=3, network__embedding_size=89, run=str(tmp_path / "run"))
    screen = FillsUp(small_files, "epoch 2/3", "epoch 3/3")
    assert fit(config, view=screen).epochs == 3
    (warning,) = [line for line in screen.said if "WARNING" in line]
    assert "checkpoint 2 could not be written" in warning
    assert "training goes on, kept are [0, 1]" in warning
    kept = {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    assert "3" in kept
    assert "2" not in kept
    longer = tiny("mf", epochs=4, network__embedding_size=89, run=config.run)
    screen = FillsUp(small_files, "epoch 4/4", "")
    with pytest.raises(
        UserError, match=r"checkpoint 4 could not .*make room and --resume"
    ):
        fit(longer, resume=True, view=screen)
    small_files(False)
    assert fit(longer, resume=True).epochs == 4


def forge(run: Path, **changes: object) -> None:
    """Changes the records of all checkpoints, with the digests that they should have then."""
    for file in (run / "checkpoints").glob("*/info/metadata"):
        record = json.loads(file.read_text())["record"] | changes
        file.write_text(
            json.dumps({"digest": digest(canonical(record)), "record": record})
        )


def test_row_13_another_format_is_refused_with_what_to_do(flags, copied, leave):
    forge(copied, format=FORMAT + 1)
    words = f"has format {FORMAT + 1}, expected at most {FORMAT}; use the version"
    code, _, err = leave("recommend", "--run", copied, "--users", "u03")
    assert code == 2
    assert words in err
    code, _, err = leave("train", *flags, "--run", copied, "--resume")
    assert code == 2
    assert words in err
    assert {path.name for path in (copied / "checkpoints").iterdir()} == {"2", "3"}


def test_row_14_an_absurd_shape_takes_no_memory(copied, leave):
    (record, *_) = (copied / "checkpoints").glob("*/info/metadata")
    leaves = json.loads(record.read_text())["record"]["leaves"]
    huge = {
        name: leaf | {"shape": [7 * 10**9, 5 * 10**9]} for name, leaf in leaves.items()
    }
    forge(copied, leaves=huge)
    code, _, err = leave("recommend", "--run", copied, "--users", "u03")
    assert code == 2
    assert "[7000000000, 5000000000], the model expects float32[" in err


class Harm:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_row_14_nothing_is_unpickled(copied, leave, tmp_path):
    mark = tmp_path / "harm"
    pickle.loads(pickle.dumps(Harm(mark)))  # this is what must not happen
    mark.unlink()
    data = copied / "dataset" / "dataset.npz"
    with np.load(data) as archive:
        columns = dict(archive)
    columns["column 0"] = np.array([Harm(mark)], object)
    np.savez(data, allow_pickle=True, **columns)
    code, _, err = leave("recommend", "--run", copied, "--users", "u03")
    assert code == 2
    assert "dataset.npz is damaged" in err
    assert "Traceback" not in err
    assert not mark.exists()


def test_row_14_a_link_to_elsewhere_is_neither_followed_nor_removed(
    flags, copied, leave, tmp_path, lists
):
    elsewhere = Path(
        shutil.copytree(copied / "checkpoints" / "2", tmp_path / "elsewhere")
    )
    before = lists(copied)
    link = copied / "checkpoints" / "9"
    link.symlink_to(elsewhere)
    files = {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")}
    assert lists(copied) == before
    code, _, err = leave("train", *flags, "--run", copied, "--resume")
    assert code == 0, err
    assert "resuming after epoch 3\n" in err
    assert link.is_symlink()
    assert {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")} == files
