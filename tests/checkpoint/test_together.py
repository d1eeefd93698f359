"""Two processes keep one run: each writes its own rows, and what fails in one fails in both."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

PROCESS = """
import json, sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from ancf_jax.checkpoint import RunFolder, rows
from ancf_jax.checkpoint.rows import Column, Divided
from ancf_jax.machine.parallel import is_first, join, lay, process_number, sharding, texts_of_all
from ancf_jax.models.registry import default_config
from ancf_jax.view import Silent

join()
path = Path(sys.argv[1])
where = sharding(True)
columns = (Column("table", 0, (23, 8), np.dtype(np.float32)),)
heard = []

class Heard(Silent):
    def say(self, message):
        heard.append(message)

def numbers(epoch):
    beside = np.zeros((24, 8), np.float32)
    beside[:23] = np.arange(184).reshape(23, 8) + 1000 * epoch
    return beside.reshape(4, 6, 8)

def state(epoch):
    table = jax.make_array_from_callback((4, 6, 8), where, lambda at: numbers(epoch)[at])
    whole = lay({"step": jnp.int32(epoch)})
    return {"step": whole["step"], "table": jnp.zeros((0, 8)), "rows": Divided(table, columns)}

def fail(*_):
    raise OSError(28, "No space left on device")

shape = jax.ShapeDtypeStruct((4, 6, 8), np.float32, sharding=where)
template = state(0) | {"rows": Divided(shape, columns)}
write = rows._write
told = {}
config = default_config("mf")
with RunFolder.create(path, config, resume=False, view=Heard()) as run:
    told["none"] = run.restore_latest(template) is None
    told["saved"] = run.save(1, state(1), {}, 1.0, {"waited": 3})
    if process_number() == 1:
        rows._write = fail
    told["full"] = run.save(2, state(2), {}, 2.0, {})
    rows._write = write
    told["again"] = run.save(2, state(2), {}, 2.0, {})
    texts_of_all("")
    if is_first():
        (file,) = (path / "checkpoints/2/rows/1/table.18").glob("0*")
        content = bytearray(file.read_bytes())
        content[-1] ^= 4
        file.write_bytes(content)
    texts_of_all("")
    found = run.restore_latest(template)
    told["epoch"] = found.epoch
    told["step"] = int(found.state["step"])
    told["equal"] = all(
        np.array_equal(shard.data, numbers(1)[shard.index])
        for shard in found.state["rows"].addressable_shards
    )
told["heard"] = heard
told["texts"] = texts_of_all("ä" * (1 + 6 * process_number()))
print(json.dumps(told))
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def both_told(run: Path) -> list[dict]:
    """What two processes with two devices each found."""
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
        "JAX_NUM_PROCESSES": "2",
    }
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(run)],
            env=environment | {"JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    return [json.loads(said.splitlines()[-1]) for said, _ in ended]


def test_two_processes_write_check_and_read_their_own_rows(tmp_path):
    run = tmp_path / "run"
    first, second = both_told(run)
    heard = first.pop("heard")
    assert len(second.pop("heard")) == len(heard)
    assert first == second
    assert first == {
        "none": True,
        "saved": True,
        "full": False,
        "again": True,
        "epoch": 1,
        "step": 1,
        "equal": True,
        "texts": ["ä", "ä" * 7],
    }
    full, damage = heard
    assert "checkpoint 2 could not be written" in full
    assert "process 1: No space left on device; training goes on" in full
    assert "checkpoint 2 is damaged (" in damage
    assert "process 1: leaf table, rows 18 to 23: " in damage
    assert damage.endswith("; using 1")
    checkpoint = run / "checkpoints/1"
    written = {path.name: os.listdir(path) for path in checkpoint.glob("rows/*")}
    assert {process: sorted(names) for process, names in written.items()} == {
        "0": ["table.0", "table.6"],
        "1": ["table.12", "table.18"],
    }
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"1"}
