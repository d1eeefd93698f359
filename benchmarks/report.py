"""Rows of figures to the terminal, CSV and Markdown."""

from __future__ import annotations

import csv
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.turns import Worker


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        name: of the comparison.
        work: what is done, for people.
        peer: who does the same; empty for nobody.
        peer_seconds: the median of the peer; None where it did not work.
        our_seconds: our median.
        ratio: of the medians, peer / ours.
        lowest_ratio: of the rounds.
        highest_ratio: of the rounds.
        note: further figures, and why somebody did not work.
    """

    name: str
    work: str
    peer: str
    peer_seconds: float | None
    our_seconds: float | None
    ratio: float | None
    lowest_ratio: float | None
    highest_ratio: float | None
    note: str


def row_of(
    name: str, work: str, ours: Worker, peer: Worker | None, figures: Sequence[str]
) -> Row:
    """Both programs of one comparison."""
    our_seconds = ours.median() if ours.replies else None
    peer_seconds = peer.median() if peer and peer.replies else None
    ratios = ratios_of(peer, ours)
    known = our_seconds is not None and peer_seconds is not None
    return Row(
        name=name,
        work=work,
        peer=peer.task.name if peer else "",
        peer_seconds=peer_seconds,
        our_seconds=our_seconds,
        ratio=peer_seconds / our_seconds if known else None,
        lowest_ratio=min(ratios, default=None),
        highest_ratio=max(ratios, default=None),
        note="; ".join(notes(ours, peer, figures)),
    )


def ratios_of(peer: Worker | None, ours: Worker) -> list[float]:
    """Peer / ours of every round; none where somebody did not work."""
    rounds = zip(peer.replies if peer else [], ours.replies, strict=False)
    return [reply["seconds"] / own["seconds"] for reply, own in rounds]


def notes(ours: Worker, peer: Worker | None, figures: Sequence[str]) -> list[str]:
    """Further figures, and why somebody did not work."""
    found = []
    if ours.replies:
        found += [f"our {figure} {shown(figure, ours)}" for figure in figures]
    found += [worker.refused for worker in (peer, ours) if worker and worker.refused]
    if peer and peer.replies and ours.replies:
        known = [figure for figure in figures if figure in peer.replies[0]]
        found += [f"peer's {figure} {shown(figure, peer)}" for figure in known]
    return found


def seconds(value: float | None) -> str:
    """Seconds for people, with three digits that count."""
    if value is None:
        return "-"
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.3g} us"


def shown(figure: str, worker: Worker) -> str:
    """A further figure: a time where its name does not end in its unit."""
    value = worker.median(figure)
    return (
        f"{value:.4g}"
        if figure.endswith(("steps", "MiB", "minutes"))
        else seconds(value)
    )


def cells(row: Row) -> list[str]:
    """The row as people read it."""
    ratio = "-"
    if row.ratio is not None:
        ratio = f"{row.ratio:.2f} ({row.lowest_ratio:.2f}-{row.highest_ratio:.2f})"
    return [
        row.work,
        row.peer or "-",
        seconds(row.peer_seconds),
        seconds(row.our_seconds),
        ratio,
        row.note,
    ]


def markdown(rows: Iterable[Row], environment: str) -> str:
    """The table with the line on the environment above."""
    heads = [
        "work",
        "peer",
        "seconds peer",
        "seconds ours",
        "ratio peer / ours (rounds)",
        "note",
    ]
    lines = [environment, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    return "\n".join(lines + [f"| {' | '.join(cells(row))} |" for row in rows]) + "\n"


def write(rows: Sequence[Row], environment: str, folder: Path) -> None:
    """speed.csv with every digit and speed.md for people."""
    with open(folder / "speed.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(Row._fields)
        table.writerows(rows)
    (folder / "speed.md").write_text(markdown(rows, environment), encoding="utf-8")


def processor() -> str:
    """What the system calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.split(":")[1].strip()
            for line in lines
            if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor()


def cores() -> int | None:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def environment_line(
    load: float, ours: dict[str, str], peers: dict[str, str], data: Iterable[str]
) -> str:
    """Processor, cores, load before the run, versions of both, and data, in one line."""
    python = f"Python {platform.python_version()}"
    parts = [
        f"{processor()}, {cores()} cores, load {load:.1f} before",
        f"ours: {python}, {listed(ours)}",
        f"peers: {listed(peers) or 'none'}",
        *data,
    ]
    return "; ".join(parts)


def listed(versions: dict[str, str]) -> str:
    """Names with their versions."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())
