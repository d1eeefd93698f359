"""The results as Markdown and as a picture: a section and a panel per data set."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from ancf_jax.data import splits
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
A row is trained and evaluated by `python benchmarks/accuracy.py --only ROW`; its preset holds the two commands, and says
so where the figures were got in another way. A figure is the mean over the seeds, ± their standard deviation; in brackets
the 95 % bootstrap interval over the test users of the first seed. The checkpoint is chosen on validation; where the preset
says `--split.validation 0`, the settings were chosen so, and then those events trained, too; with `--loop.metric last` it
is the last. The same seed gives the same figures with the same versions on the same kind of processor; other ones sum in
another order, and figures move as between seeds. Time and peak memory (of the host) are those of `train.py` with its
table at the end: the mean and the largest over the seeds; "more than" where a run was resumed.
"""


def group_text(
    group: Group, rows: dict[str, list[Run]], place: Place, machines: Machines
) -> str:
    """The section of one group."""
    shares = {
        model: gap_shares(runs, rows.get("popularity", []))
        for model, runs in rows.items()
    }
    gap = ["share of the gap"] if any(shares.values()) else []
    lines = []
    for model, runs in rows.items():
        share = (
            [f"{statistics.mean(shares[model]):.1%}" if shares[model] else ""]
            if gap
            else []
        )
        lines.append(
            [
                f"`{model}`",
                *row_figures(group, runs),
                *share,
                *row_origin(runs, machines),
            ]
        )
    if gap:
        lines.append(
            [
                "best possible",
                *(best_possible(rows, metric) for metric in group.metrics),
                "100.0%",
                *[""] * 5,
            ]
        )
    heads = ["model", *(LABELS[metric] for metric in group.metrics), *gap]
    parts = [
        f"## {group.heading}\n",
        table([*heads, "seeds", "time", "memory", "machine", "preset"], lines),
    ]
    parts += [published_text(group), *differences_text(rows, place), audit_text(rows)]
    return "\n".join(filter(None, parts))


def row_figures(group: Group, runs: Sequence[Run]) -> list[str]:
    """Every metric of the group."""
    return [figure([run.result for run in runs], metric) for metric in group.metrics]


def row_origin(runs: Sequence[Run], machines: Machines) -> list[str]:
    """Seeds, time, memory, machine and preset."""
    results, preset = [run.result for run in runs], runs[0].trial.preset
    return [
        str(len(runs)),
        *cost(results),
        machines.of(results),
        f"[preset](../presets/{preset}.flags)",
    ]


def best_possible(rows: dict[str, list[Run]], metric: str) -> str:
    """The figure of ranking by the true probabilities, over the seeds of the row that has most."""
    longest = max(rows.values(), key=len)
    return f"{statistics.mean(run.result.best_possible[metric] for run in longest if run.result.best_possible):.4f}"


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
        found = (
            [difference(ours, runs, place, metric) for metric in PAIRED]
            if model != FLAGSHIP
            else [None]
        )
        lines += (
            [[f"`{model}`", *map(str, found), f"{found[0].users:,}"]]
            if found[0]
            else []
        )
    heads = [
        f"`{FLAGSHIP}` minus",
        *(f"{LABELS[metric]}, paired by user (95 %)" for metric in PAIRED),
        "users",
    ]
    return [table(heads, lines)] if lines else []


def audit_text(rows: dict[str, list[Run]]) -> str:
    """The audits of the splits of the first runs, with the models that one is of where there are several."""
    audits: dict[str, list[str]] = {}
    for model, runs in rows.items():
        audits.setdefault(splits.describe(runs[0].result.audit), []).append(
            f"`{model}`"
        )
    whose = [
        f" of {', '.join(models)}" if len(audits) > 1 else ""
        for models in audits.values()
    ]
    return "\n".join(
        f"Audit of the split{of}:\n\n```\n{audit}\n```\n"
        for audit, of in zip(audits, whose, strict=True)
    )


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
    points, metric = [], group.metrics[0]
    for model, runs in rows.items():
        values = [
            value for run in runs if (value := run.result.metrics[metric]) is not None
        ]
        low, high = runs[0].result.intervals[metric]
        if values and low is not None and high is not None:
            points.append(Point(model, statistics.mean(values), (low, high)))
    points += [
        Point(one.model, one.figures[0])
        for one in group.published
        if one.figures[0] is not None
    ]
    return Panel(group.heading, LABELS[metric], points)


def write_results(
    rows: dict[Group, dict[str, list[Trial]]], place: Place, docs: Path
) -> None:
    """Writes results.md and results.png from all that is finished."""
    found = {group: finished_runs(each, place) for group, each in rows.items()}
    found = {group: each for group, each in found.items() if each}
    draw(
        [results_panel(group, each) for group, each in found.items()],
        docs / "results.png",
    )
    with replacing(docs / "results.md") as file:
        file.write(results_text(found, place).encode())
