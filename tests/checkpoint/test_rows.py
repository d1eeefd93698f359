"""Divided tables on disk: each device's rows are written from where they are, and read back there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.checkpoint import RunFolder, open_run, rows
from ancf_jax.checkpoint.damage import Damaged
from ancf_jax.checkpoint.record import read_record
from ancf_jax.checkpoint.rows import Column, Divided
from ancf_jax.errors import UserError
from ancf_jax.machine.parallel import sharding
from ancf_jax.models.registry import default_config
from ancf_jax.view import Silent

LENGTH = 23  # of the table: 4 devices have 6, 6, 6 and 5 rows
LEAVES = {"table": (LENGTH, 3), "mu": (LENGTH, 2, 2)}
WHOLE = {name: jax.ShapeDtypeStruct(LEAVES[name], np.float32) for name in LEAVES}


class Heard(Silent):
    def __init__(self):
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def leaf(name: str, epoch: int) -> np.ndarray:
    """Numbers that tell leaf, epoch and place."""
    size = int(np.prod(LEAVES[name]))
    numbers = np.arange(size, dtype=np.float32) + 1000 * epoch + 500 * (name == "mu")
    return numbers.reshape(LEAVES[name])


def state(epoch: int, devices: int) -> dict:
    """A state with the leaves side by side in rows of 8, of which the last is padding."""
    beside = np.zeros((-(-LENGTH // devices) * devices, 8), np.float32)
    for column in columns():
        end = column.begin + column.width
        of_leaf = leaf(column.name, epoch).reshape(LENGTH, -1)
        beside[:LENGTH, column.begin : end] = of_leaf
    table = jax.device_put(beside.reshape(devices, -1, 8), sharding(True, devices))
    return {
        "step": jnp.int32(epoch),
        "table": jnp.zeros((0, 3)),
        "rows": Divided(table, columns()),
    }


def columns() -> tuple[Column, ...]:
    float32 = np.dtype(np.float32)
    table = Column("table", 0, LEAVES["table"], float32)
    return table, Column("mu", 3, LEAVES["mu"], float32)


def template(devices: int) -> dict:
    found = state(0, devices)
    table = found["rows"].table
    shape = jax.ShapeDtypeStruct(table.shape, table.dtype, sharding=table.sharding)
    return found | {"rows": Divided(shape, columns())}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 4 rows of `table` and of 3 rows of `mu`."""
    monkeypatch.setattr(rows, "BLOCK_BYTES", 48)


def opened(path: Path, view=None, resume: bool = True):
    config = default_config("mf")
    return RunFolder.create(path, config, resume=resume, view=view or Silent())


@pytest.fixture
def run(tmp_path) -> Path:
    """A run with the checkpoints of epochs 1 and 2, written by 4 devices."""
    path = tmp_path / "run"
    with opened(path, resume=False) as folder:
        for epoch in (1, 2):
            assert folder.save(epoch, state(epoch, 4), {}, float(epoch), {})
    return path


@pytest.mark.parametrize("devices", [4, 3, 1])
def test_rows_come_back_on_any_number_of_devices(run, devices):
    with opened(run) as folder:
        found = folder.restore_latest(template(devices))
    assert found is not None
    expected = state(2, devices)
    table = found.state["rows"]
    assert table.sharding == expected["rows"].table.sharding
    np.testing.assert_array_equal(table, expected["rows"].table)
    assert int(found.state["step"]) == 2
    assert found.state["table"].shape == (0, 3)


def test_leaves_are_read_whole_where_they_are_asked_for_so(run):
    found = open_run(run).restore_best(WHOLE).state
    for name in LEAVES:
        np.testing.assert_array_equal(found[name], leaf(name, 2))


def test_whole_leaves_are_read_into_a_divided_table(tmp_path):
    whole = {name: leaf(name, 1) for name in LEAVES} | {"step": jnp.int32(1)}
    with opened(tmp_path / "run", resume=False) as folder:
        folder.save(1, whole, {}, 0.0, {})
        found = folder.restore_latest(template(4))
    assert found is not None
    np.testing.assert_array_equal(found.state["rows"], state(1, 4)["rows"].table)


