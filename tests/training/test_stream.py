"""Streams: every event once an epoch, whole histories, and the same batches whoever holds them."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from ancf_jax.data import dataset as data
from ancf_jax.data.interactions import VALIDATION
from ancf_jax.runs import build_model
from ancf_jax.training.loop import trainer
from ancf_jax.training.stream import LANES, Stream, lanes
from ancf_jax.types import EventLog

RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 29, 101)
START = np.cumsum([0, *COUNTS]).astype(np.int32)
EVENTS = int(START[-1])
USER = np.repeat(np.arange(101, dtype=np.int32), COUNTS)


def make_log() -> EventLog:
    """Items say which event it is; every user has seen half of the items, rounded down."""
    event = np.arange(EVENTS, dtype=np.int32)
    seen = np.cumsum([0, *(COUNTS // 2)]).astype(np.int32)
    number = np.arange(101, dtype=np.int32)
    floats = event.astype(np.float32)
    seen_item = np.arange(seen[-1], dtype=np.int32)
    return EventLog(
        USER,
        event,
        event + 1,
        floats,
        event,
        floats,
        event,
        floats,
        START,
        seen_item,
        seen,
        number,
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
        LOG,
        window,
        batch,
        events,
        5,
        local or range(devices),
        devices,
        lambda number: number,
    )


def seen_by(chunks, window: int = 0) -> list[np.ndarray]:
    """For each device and chunk the events of its examples, in order, by the item that names them."""
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


def test_a_chunk_is_small_and_holds_its_users_whole():
    one = stream(events=97)
    chunks = list(one.epoch(0))
    shapes = {tuple(map(np.shape, chunk[0])) for chunk in chunks}
    assert len(shapes) == 1
    assert len(chunks) > 2
    assert chunks[0][0].item.shape[1] < 97 + LANES * 4 * 29
    for chunk in chunks:
        log = EventLog(*(column[0] for column in chunk[0]))
        for row, number in enumerate(log.number):
            begin, end = log.start[row : row + 2]
            if end > begin:
                whole = slice(START[number], START[number + 1])
                for name in (
                    "item",
                    "minute",
                    "value",
                    "kind",
                    "mean_dwell",
                    "prior_kind",
                    "prior_dwell",
                ):
                    np.testing.assert_array_equal(
                        getattr(log, name)[begin:end], getattr(LOG, name)[whole]
                    )
                assert (log.user[begin:end] == row).all()
                seen = log.seen_item[log.seen_start[row] : log.seen_start[row + 1]]
                np.testing.assert_array_equal(
                    seen,
                    LOG.seen_item[LOG.seen_start[number] : LOG.seen_start[number + 1]],
                )


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
    steps = max(
        map(len, halves)
    )  # processes agree on the number of steps; here each has its own
    padded = [[*half, *[np.full(8, -1)] * (steps - len(half))] for half in halves]
    np.testing.assert_array_equal(alone, np.concatenate(padded, axis=1))


def test_the_order_is_a_function_of_seed_and_epoch():
    one = batches(stream())
    assert all(
        np.array_equal(a, b) for a, b in zip(one, batches(stream()), strict=True)
    )
    other_epoch, other_seed = (
        batches(stream(), epoch=1),
        batches(dataclasses.replace(stream(), seed=6)),
    )
    for other in (other_epoch, other_seed):
        assert len(other) != len(one) or any(
            not np.array_equal(a, b) for a, b in zip(one, other, strict=True)
        )


def test_lanes_are_shared_evenly():
    assert [lanes(n) for n in (1, 2, 4, 8)] == [LANES] * 4
    assert lanes(3) == 3


@pytest.mark.parametrize(
    ("model", "kind"), [("mf", "pmap"), ("mf", "shard_map"), ("ancf", "pmap")]
)
def test_training_from_a_stream_is_the_same_on_four_devices(tiny, model, kind):
    sure = {"network__dropout": 0.0, "network__user_dropout": 0.0}
    config = tiny(
        model, loop__stream=7, loop__spread=kind, optim__optimizer="sgd", **sure
    )
    dataset = data.build(config)
    log, catalogue = (
        data.event_log(dataset, data.known_parts(VALIDATION)),
        data.catalogue(dataset),
    )
    states = []
    for devices in (1, 4):
        # As many events at a time over all devices: the blocks of users are the same.
        settings = dataclasses.replace(
            config, loop=dataclasses.replace(config.loop, stream=28 // devices)
        )
        made = trainer(settings, build_model(config, dataset), log, catalogue, devices)
        state = made.initial_state()
        for epoch in range(2):
            for reached, _ in made.epoch(state, epoch):
                state = reached
        states.append(jax.device_get(made.portable(state)))
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


def losses(run: Path) -> list[dict[str, float]]:
    return [
        json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()
    ]


def test_two_processes_with_a_share_of_every_table_train_as_one(planted_shop, tmp_path):
    flags = [
        "--model",
        "mf",
        "--data",
        str(planted_shop),
        "--loop.batch-size",
        "16",
        "--network.embedding-size",
        "5",
    ]
    flags += ["--loop.tables", "divided", "--optim.schedule", "constant", "--epochs"]
    alone = start(
        [*flags, "2", "--run", str(tmp_path / "one"), "--loop.stream", "1000000"], 4
    )
    address = f"127.0.0.1:{free_port()}"

    def together(*more: str) -> list[str]:
        both = [
            start(
                [*flags, *more, "--run", str(tmp_path / "two"), "--loop.distributed"],
                2,
                JAX_COORDINATOR_ADDRESS=address,
                JAX_NUM_PROCESSES="2",
                JAX_PROCESS_ID=str(number),
            )
            for number in range(2)
        ]
        found = [process.communicate(timeout=120)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0], "\n".join(found)
        return found

    said = together("1")
    assert "epoch" in said[0]
    assert "epoch" not in said[1]  # the first process speaks for both
    together("2", "--resume")
    text = alone.communicate(timeout=120)[0]
    assert alone.returncode == 0, text
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [row["epoch"] for row in two] == [0, 1, 2]
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    assert not (tmp_path / "two" / "checkpoints" / "3").exists()
