"""Makes docs/results.md, or docs/ablations.md, with its picture: trains and evaluates the rows.

python benchmarks/accuracy.py                          the results table
python benchmarks/accuracy.py --ablations              the ablation study
python benchmarks/accuracy.py --only ncf-ml-1m-ease    rows whose name begins so
python benchmarks/accuracy.py --quick                  a smoke test: one seed, one epoch, small data

A row is a preset, and the header of the preset holds its commands. Finished runs are kept under
--out and not made again, a run that was stopped goes on, and one whose preset has changed begins
anew.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
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
    add = parser.add_argument
    add("--ablations", action="store_true", help="the ablation study instead")
    add(
        "--only",
        nargs="+",
        default=[""],
        metavar="NAME",
        help="train rows whose name begins so",
    )
    add(
        "--seeds",
        type=int,
        default=SEEDS,
        metavar="N",
        help="seeds of a row that depends on them",
    )
    add(
        "--quick",
        action="store_true",
        help=f"one seed, one epoch, only {' and '.join(QUICK)}",
    )
    data = ROOT.parent / "shared" / "data"
    out = ROOT / "benchmarks" / "out" / "accuracy"
    add("--data", type=Path, default=data, metavar="FOLDER")
    add("--out", type=Path, default=out, metavar="FOLDER")
    docs = "docs by default; with --quick, OUT/quick"
    add("--docs", type=Path, metavar="FOLDER", help=docs)
    return parser.parse_args()


def make_all(
    trials: Iterable[Trial], place: Place, machine: str, write: Callable[[], None]
) -> int:
    """Makes what is missing and writes the tables anew after each; how many trials failed."""
    failures = 0
    skipped: set[str] = set()
    for trial in trials:
        try:
            reason = missing(trial, place)
            if not reason:
                make_one(trial, place, machine, write)
            elif trial.row not in skipped:
                say(f"{trial.row}: skipped, {reason}")
                skipped.add(trial.row)
        except UserError as error:
            failures += 1
            say(f"{trial.name}: failed, {error}")
    return failures


def make_one(
    trial: Trial, place: Place, machine: str, write: Callable[[], None]
) -> None:
    """Tells the figures of a trial, which is made where they are missing."""
    result = finished(trial, place)
    if result is None:
        say(f"{trial.name}: started")
        result = make(trial, place, machine)
        write()
    say(f"{trial.name}: {figures(result)}")


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
    out = flags.out.resolve()
    docs = ROOT / "docs"
    if flags.quick:
        out = out / "quick"
        docs = out
    docs = flags.docs or docs
    place = Place(ROOT / "presets", flags.data.resolve(), out)
    write_to = write_ablations if flags.ablations else write_results
    rows = rows_of(flags)

    def write() -> None:
        write_to(rows, place, docs)

    trials = [trial for each in rows.values() for row in each.values() for trial in row]
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


def rows_of(flags: argparse.Namespace) -> dict[Any, dict[Any, list[Trial]]]:
    """The trials of every section and row."""
    sections: Sequence[Any] = STUDIES if flags.ablations else GROUPS
    if flags.quick:
        small = [section for section in sections if section.name.startswith(QUICK)]
        return {section: section.rows(1, ("--epochs", "1")) for section in small}
    return {section: section.rows(flags.seeds, ()) for section in sections}


if __name__ == "__main__":
    sys.exit(main())
