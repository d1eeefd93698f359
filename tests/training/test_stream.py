"""Streams: every event once an epoch, whole histories, and the same batches whoever holds them."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.config import override
from ancf_jax.data import VALIDATION
from ancf_jax.prepared import prepare
from ancf_jax.training.loop import trainer
from ancf_jax.training.stream import LANES, Stream, lanes
from ancf_jax.types import EventLog

RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 29, 101)
START = np.cumsum([0, *COUNTS]).astype(np.int32)
EVENTS = int(START[-1])
USER = np.repeat(np.arange(101, dtype=np.int32), COUNTS)


def make_log() -> EventLog:
    """Items say which event it is; every user has seen half of the items, rounded down.

    Every third event of a user begins a basket.
    """
    event = np.arange(EVENTS, dtype=np.int32)
    floats = event.astype(np.float32)
    seen_start = np.cumsum([0, *(COUNTS // 2)]).astype(np.int32)
    return EventLog(
        user=USER,
        item=event,
        minute=event + 1,
        value=floats,
        kind=event,
        mean_dwell=floats,
        prior_kind=event,
        prior_dwell=floats,
        start=START,
        seen_item=np.arange(seen_start[-1], dtype=np.int32),
        seen_start=seen_start,
        number=np.arange(101, dtype=np.int32),
        basket_place=(event - START[USER]) % 3,
    )


LOG = make_log()


def stream(
    devices: int = 1,
    local: range | None = None,
    window: int = 0,
    events: int = 0,
    batch: int = 16,
) -> Stream:
    return Stream(
        log=LOG,
        window=window,
        batch_size=batch,
        events=events,
        seed=5,
        local=local or range(devices),
        devices=devices,
        agree=lambda number: number,
    )


def seen_by(chunks, window: int = 0) -> list[np.ndarray]:
    """For each device and chunk the events of its examples, by the item that names them."""
    found = []
    for chunk in chunks:
        for device, rows in enumerate(chunk[1]):
            at = rows[rows >= 0]
            found.append(chunk[0].item[device][at])
            assert (at < (chunk[0].start[device][-1])).all()
    return found


@pytest.mark.parametrize("window", [0, 7])
@pytest.mark.parametrize("events", [0, 97, 1])
def test_every_event_comes_once_an_epoch(window, events):
    one = stream(2, window=window, events=events)
    chunks = list(one.epoch(3))
    found = np.concatenate(seen_by(chunks))
    np.testing.assert_array_equal(np.sort(found), np.arange(EVENTS))
    assert (len(chunks) > 1) == (events > 0)


COLUMNS = (
    "item",
    "minute",
    "value",
    "kind",
    "mean_dwell",
    "prior_kind",
    "prior_dwell",
    "basket_place",
)


def events_of(log: EventLog, user: int) -> slice:
    return slice(log.start[user], log.start[user + 1])


def seen_items_of(log: EventLog, user: int) -> np.ndarray:
    return log.seen_item[log.seen_start[user] : log.seen_start[user + 1]]


def test_a_chunk_is_small_and_has_the_shapes_of_all():
    chunks = list(stream(events=97).epoch(0))
    shapes = {tuple(map(np.shape, log)) for log, _ in chunks}
    assert len(shapes) == 1
    assert len(chunks) > 2
    assert chunks[0][0].item.shape[1] < 97 + LANES * 4 * 29


def test_a_chunk_holds_its_users_whole():
    found = set()
    for of_devices, _ in stream(events=97).epoch(0):
        log = jax.tree.map(lambda column: column[0], of_devices)
        for row, number in enumerate(log.number):
            own = events_of(log, row)
            if own.stop == own.start:
                continue
            found.add(int(number))
            for name in COLUMNS:
                expected = getattr(LOG, name)[events_of(LOG, number)]
                np.testing.assert_array_equal(getattr(log, name)[own], expected)
            assert (log.user[own] == row).all()
            np.testing.assert_array_equal(
                seen_items_of(log, row), seen_items_of(LOG, number)
            )
    assert found == set(np.flatnonzero(COUNTS))


def test_a_chunk_of_a_log_without_baskets_has_none():
    one = dataclasses.replace(stream(events=97), log=LOG._replace(basket_place=None))
    for of_devices, _ in one.epoch(0):
        assert of_devices.basket_place is None


def batches(one: Stream, epoch: int = 0) -> list[np.ndarray]:
    """The events of each step over the devices of this stream, as [batch] (-1 padded)."""
    found = []
    for chunk in one.epoch(epoch):
        for step in range(chunk[1].shape[1]):
            rows = [
                (log, rows[step])
                for log, rows in zip(chunk[0].item, chunk[1], strict=True)
            ]
            found.append(
                np.concatenate([np.where(at >= 0, log[at], -1) for log, at in rows])
            )
    return found


def test_batches_do_not_depend_on_the_number_of_devices_or_processes():
    alone = batches(stream(1))
    np.testing.assert_array_equal(alone, batches(stream(4)))
    halves = [batches(stream(4, range(begin, begin + 2))) for begin in (0, 2)]
    # Processes agree on the number of steps; here each has its own.
    steps = max(map(len, halves))
    padded = [[*half, *[np.full(8, -1)] * (steps - len(half))] for half in halves]
    np.testing.assert_array_equal(alone, np.concatenate(padded, axis=1))


def test_the_order_is_a_function_of_seed_and_epoch():
    one = batches(stream())
    np.testing.assert_array_equal(one, batches(stream()))
    other_epoch = batches(stream(), epoch=1)
    other_seed = batches(dataclasses.replace(stream(), seed=6))
    for other in (other_epoch, other_seed):
        assert not np.array_equal(one, other)


def test_lanes_are_shared_evenly():
    assert [lanes(n) for n in (1, 2, 4, 8)] == [LANES] * 4
    assert lanes(3) == 3


# Each device draws by itself what it drops.
SURE = {"mf": {}, "ancf": {"network__dropout": 0.0, "network__user_dropout": 0.0}}


@pytest.mark.parametrize(
    ("model", "kind"), [("mf", "pmap"), ("mf", "shard_map"), ("ancf", "pmap")]
)
def test_training_from_a_stream_is_the_same_on_four_devices(tiny, model, kind):
    config = tiny(model, loop__spread=kind, optim__optimizer="sgd", **SURE[model])
    dataset = data.build(config)
    states = []
    for devices in (1, 4):
        # As many events at a time over all devices: the blocks of users are the same.
        settings = override(config, {"loop.stream": 28 // devices})
        prepared = prepare(settings, dataset, data.known_parts(VALIDATION))
        made = trainer(prepared, devices)
        state = made.initial_state()
        for epoch in range(2):
            for reached, _ in made.epoch(state, epoch):
                state = reached
        states.append(jax.device_get(made.states.portable(state)))
    assert int(states[0].step) > 4
    for one, other in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(flags: list[str], devices: int, **environment: str) -> subprocess.Popen:
    settings = {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
    }
    script = Path(__file__).resolve().parents[2] / "train.py"
    return subprocess.Popen(
        [sys.executable, str(script), *flags],
        env=os.environ | settings | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_two(flags: list[str]) -> list[subprocess.Popen]:
    """Two processes with two devices each, which train together."""
    address = f"127.0.0.1:{free_port()}"
    return [
        start(
            [*flags, "--loop.distributed"],
            devices=2,
            JAX_COORDINATOR_ADDRESS=address,
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]


def together(flags: list[str]) -> list[str]:
    """What two processes say, which train together."""
    both = start_two(flags)
    found = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(found)
    return found


def test_a_signal_to_one_of_two_processes_saves_and_ends_both(planted_shop, tmp_path):
    run = tmp_path / "run"
    flags = shlex.split("--model mf --loop.batch-size 16 --loop.tables divided")
    flags += ["--data", str(planted_shop), "--run", str(run)]
    first, second = start_two(
        [*flags, "--epochs", "999", "--loop.checkpoint-every", "1000"]
    )
    assert first.stdout is not None
    said = ""
    while "epoch   3 " not in said:
        said = first.stdout.readline()
        assert said, "it left before the third epoch"
    second.send_signal(signal.SIGTERM)
    found = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [143, 143], found
    assert "another process of this run was stopped" in found[0]
    assert "resume with the same command" in found[1]
    (within,) = (run / "checkpoints").glob("*+*")
    epoch, steps = within.name.split("+")
    assert f"saved after epoch {epoch} and {steps} steps" in found[0]
    said = together([*flags, "--epochs", str(int(epoch) + 2), "--resume"])[0]
    assert f"resuming after epoch {epoch} and {steps} steps" in said
    rows = [row["epoch"] for row in losses(run)]
    assert rows == list(range(int(epoch) + 3))


def losses(run: Path) -> list[dict[str, float]]:
    return [
        json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()
    ]


def test_two_processes_with_a_share_of_every_table_train_as_one(planted_shop, tmp_path):
    flags = shlex.split(
        "--model mf --network.embedding-size 5 --loop.batch-size 16 --loop.tables divided "
        "--optim.schedule constant"
    )
    flags += ["--data", str(planted_shop)]
    whole = [
        "--epochs",
        "2",
        "--run",
        str(tmp_path / "one"),
        "--loop.stream",
        "1000000",
    ]
    alone = start([*flags, *whole], devices=4)
    flags += ["--run", str(tmp_path / "two")]
    said = together([*flags, "--epochs", "1"])
    assert "epoch" in said[0]
    assert "epoch" not in said[1]  # the first process speaks for both
    together([*flags, "--epochs", "2", "--resume"])
    text = alone.communicate(timeout=120)[0]
    assert alone.returncode == 0, text
    one = losses(tmp_path / "one")
    two = losses(tmp_path / "two")
    assert [row["epoch"] for row in two] == [0, 1, 2]
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    assert not (tmp_path / "two" / "checkpoints" / "3").exists()
