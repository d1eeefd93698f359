"""What a device did while some work ran, from JAX's profiler: kernels, and how long it was busy."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax

Span = tuple[float, float]  # begin and end in microseconds


class Activity(NamedTuple):
    """What the first device did.

    Attributes:
        kernels: how many it ran, copies among them.
        busy: seconds in which at least one ran.
    """

    kernels: int
    busy: float


def traced(work: Callable[[], Any]) -> Activity | None:
    """The activity of the first accelerator during `work`; None where there is none."""
    if jax.default_backend() == "cpu":
        return None
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            work()
        (path,) = Path(folder).rglob("*.trace.json.gz")
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return activity(json.load(file)["traceEvents"])


def activity(events: list[dict[str, Any]]) -> Activity:
    """The activity in the events of a trace, as Chrome's trace viewer reads them.

    A device is a process called "/device:GPU:0"; its streams are threads, and beside them stand
    others that say the same by module and by operation.
    """
    device = next(
        event["pid"]
        for event in events
        if _is_name_of(event, "process_name", "/device:")
    )
    streams = {
        event["tid"]
        for event in events
        if event.get("pid") == device and _is_name_of(event, "thread_name", "Stream")
    }
    spans = [
        (event["ts"], event["ts"] + event["dur"])
        for event in events
        if event.get("ph") == "X"
        and event.get("pid") == device
        and event.get("tid") in streams
    ]
    return Activity(len(spans), union(spans) / 1e6)


def _is_name_of(event: dict[str, Any], kind: str, begins: str) -> bool:
    """Whether an event gives a process or a thread a name that begins so."""
    is_kind = event.get("ph") == "M" and event.get("name") == kind
    return is_kind and event["args"]["name"].startswith(begins)


def union(spans: Iterable[Span]) -> float:
    """The time that spans cover together."""
    total = 0.0
    reached = float("-inf")
    for begin, end in sorted(spans):
        total += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return total