def test_blocks_are_rows_of_one_device_and_small(run):
    """Where blocks begin, by hand: 4 devices with 6 rows each, blocks of 4 and of 3 rows."""
    written = {path.name for path in (run / "checkpoints/2/rows/0").iterdir()}
    assert written == {
        *(f"table.{begin}" for begin in (0, 4, 6, 10, 12, 16, 18, 22)),
        *(f"mu.{begin}" for begin in (0, 3, 6, 9, 12, 15, 18, 21)),
    }
    record = json.loads((run / "checkpoints/2/info/metadata").read_text())["record"]
    ends = [piece["end"] for piece in record["leaves"]["table"]["rows"]]
    assert ends == [4, 6, 10, 12, 16, 18, 22, 23]


def test_no_more_than_a_block_is_taken_to_the_host_at_once(tmp_path, monkeypatch):
    taken = []

    def asarray(x, *arguments):
        taken.append(x.size)
        return np.array(x, *arguments)

    held = state(1, 4)
    with opened(tmp_path / "run", resume=False) as folder:
        monkeypatch.setattr(rows.np, "asarray", asarray)
        assert folder.save(1, held, {}, 0.0, {})
        monkeypatch.undo()
    assert max(taken) <= 12
    assert sum(taken) >= LENGTH * 7


def data_of(block: Path) -> Path:
    (file,) = (path for path in block.iterdir() if path.name != ".zarray")
    return file


def flip(block: Path) -> None:
    content = bytearray(data_of(block).read_bytes())
    content[-1] ^= 4
    data_of(block).write_bytes(content)


def swap(block: Path) -> None:
    """The same block of another epoch: it reads well, but is not what was saved."""
    other = Path(str(block).replace("/checkpoints/2/", "/checkpoints/1/"))
    data_of(block).write_bytes(data_of(other).read_bytes())


def lose(block: Path) -> None:
    data_of(block).unlink()


@pytest.mark.parametrize("fault", [flip, swap, lose])
def test_a_damaged_block_is_named_and_the_checkpoint_before_it_used(run, fault):
    fault(run / "checkpoints/2/rows/0/mu.15")
    heard = Heard()
    found = open_run(run, heard).restore_best(WHOLE)
    assert found.epoch == 1
    np.testing.assert_array_equal(found.state["mu"], leaf("mu", 1))
    problem = r"checkpoint 2 is damaged \(leaf mu, rows 15 to 18: .*\); using 1"
    assert re.fullmatch(problem, heard.said[0])
    with opened(run, heard) as folder:
        latest = folder.restore_latest(template(3))
    assert latest is not None
    np.testing.assert_array_equal(latest.state["rows"], state(1, 3)["rows"].table)
    assert not (run / "checkpoints/2").exists()


def test_a_block_that_no_part_needs_is_not_read(run):
    flip(run / "checkpoints/2/rows/0/mu.15")
    assert open_run(run).restore_best({"table": WHOLE["table"]}).epoch == 2


def test_rows_that_are_in_no_block_are_told(run):
    place = run / "checkpoints/2"
    record = read_record(place).leaves["table"]
    del record["rows"][2]
    with pytest.raises(Damaged, match="leaf table: row 6 is in none of its blocks"):
        rows.read_rows(place, "table", record, 5, 8)
    np.testing.assert_array_equal(
        rows.read_rows(place, "table", record, 10, 17), leaf("table", 2)[10:17]
    )


def test_another_length_is_refused(run):
    other = {"table": jax.ShapeDtypeStruct((29, 3), np.float32)}
    with pytest.raises(UserError, match=r"table of checkpoint 2 is float32\[23, 3\]"):
        open_run(run).restore_best(other)


def test_a_write_that_fails_leaves_nothing(run, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    heard = Heard()
    with opened(run, heard) as folder:
        monkeypatch.setattr(rows, "_write", fail)
        assert not folder.save(3, state(3, 4), {}, 3.0, {})
        monkeypatch.undo()
        assert {path.name for path in (run / "checkpoints").glob("[0-9]*")} == {
            "1",
            "2",
        }
        assert folder.save(3, state(3, 4), {}, 3.0, {})
    (warning,) = heard.said
    assert re.search(
        "checkpoint 3 could not be written .*No space left on device", warning
    )
