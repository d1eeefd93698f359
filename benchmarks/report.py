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
    """One line of the table; seconds are medians, None where a side did not work."""

    name: str
    work: str
    peer: str
    peer_seconds: float | None
    our_seconds: float | None
    ratio: float | None  # of the medians: peer / ours
    least: float | None  # the ratio of the rounds, from the least ..
    most: float | None  # .. to the most
    note: str


def row_of(
    name: str, work: str, ours: Worker, peer: Worker | None, figures: Sequence[str]
) -> Row:
    """Both sides of one comparison."""
    note = [f"our {figure} {shown(figure, ours)}" for figure in figures if ours.replies]
    note += [side.refused for side in (peer, ours) if side and side.refused]
    mine = ours.median() if ours.replies else None
    theirs = peer.median() if peer and peer.replies else None
    if peer is None or mine is None or theirs is None:
        return Row(
            name,
            work,
            peer.task.name if peer else "",
            theirs,
            mine,
            None,
            None,
            None,
            "; ".join(note),
        )
    note += [
        f"peer's {figure} {shown(figure, peer)}"
        for figure in figures
        if figure in peer.replies[0]
    ]
    each = [
        p["seconds"] / o["seconds"]
        for p, o in zip(peer.replies, ours.replies, strict=False)
    ]
    return Row(
        name,
        work,
        peer.task.name,
        theirs,
        mine,
        theirs / mine,
        min(each),
        max(each),
        "; ".join(note),
    )


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
    ratio = (
        "-"
        if row.ratio is None
        else f"{row.ratio:.2f} ({row.least:.2f}-{row.most:.2f})"
    )
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


def environment_line(
    load: float, ours: dict[str, str], peers: dict[str, str], data: Iterable[str]
) -> str:
    """Processor, cores, load before the run, versions on both sides, and data, in one line."""
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count()
    )
    mine, theirs = (
        ", ".join(f"{name} {version}" for name, version in side.items())
        for side in (ours, peers)
    )
    sides = (
        f"ours: Python {platform.python_version()}, {mine}; peers: {theirs or 'none'}"
    )
    return f"{processor()}, {cores} cores, load {load:.1f} before; {sides}; {'; '.join(data)}"
