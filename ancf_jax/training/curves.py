"""The curves of a run as a picture."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure


def draw_curves(rows: list[dict[str, Any]], path: Path) -> None:
    """Training and validation loss, and the validation metrics, against the epoch, as a PNG at `path`."""
    if not rows:
        return
    table = pd.DataFrame(rows, dtype=float).set_index("epoch").dropna(axis=1, how="all")
    losses = table.columns.intersection(["train_loss", "validation_loss"])
    figure, panels = (
        Figure(figsize=(10, 4), layout="constrained"),
        (losses, table.columns.difference(losses)),
    )
    for axes, names, label in zip(
        figure.subplots(1, 2), panels, ("loss", "validation metric"), strict=True
    ):
        for name in names:
            axes.plot(table[name].dropna(), marker=".", label=name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.grid(alpha=0.3)
        if len(names):
            axes.legend()
    figure.savefig(path, dpi=110)
