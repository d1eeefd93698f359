"""The whole picture of one device: its ceilings, what this library makes of it, and PyTorch.

python benchmarks/device.py --out device.json
python benchmarks/device.py --share 50       sizes divided by 50: only to see that all works

It needs no network and no data. Each line runs in a process of its own. "Of the ceiling", of
rankings, is the larger of two shares: of the product in float32, in which rankings are made
(operations), and of the copy (bytes that have to move at least). Kernels and the busy share are
those of the whole line, by JAX's profiler; its own time counts as idle, so that "busy" is a lower
bound.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.device_lines import Line, all_lines  # noqa: E402
from benchmarks.worker import versions  # noqa: E402

COLUMNS = (
    "line",
    "ms",
    "of one",
    "kernels",
    "busy",
    "of the ceiling",
    "peak MiB",
    "s before",
)


@dataclass(frozen=True)
class Command:
    """What is measured."""

    only: tuple[str, ...] = ("",)
    """Lines whose name begins so; the ceilings always."""
    share: int = 1
    """Sizes are divided by it."""
    repeats: int = 3
    """Repetitions of every line; the median counts."""
    seconds: float = 90
    """After so many a line is given up."""
    out: Path | None = None
    """Where all that was found is written as JSON."""


def result_of(line: Line, command: Command) -> dict[str, Any]:
    """What was found of a line, or under "refused" why nothing was."""
    words = [sys.executable, "-W", "ignore", "-m", "benchmarks.device_line", line.name]
    words += [str(command.share), str(command.repeats)]
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            timeout=command.seconds,
        )
    except subprocess.TimeoutExpired:
        return {"refused": f"not done in {command.seconds:g} s"}
    if done.returncode:
        said = done.stderr.strip().splitlines() or [""]
        return {"refused": said[-1][-200:]}
    return json.loads(done.stdout.splitlines()[-1])


def of_ceiling(line: Line, seconds: float, ceilings: dict[str, float]) -> float | None:
    """The share of the nearer ceiling; None where nobody counted operations or bytes.

    Args:
        line: with its operations and bytes.
        seconds: that it took.
        ceilings: operations and bytes a second, by the names of the lines that measured them.
    """
    shares = []
    fastest = ceilings.get("product float32")
    if line.flops and fastest:
        shares.append(line.flops / seconds / fastest)
    if line.moved and "copy" in ceilings:
        shares.append(line.moved / seconds / ceilings["copy"])
    return max(shares, default=None)


def cells(line: Line, found: dict[str, Any], ceiling: float | None) -> list[str]:
    """One row of the table, by `COLUMNS`."""
    if "refused" in found:
        return [line.name, found["refused"], *[""] * (len(COLUMNS) - 2)]
    peak = found.get("peak memory")
    busy = found.get("busy")
    return [
        line.name,
        f"{1000 * found['seconds']:,.2f}",
        line.unit,
        f"{found['kernels']:,}" if "kernels" in found else "",
        "" if busy is None else f"{busy:.0%}",
        "" if ceiling is None else f"{ceiling:.1%}",
        "" if peak is None else f"{peak / 2**20:,.0f}",
        f"{found['seconds before']:.1f}",
    ]


def results(command: Command) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Each line with what was found."""
    ceilings: dict[str, float] = {}
    for line in all_lines(command.share):
        is_ceiling = line.name.startswith(("product", "copy"))
        if not is_ceiling and not line.name.startswith(command.only):
            continue
        found = result_of(line, command)
        if "seconds" in found:
            if is_ceiling:
                ceilings[line.name] = (line.flops or line.moved) / found["seconds"]
                found["a second"] = ceilings[line.name]
            else:
                share = of_ceiling(line, found["seconds"], ceilings)
                found["of the ceiling"] = share
        yield line, found


def main() -> None:
    """Prints a row as soon as it is there, and writes the file anew after each."""
    command = tyro.cli(Command, description=__doc__)
    rows: dict[str, Any] = {}
    print(" | ".join(COLUMNS), flush=True)
    for line, found in results(command):
        row = cells(line, found, found.get("of the ceiling"))
        print(" | ".join(row), flush=True)
        rows[line.name] = found
        if command.out:
            told = {"versions": versions(), "share": command.share, "lines": rows}
            command.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for name, found in rows.items():
        if "a second" in found:
            unit = "TB/s" if name == "copy" else "TFLOP/s"
            print(f"{name}: {found['a second'] / 1e12:,.2f} {unit}")


if __name__ == "__main__":
    main()
