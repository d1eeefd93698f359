"""A notebook trains and recommends: no traceback, and progress as lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

CELLS = [
    """
import itertools, sys
import pandas as pd
import ancf_jax
from ancf_jax import cli
events = [
    (f"u{user}", f"p{(user + 2 * place) % 11:02d}", 1_700_000_000 + 86_400 * place)
    for user in range(7) for place in range(29 + user % 3)
]
pd.DataFrame(events, columns=["user_id", "item_id", "timestamp"]).to_csv("events.csv", index=False)
""",
    # A clock on which half a minute goes by between two looks, so that progress is told.
    """
screen = cli.Screen(clock=itertools.count(0, 40).__next__)
config = ancf_jax.default_config("mf")
changes = {"data": "events.csv", "run": "run", "epochs": 2, "loop.batch_size": 1}
config = ancf_jax.override(config, changes)
fitted = ancf_jax.fit(config, view=screen)
""",
    """
ancf_jax.load_recommender("run").recommend(["u3", "u5"], 3)
""",
]


def texts(outputs: list[Any], name: str) -> str:
    """What a cell wrote to a stream."""
    return "".join(output.text for output in outputs if output.get("name") == name)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> list[list[Any]]:
    """What each cell of the executed notebook shows."""
    folder: Path = tmp_path_factory.mktemp("notebook")
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in CELLS])
    nbformat.validate(notebook)
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources=place
    )
    client.execute()
    return [cell.outputs for cell in notebook.cells]


def test_a_notebook_trains_and_recommends(outputs):
    kinds = {output.output_type for shown in outputs for output in shown}
    assert "error" not in kinds
    (table,) = outputs[2]
    lines = table.data["text/plain"].splitlines()
    assert len(lines) == 1 + 2 * 3
    assert [line.split()[1] for line in lines[1:]] == ["u3"] * 3 + ["u5"] * 3


def test_progress_is_shown_as_lines(outputs):
    shown = texts(outputs[1], "stderr") + texts(outputs[1], "stdout")
    assert "\r" not in shown
    assert "\x1b" not in shown
    assert "epoch   2  " in shown
    progress = [line for line in shown.splitlines() if line.startswith("epoch 1/2: ")]
    assert progress
    assert " left" in progress[0]
