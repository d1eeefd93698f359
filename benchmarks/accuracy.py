"""Trains and evaluates the rows of docs/results.md, or of docs/ablations.md, and writes the file with its picture.

python benchmarks/accuracy.py                          the results table
python benchmarks/accuracy.py --ablations              the ablation study
python benchmarks/accuracy.py --only ncf-ml-1m-ease    rows whose name begins so
python benchmarks/accuracy.py --quick                  one seed, one epoch, small data: only to see that all works

A row is a preset, and the header of the preset holds its commands. Finished runs are kept under --out and not made
again, a run that was stopped goes on, and one whose preset has changed begins anew.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ancf_jax.errors import UserError  # noqa: E402
from benchmarks.accuracy_presets import Place, Trial, missing  # noqa: E402
from benchmarks.accuracy_rows import GROUPS, LABELS, SEEDS, STUDIES  # noqa: E402
from benchmarks.accuracy_runs import Result, describe_machine, finished, make  # noqa: E402
from benchmarks.results import write_results  # noqa: E402
from benchmarks.results_ablations import write_ablations  # noqa: E402

QUICK = ("corner-store", "ml-100k")


def arguments() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--ablations",
        action="store_true",
        help="the ablation study instead of the results table",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        metavar="NAME",
        help="train rows whose name begins so",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=SEEDS,
        metavar="N",
        help="seeds of a row that depends on them",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"one seed, one epoch, only {' and '.join(QUICK)}",
    )
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", metavar="FOLDER"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "benchmarks" / "out" / "accuracy",
        metavar="FOLDER",
    )
    parser.add_argument(
        "--docs",
        type=Path,
        metavar="FOLDER",
        help="docs by default; with --quick, OUT/quick",
    )
    return parser.parse_args()


def make_all(
    trials: Iterable[Trial], place: Place, machine: str, write: Callable[[], None]
) -> int:
    """Makes what is missing and writes the tables anew after each; how many trials failed."""
    failures, told = 0, set()
    for trial in trials:
        try:
            if reason := missing(trial, place):
                if trial.row not in told:
                    say(f"{trial.row}: skipped, {reason}")
                told.add(trial.row)
                continue
            result = finished(trial, place)
            if result is None:
                say(f"{trial.name}: started")
                result = make(trial, place, machine)
                write()
            say(f"{trial.name}: {figures(result)}")
        except UserError as error:
            failures += 1
            say(f"{trial.name}: failed, {error}")
    return failures


def say(line: str) -> None:
    """One line of progress."""
    print(line, flush=True)


def figures(result: Result) -> str:
    """The figures of one run in a line."""
    known = [(label, result.metrics.get(name)) for name, label in LABELS.items()]
    shown = [f"{label} {value:.4f}" for label, value in known if value is not None]
    return ", ".join([*shown, f"{result.seconds:.0f} s", f"{result.mebibytes:.0f} MiB"])


def main() -> int:
    """Makes what the flags ask for; exit code 1 where a run failed."""
    flags = arguments()
    out = flags.out.resolve() / "quick" if flags.quick else flags.out.resolve()
    place, docs = (
        Place(ROOT / "presets", flags.data.resolve(), out),
        flags.docs or (out if flags.quick else ROOT / "docs"),
    )
    seeds, extra = (1, ("--epochs", "1")) if flags.quick else (flags.seeds, ())
    sections, write_to = (
        (STUDIES, write_ablations) if flags.ablations else (GROUPS, write_results)
    )
    sections = [
        section
        for section in sections
        if not flags.quick or section.name.startswith(QUICK)
    ]
    rows: dict[Any, dict[Any, list[Trial]]] = {
        section: section.rows(seeds, extra) for section in sections
    }
    trials = [trial for each in rows.values() for row in each.values() for trial in row]

    def write() -> None:
        write_to(rows, place, docs)

    chosen = [trial for trial in trials if trial.row.startswith(tuple(flags.only))]
    for folder in (out, docs):
        folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        failures = make_all(chosen, place, describe_machine(), write)
    except KeyboardInterrupt:
        say("stopped; the same command goes on")
        return 130
    write()
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
