"""Compiles every training step and every ranking program for devices that need not be there.

    python benchmarks/compile_for.py tpu-v5e:2x2                     needs jax[tpu]
    python benchmarks/compile_for.py h100 --only "step ancf" rank    needs jax[cuda13]
    python benchmarks/compile_for.py h100 --only "step ancf, 128" --by-source

Each line is compiled in a process of its own, for the compiler for TPUs ends its process where it
meets what it cannot do. The table tells of each program: seconds of compiling (by the clock, and
by the processor), kernels (fusions, products of matrices, other custom calls, copies, others), what
devices tell each other, temporary memory, and, where the compiler counts them, operations and
bytes. Kernels are counted as they stand in the program: those within a loop run many times.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import worker  # noqa: E402
from benchmarks.compile_lines import all_lines, small_lines  # noqa: E402
from benchmarks.compile_target import HELP, environment  # noqa: E402

KINDS = {
    "fusion": "fusions",
    "product": "products",
    "custom": "custom calls",
    "copy": "copies",
    "other": "other kernels",
}
COLUMNS = (
    "line",
    "result",
    "s",
    "processor s",
    *KINDS.values(),
    "devices tell each other",
    "temporary MiB",
    "GFLOP",
    "MB moved",
)
PACKAGES = ("jax", "jaxlib", "libtpu", "jax-cuda13-plugin", "jax-cuda12-plugin")


@dataclass(frozen=True)
class Command:
    """What is compiled, and for which devices."""

    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help=HELP)]
    only: tuple[str, ...] = ("",)
    """Lines whose name begins so."""
    small: bool = False
    """A handful of small lines: a minute."""
    by_source: bool = False
    """Also show which module, or function, each kernel comes from."""
    jobs: int = 1
    """Lines that are compiled at a time; memory grows with it, and seconds mean less."""
    minutes: float = 30
    """After so many a line is given up."""
    out: Path | None = None
    """Where the table is written: a file .json, .csv or .md."""
    text: Path | None = None
    """A folder for the compiled programs as text."""


def result_of(name: str, command: Command) -> dict[str, Any]:
    """What came of a line; its "result" is "ok", or why there is no program."""
    words = [sys.executable, "-m", "benchmarks.compile_line", command.target, name]
    if command.text:
        command.text.mkdir(parents=True, exist_ok=True)
        words.append(str(command.text.resolve() / f"{name.replace(' ', '-')}.txt"))
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        try:
            done = subprocess.run(
                words,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=environment(command.target),
                timeout=60 * command.minutes,
            )
        except subprocess.TimeoutExpired:
            return {"line": name, "result": f"not done in {command.minutes:g} minutes"}
        errors.seek(0)
        said = errors.read()
    if done.returncode:
        return {"line": name, "result": last_words(said, done.returncode)}
    found = json.loads(done.stdout.splitlines()[-1])
    return {"line": name, "result": "ok", **found}


def last_words(said: str, code: int) -> str:
    """The line of a failed process that says why: of a failed check, of an error, or the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for words in ("Check failed", "Error:", ""):
        found = [line for line in lines if words in line]
        if found:
            return f"exit {code}: {found[-1][-300:]}"
    return f"exit {code}"


def cells(found: dict[str, Any]) -> list[str]:
    """One row of the table, by `COLUMNS`."""
    if found["result"] != "ok":
        return [found["line"], found["result"], *[""] * (len(COLUMNS) - 2)]
    kinds = [str(found["kernels"].get(kind, 0)) for kind in KINDS]
    return [
        found["line"],
        "ok",
        f"{found['seconds']:.0f}",
        f"{found['processor seconds']:.0f}",
        *kinds,
        told_in_words(found["collectives"]),
        _scaled(found.get("temporary"), 2**20),
        _scaled(found.get("flops"), 1e9),
        _scaled(found.get("bytes"), 1e6),
    ]


def _scaled(number: float | None, unit: float) -> str:
    return "" if number is None else f"{number / unit:,.2f}"


def told_in_words(collectives: dict[str, Sequence[int]]) -> str:
    """How many collectives of each name, and the bytes that they give."""
    parts = [
        f"{count} {name} of {size:,} B"
        for name, (count, size) in sorted(collectives.items())
    ]
    return "; ".join(parts)


def sources_table(sources: dict[str, dict[str, int]]) -> list[str]:
    """Lines that say how many kernels of each kind each source has, the most first."""
    head = " ".join(f"{name:>13}" for name in ("kernels", *KINDS.values()))
    rows = sorted(sources.items(), key=lambda row: -sum(row[1].values()))
    return [f"{head}  source", *(_source_row(*row) for row in rows)]


def _source_row(source: str, kinds: dict[str, int]) -> str:
    numbers = [sum(kinds.values()), *(kinds.get(kind, 0) for kind in KINDS)]
    return " ".join(f"{number:13d}" for number in numbers) + f"  {source}"


def versions() -> str:
    """The versions of what compiles."""
    installed = worker.versions(PACKAGES)
    return ", ".join(f"{name} {version}" for name, version in installed.items())


def write(rows: list[dict[str, Any]], command: Command, path: Path) -> None:
    """Writes the table in the form that the name of the file asks for."""
    head = {"target": command.target, "versions": versions()}
    if path.suffix == ".json":
        text = json.dumps({**head, "lines": rows}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            table.writerows(cells(row) for row in rows)
    else:
        path.write_text(markdown(rows, f"{command.target}; {versions()}"), "utf-8")


def markdown(rows: list[dict[str, Any]], title: str) -> str:
    """The table as Markdown."""
    body = [COLUMNS, ["---"] * len(COLUMNS), *map(cells, rows)]
    lines = ["| " + " | ".join(row) + " |" for row in body]
    return "\n".join([title, "", *lines, ""])


def results(command: Command) -> Iterator[dict[str, Any]]:
    """What came of each line, in order."""
    lines = small_lines() if command.small else all_lines()
    chosen = [line.name for line in lines if line.name.startswith(command.only)]
    if not chosen:
        known = "\n".join(line.name for line in lines)
        raise SystemExit(f"no line begins so; choose of\n{known}")
    with ThreadPoolExecutor(command.jobs) as pool:
        yield from pool.map(lambda name: result_of(name, command), chosen)


def main() -> None:
    """Compiles what the flags ask for; leaves with 1 where a line failed."""
    command = tyro.cli(Command, description=__doc__)
    print(f"{command.target}; {versions()}")
    print(" | ".join(COLUMNS), flush=True)
    rows = []
    for found in results(command):
        print(" | ".join(cells(found)), flush=True)
        if command.by_source and found["result"] == "ok":
            print("\n".join(sources_table(found["sources"])), flush=True)
        rows.append(found)
        if command.out:
            write(rows, command, command.out)
    failed = sum(row["result"] != "ok" for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} compiled")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
