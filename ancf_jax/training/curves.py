"""The curves of a run as a picture."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

LOSSES = ["train_loss", "validation_loss"]
Row = dict[str, float | None]


def row_of(train_loss: float | None, figures: Row) -> Row:
    """The figures of an epoch by the names that they are written under."""
    row: Row = {}
    if train_loss is not None:
        row["train_loss"] = train_loss
    for name, value in figures.items():
        row[f"validation_{name}"] = value
    return row


def draw_curves(rows: list[dict[str, Any]], path: Path) -> None:
    """Losses and validation metrics against the epoch, as a PNG.

    Args:
        rows: figures by name, with the epoch; without any nothing is drawn.
        path: of the picture.
    """
    if not rows:
        return
    table = pd.DataFrame(rows, dtype=float)
    table = table.set_index("epoch").dropna(axis=1, how="all")
    losses = table.columns.intersection(LOSSES)
    metrics = table.columns.difference(LOSSES)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw(left, table[losses], "loss")
    _draw(right, table[metrics], "validation metric")
    figure.savefig(path, dpi=110)


def _draw(axes: Axes, table: pd.DataFrame, label: str) -> None:
    for name in table:
        axes.plot(table[name].dropna(), marker=".", label=name)
    axes.set(xlabel="epoch", ylabel=label)
    axes.grid(alpha=0.3)
    if len(table.columns):
        axes.legend()
