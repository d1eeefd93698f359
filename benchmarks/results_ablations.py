"""The ablation study as Markdown: what each part of `ancf` is worth.

It is told by paired differences to the full model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ancf_jax.data.storage import replacing
from benchmarks.accuracy_presets import Place, Trial
from benchmarks.accuracy_rows import FULL, LABELS, Study, Variant
from benchmarks.results_figures import (
    MAIN,
    Difference,
    Machines,
    Run,
    cost,
    difference,
    figure,
    finished_runs,
    table,
)
from benchmarks.results_plots import Panel, Point, draw

INTRODUCTION = f"""\
Made by `python benchmarks/accuracy.py --ablations`: the preset of a data set with one part of
`ancf` changed, all else the same. A figure is the mean over the seeds, ± their standard deviation;
in brackets the 95 % bootstrap interval over the test users of the first seed. The difference is the
variant minus the full model in {LABELS[MAIN]}, by user, averaged over the seeds, with its 95 %
bootstrap interval over users. Without causal attention an example is one event and not a window of
them, and a softmax over the whole catalogue for each is too much: "no history", as candidate
attention where it is shown, is trained on batches of 512 events with 64 sampled negatives. "64
sampled negatives" is the full model with such negatives. The MLP path is trained at a few positions
of a window (`--network.dual-positions`), since it costs a pass for every pair: alone it learns from
no more than those. On MovieLens 1M the full model is a smaller one that trains in minutes. Runs
were made beside other work, and times hold its share.
"""


class Line(NamedTuple):
    """One variant: its finished runs, and how far it is from the full model."""

    variant: Variant
    runs: list[Run]
    difference: Difference | None


def compared(found: dict[Variant, list[Run]], place: Place) -> list[Line]:
    """Every variant beside the full model."""
    full = found.get(FULL, [])
    lines = []
    for variant, runs in found.items():
        is_compared = full and variant != FULL
        lines.append(
            Line(variant, runs, difference(runs, full, place) if is_compared else None)
        )
    return lines


def sentence(variant: Variant, found: Difference) -> str:
    """What the difference says about the part, by the sign of its interval."""
    part = variant.part[0].upper() + variant.part[1:]
    size = f"{LABELS[MAIN]} changes by {found}"
    if found.high < 0:
        return f"{part} helps: without it {size}."
    if found.low > 0:
        return f"{part} hurts: without it {size}."
    return f"{part} makes no measurable difference: without it {size}."


def study_text(study: Study, lines: list[Line], machines: Machines) -> str:
    """The section of one data set."""
    rows = []
    for variant, runs, found in lines:
        results = [run.result for run in runs]
        flags = f"`{' '.join(variant.flags)}`" if variant.flags else ""
        about = [str(len(runs)), *cost(results), machines.of(results), flags]
        rows.append([variant.label, figure(results, MAIN), str(found or ""), *about])
    heads = [
        "variant",
        LABELS[MAIN],
        "minus full (95 %)",
        "seeds",
        "time",
        "memory",
        "machine",
        "flags",
    ]
    said = [f"- {sentence(variant, found)}" for variant, _, found in lines if found]
    preset = f"[{study.name}](../presets/{study.name}.flags)"
    return "\n".join(
        [f"## {study.heading}\n", f"Preset: {preset}\n", table(heads, rows), *said, ""]
    )


def ablations_text(sections: dict[Study, list[Line]]) -> str:
    """The whole of ablations.md."""
    machines = Machines()
    texts = [study_text(study, lines, machines) for study, lines in sections.items()]
    picture = "![Differences to the full model](ablations.png)\n"
    return "\n".join(
        ["# Ablations of ancf\n", INTRODUCTION, machines.text(), picture, *texts]
    )


def ablations_panel(study: Study, lines: Sequence[Line]) -> Panel:
    """The paired difference of every variant to the full model."""
    known = [(line.variant.label, line.difference) for line in lines if line.difference]
    points = [
        Point(label, found.mean, (found.low, found.high)) for label, found in known
    ]
    return Panel(
        study.heading, f"{LABELS[MAIN]} minus that of the full model", points, zero=True
    )


def write_ablations(
    rows: dict[Study, dict[Variant, list[Trial]]], place: Place, docs: Path
) -> None:
    """Writes ablations.md and ablations.png from all that is finished."""
    found = {}
    for study, each in rows.items():
        lines = compared(finished_runs(each, place), place)
        if any(line.variant != FULL for line in lines):
            found[study] = lines
    panels = [ablations_panel(study, lines) for study, lines in found.items()]
    draw(panels, docs / "ablations.png")
    with replacing(docs / "ablations.md") as file:
        file.write(ablations_text(found).encode())
