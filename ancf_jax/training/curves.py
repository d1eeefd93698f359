"""The curves of a run as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw_curves(rows: list[dict[str, Any]], path: Path) -> None:
    """Training and validation loss, and the validation metrics, against the epoch, as a PNG at `path`."""
    if not rows:
        return
    names = [name for name in rows[0] if name not in ("epoch", "train_loss", "validation_loss")]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, metrics = figure.subplots(1, 2)
    _lines(losses, rows, ["train_loss", "validation_loss"], "loss")
    _lines(metrics, rows, names, "validation metric")
    figure.savefig(path, dpi=110)


def _lines(axes: Any, rows: list[dict[str, Any]], names: list[str], label: str) -> None:
    for name in names:
        points = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", label=name.removeprefix("validation_"))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
