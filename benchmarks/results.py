"""The results as Markdown and as a picture: a section and a panel per data set."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from ancf_jax.data.audits import describe
from ancf_jax.data.storage import replacing
from benchmarks.accuracy_presets import Place, Trial
from benchmarks.accuracy_rows import LABELS, Group
from benchmarks.results_figures import (
    MAIN,
    Machines,
    Run,
    cost,
    difference,
    figure,
    finished_runs,
    gap_shares,
    table,
)
from benchmarks.results_plots import Panel, Point, draw

FLAGSHIP = "ancf"
PAIRED = (MAIN, "hit_rate@10")
INTRODUCTION = """\
A row is trained and evaluated by `python benchmarks/accuracy.py --only ROW`; its preset holds the
two commands, and says so where the figures were got in another way. A figure is the mean over the
seeds, ± their standard deviation; in brackets the 95 % bootstrap interval over the test users of
the first seed. The checkpoint is chosen on validation; where the preset says
`--split.validation 0`, the settings were chosen so, and then those events trained, too; with
`--loop.metric last` it is the last. The same seed gives the same figures with the same versions on
the same kind of processor; other ones sum in another order, and figures move as between seeds.
Time and peak memory (of the host) are those of `train.py` with its table at the end: the mean and
the largest over the seeds; "more than" where a run was resumed.
"""


def group_text(
    group: Group, rows: dict[str, list[Run]], place: Place, machines: Machines
) -> str:
    """The section of one group."""
    parts = [
        f"## {group.heading}\n",
        figures_text(group, rows, machines),
        published_text(group),
        *differences_text(rows, place),
        audit_text(rows),
    ]
    return "\n".join(part for part in parts if part)


def figures_text(group: Group, rows: dict[str, list[Run]], machines: Machines) -> str:
    """The table of all models; with shares of the gap where the best possible is known."""
    floor = rows.get("popularity", [])
    shares = {model: gap_shares(runs, floor) for model, runs in rows.items()}
    has_shares = any(shares.values())
    heads = ["model", *(LABELS[metric] for metric in group.metrics)]
    if has_shares:
        heads.append("share of the gap")
    lines = []
    for model, runs in rows.items():
        line = [f"`{model}`", *row_figures(group, runs)]
        if has_shares:
            known = shares[model]
            line.append(f"{statistics.mean(known):.1%}" if known else "")
        lines.append([*line, *row_origin(runs, machines)])
    if has_shares:
        best = [best_possible(rows, metric) for metric in group.metrics]
        lines.append(["best possible", *best, "100.0%", *[""] * 5])
    return table([*heads, "seeds", "time", "memory", "machine", "preset"], lines)


def row_figures(group: Group, runs: Sequence[Run]) -> list[str]:
    """Every metric of the group."""
    return [figure([run.result for run in runs], metric) for metric in group.metrics]


def row_origin(runs: Sequence[Run], machines: Machines) -> list[str]:
    """Seeds, time, memory, machine and preset."""
    results = [run.result for run in runs]
    preset = runs[0].trial.preset
    return [
        str(len(runs)),
        *cost(results),
        machines.of(results),
        f"[preset](../presets/{preset}.flags)",
    ]


def best_possible(rows: dict[str, list[Run]], metric: str) -> str:
    """The figure of ranking by the true probabilities, over the seeds of the longest row."""
    longest = max(rows.values(), key=len)
    found = [run.result.best_possible for run in longest]
    figures = [best[metric] for best in found if best]
    return f"{statistics.mean(figures):.4f}"


def published_text(group: Group) -> str:
    """What others report."""
    heads = ["published", *(LABELS[metric] for metric in group.metrics), "source"]
    known = [
        [one.model, *("" if x is None else f"{x:.4f}" for x in one.figures), one.source]
        for one in group.published
    ]
    return table(heads, known) if known else ""


def differences_text(rows: dict[str, list[Run]], place: Place) -> list[str]:
    """The flagship against every other ranking model, user by user."""
    ours = rows.get(FLAGSHIP, [])
    if not ours or "rmse" in ours[0].result.metrics:
        return []
    lines = []
    for model, runs in rows.items():
        if model == FLAGSHIP:
            continue
        found = [difference(ours, runs, place, metric) for metric in PAIRED]
        if found[0]:
            lines.append([f"`{model}`", *map(str, found), f"{found[0].users:,}"])
    differences = [f"{LABELS[metric]}, paired by user (95 %)" for metric in PAIRED]
    heads = [f"`{FLAGSHIP}` minus", *differences, "users"]
    return [table(heads, lines)] if lines else []


def audit_text(rows: dict[str, list[Run]]) -> str:
    """The audits of the splits of the rows' first runs.

    Where they differ, each says which models it is of.
    """
    models_of: dict[str, list[str]] = {}
    for model, runs in rows.items():
        audit = describe(runs[0].result.audit)
        models_of.setdefault(audit, []).append(f"`{model}`")
    parts = []
    for audit, models in models_of.items():
        whose = f" of {', '.join(models)}" if len(models_of) > 1 else ""
        parts.append(f"Audit of the split{whose}:\n\n```\n{audit}\n```\n")
    return "\n".join(parts)


def results_text(sections: dict[Group, dict[str, list[Run]]], place: Place) -> str:
    """The whole of results.md."""
    machines = Machines()
    texts = [
        group_text(group, rows, place, machines) for group, rows in sections.items()
    ]
    return "\n".join(
        [
            "# Results\n",
            INTRODUCTION,
            machines.text(),
            "![Figures with intervals](results.png)\n",
            *texts,
        ]
    )


def results_panel(group: Group, rows: dict[str, list[Run]]) -> Panel:
    """The main metric of every model, and below it what others report."""
    metric = group.metrics[0]
    points = []
    for model, runs in rows.items():
        figures = [run.result.metrics[metric] for run in runs]
        known = [value for value in figures if value is not None]
        low, high = runs[0].result.intervals[metric]
        if known and low is not None and high is not None:
            points.append(Point(model, statistics.mean(known), (low, high)))
    for published in group.published:
        if published.figures[0] is not None:
            points.append(Point(published.model, published.figures[0]))
    return Panel(group.heading, LABELS[metric], points)


def write_results(
    rows: dict[Group, dict[str, list[Trial]]], place: Place, docs: Path
) -> None:
    """Writes results.md and results.png from all that is finished."""
    found = {group: finished_runs(each, place) for group, each in rows.items()}
    found = {group: each for group, each in found.items() if each}
    panels = [results_panel(group, each) for group, each in found.items()]
    draw(panels, docs / "results.png")
    with replacing(docs / "results.md") as file:
        file.write(results_text(found, place).encode())
