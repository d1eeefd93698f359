"""Measures one line of `benchmarks/device.py` and prints what was found, as JSON.

python -m benchmarks.device_line NAME SHARE REPEATS

A process of its own, so that each has the whole memory of the device.
"""

from __future__ import annotations

import json
import statistics
import sys
from time import perf_counter
from typing import Any

import jax

from benchmarks.device_lines import Line, all_lines
from benchmarks.device_profile import traced


def measured(line: Line, repeats: int) -> dict[str, Any]:
    """Seconds of a repetition (the median), of preparation with compiling, and the activity."""
    begin = perf_counter()
    work = line.prepare(line.options)
    work()
    found: dict[str, Any] = {"seconds before": perf_counter() - begin}
    taken = [_seconds(work) for _ in range(repeats)]
    found["seconds"] = statistics.median(taken)
    if not line.name.startswith("PyTorch"):
        found |= _on_device(work)
    return found


def _seconds(work: Any) -> float:
    """Those that the work says, or those that it took."""
    begin = perf_counter()
    reply = work()
    taken = perf_counter() - begin
    return reply.get("seconds", taken) if isinstance(reply, dict) else taken


def _on_device(work: Any) -> dict[str, Any]:
    """Kernels and busy share of one more repetition, and the most memory that was in use."""
    begin = perf_counter()
    activity = traced(work)
    taken = perf_counter() - begin
    stats = jax.local_devices()[0].memory_stats() or {}
    found: dict[str, Any] = {"peak memory": stats.get("peak_bytes_in_use")}
    if activity is not None:
        found |= {"kernels": activity.kernels, "busy": activity.busy / taken}
    return found


def main(name: str, share: str, repeats: str) -> None:
    """Prints one line of JSON."""
    lines = {line.name: line for line in all_lines(int(share))}
    print(json.dumps(measured(lines[name], int(repeats))))


if __name__ == "__main__":
    main(*sys.argv[1:])
