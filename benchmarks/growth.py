"""Growth curves: what work costs as tables, events, items and histories grow."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from benchmarks.rows import mf_step, ours
from benchmarks.turns import Task, alternate

INK = "#333333"
COLOURS = ("#1f6f8b", "#d1603d")


class Curve(NamedTuple):
    """One line of a picture: a task for every size, and the figure of it that is drawn."""

    label: str
    sizes: Sequence[int]
    task: Callable[[int], Task]
    figure: str = "seconds"


class Picture(NamedTuple):
    """Curves over one kind of size."""

    name: str
    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]


def ancf_at(length: int) -> Task:
    """A part of an epoch with 16 rows of so many events; the step's time is drawn."""
    options: dict[str, Any] = {
        "length": length,
        "network__history_length": length,
        "loop__batch_size": 16,
    }
    return ours("ancf_epoch_of", chunks=1, **options)


def pictures(quick: bool) -> list[Picture]:
    """All pictures; with `quick` only the small sizes."""
    end = 2 if quick else None
    return [tables(end), events(end), items(end), history(end)]


def tables(end: int | None) -> Picture:
    """Steps over tables of more and more rows."""

    def sparse(rows: int) -> Task:
        return mf_step(rows, "sparse", steps=200)

    def dense(rows: int) -> Task:
        return mf_step(rows, "dense")

    return Picture(
        "growth-tables",
        "One training step of mf, 8,192 rows touched",
        "rows of each of the two tables (32 dims)",
        "seconds a step",
        (
            Curve("row-sparse", (10**4, 10**5, 10**6, 10**7)[:end], sparse),
            Curve("dense", (10**4, 10**5, 10**6)[:end], dense),
        ),
    )


def events(end: int | None) -> Picture:
    """Epochs over more and more events."""

    def neumf(count: int) -> Task:
        return ours("neumf_epoch_of", events=count)

    sizes = (10**4, 10**5, 10**6, 4 * 10**6)[:end]
    return Picture(
        "growth-events",
        "One training epoch of neumf",
        "training events",
        "seconds an epoch",
        (Curve("neumf", sizes, neumf),),
    )


def items(end: int | None) -> Picture:
    """Rankings over more and more items."""

    def neumf(count: int) -> Task:
        return ours("neumf_top_of", items=count)

    def mf(count: int) -> Task:
        return ours("mf_top_n", users=512, items=count)

    return Picture(
        "growth-items",
        "Exact top 10 of 512 users",
        "items in the catalogue",
        "seconds",
        (
            Curve("neumf", (10**3, 10**4, 10**5)[:end], neumf),
            Curve("mf", (10**3, 10**4, 10**5, 10**6)[:end], mf),
        ),
    )


def history(end: int | None) -> Picture:
    """Steps over longer and longer histories."""
    sizes = (25, 50, 100, 200, 400)[:end]
    return Picture(
        "growth-history",
        "One training step of ancf, 16 rows of events, full softmax over 3,416 items",
        "history length",
        "seconds a step",
        (Curve("ancf", sizes, ancf_at, "step"),),
    )


def measured(curve: Curve, repeats: int, errors: TextIO) -> list[tuple[int, float]]:
    """Size and median figure, one worker after the other.

    Sizes that a worker refuses are left out.
    """
    found = []
    for size in curve.sizes:
        (worker,) = alternate([curve.task(size)], repeats, "", errors)
        said = worker.refused
        if worker.replies:
            median = worker.median(curve.figure)
            found.append((size, median))
            said = f"{median:.4g} s"
        print(curve.label, f"{size:,}", said, flush=True)
    return found


def draw(
    picture: Picture, lines: dict[str, list[tuple[int, float]]], path: Path
) -> None:
    """Both axes logarithmic, every line labelled at its end."""
    figure, axes = plt.subplots(figsize=(6.4, 4.0), dpi=150, layout="constrained")
    for (label, points), colour in zip(lines.items(), COLOURS, strict=False):
        if points:
            draw_line(axes, label, points, colour)
    sizes = sorted({size for points in lines.values() for size, _ in points})
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    label_seconds(axes)
    axes.set_title(picture.title, fontsize=10)
    axes.set(xlabel=picture.x, ylabel=picture.y)
    axes.margins(x=0.12, y=0.15)
    axes.grid(which="major", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    figure.savefig(path)
    plt.close(figure)


def draw_line(
    axes: Axes, label: str, points: list[tuple[int, float]], colour: str
) -> None:
    """One line, labelled at its end."""
    sizes, seconds = zip(*points, strict=True)
    axes.loglog(sizes, seconds, marker="o", color=colour, label=label)
    axes.annotate(
        label,
        points[-1],
        xytext=(6, 4),
        textcoords="offset points",
        color=colour,
    )


def label_seconds(axes: Axes) -> None:
    """Plain numbers; between the powers of ten where there are few of those."""
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain if high < 10 * low else NullFormatter())


def draw_all(
    plots: Path, out: Path, quick: bool, only: Sequence[str], errors: TextIO
) -> None:
    """Measures and draws every picture whose name begins with one of `only`.

    The points are written to growth.csv.
    """
    plots.mkdir(parents=True, exist_ok=True)
    repeats = 1 if quick else 3
    with open(out / "growth.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("picture", "curve", "size", "seconds"))
        for picture in pictures(quick):
            if not picture.name.startswith(tuple(only)):
                continue
            lines = {
                curve.label: measured(curve, repeats, errors)
                for curve in picture.curves
            }
            for label, points in lines.items():
                table.writerows((picture.name, label, *point) for point in points)
            draw(picture, lines, plots / f"{picture.name}.png")
