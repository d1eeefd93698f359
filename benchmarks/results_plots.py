"""Figures with their intervals as pictures: a panel per data set, a line per model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ancf_jax.data.storage import replacing

INK = "#333333"
GREY = "#999999"
COLOUR = "#1f6f8b"


class Point(NamedTuple):
    """One line of a panel; without an interval it is a published figure, drawn hollow."""

    label: str
    value: float
    interval: tuple[float, float] | None = None


class Panel(NamedTuple):
    """The lines of one data set; `zero` draws where there is no difference."""

    title: str
    x: str
    points: Sequence[Point]
    zero: bool = False


def draw(panels: Sequence[Panel], path: Path) -> None:
    """All panels, one below the other, as a PNG."""
    panels = [panel for panel in panels if panel.points]
    if not panels:
        return
    sizes = [len(panel.points) + 3 for panel in panels]
    figure = Figure(figsize=(7.6, 0.26 * sum(sizes)), dpi=150, layout="constrained")
    column = figure.subplots(len(panels), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for axes, panel in zip(column, panels, strict=True):
        _draw_panel(axes, panel)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def _draw_panel(axes: Axes, panel: Panel) -> None:
    """Points and intervals, the first line on top."""
    if panel.zero:
        axes.axvline(0, color=GREY, linewidth=1)
    for height, (_, value, interval) in enumerate(panel.points):
        if interval:
            axes.plot(interval, (height, height), color=COLOUR, linewidth=2)
        edge = COLOUR if interval else GREY
        inside = COLOUR if interval else "white"
        axes.plot(value, height, marker="o", color=edge, markerfacecolor=inside)
        axes.annotate(
            f"{value:.4f}",
            (value, height),
            (0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=6,
        )
    axes.set_yticks(
        range(len(panel.points)), [point.label for point in panel.points], fontsize=8
    )
    for label, point in zip(axes.get_yticklabels(), panel.points, strict=True):
        label.set_color(INK if point.interval else GREY)
    axes.set_ylim(len(panel.points) - 0.4, -0.8)
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_xlabel(panel.x, fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.margins(x=0.08)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
