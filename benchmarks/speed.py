"""Compares our speed with that of other libraries, both measured in turn in one run.

python benchmarks/speed.py                      all rows
python benchmarks/speed.py --only neumf one-user     rows whose name begins so
python benchmarks/speed.py --quick              a smoke test with little data
python benchmarks/speed.py --plots docs         growth curves as pictures

The peers' packages are in benchmarks/requirements.txt; --peer-python names the interpreter that
has them. Without them a row shows ours alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import report, shop  # noqa: E402
from benchmarks.growth import draw_all  # noqa: E402
from benchmarks.report import Row, row_of  # noqa: E402
from benchmarks.rows import Comparison, all_rows  # noqa: E402
from benchmarks.turns import Worker, alternate  # noqa: E402


def arguments() -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    begins = "rows whose name begins so"
    add("--only", nargs="+", default=[""], metavar="NAME", help=begins)
    smoke = "little data, one round: only to see that all works"
    add("--quick", action="store_true", help=smoke)
    add("--repeats", type=int, help="rounds of every row instead of its own number")
    add(
        "--peer-python",
        default=sys.executable,
        metavar="PATH",
        help="interpreter of the peers",
    )
    add(
        "--data",
        type=Path,
        default=ROOT.parent / "shared" / "data",
        metavar="FOLDER",
        help="holds ncf-ml-1m and gsasrec-ml-1m; else events of the same sizes are made",
    )
    out = ROOT / "benchmarks" / "out"
    add("--out", type=Path, default=out, metavar="FOLDER")
    plots = "measure growth curves and draw them there"
    add("--plots", type=Path, metavar="FOLDER", help=plots)
    return parser.parse_args()


def compare(
    comparison: Comparison, flags: argparse.Namespace, errors: TextIO
) -> tuple[list[Row], list[Worker]]:
    """The rows of one comparison, and the workers, which know their versions."""
    repeats = flags.repeats or (1 if flags.quick else comparison.repeats)
    tasks = (comparison.ours, *comparison.peers)
    workers = alternate(tasks, repeats, flags.peer_python, errors)
    rows = [
        row_of(comparison.name, comparison.text, workers[0], peer, comparison.figures)
        for peer in workers[1:] or [None]
    ]
    return rows, workers


def run_all(
    files: str, data: Iterable[str], flags: argparse.Namespace, errors: TextIO
) -> None:
    """Prints each row as soon as it is there, and writes the table anew after each."""
    load = os.getloadavg()[0]
    rows: list[Row] = []
    ours: dict[str, str] = {}
    peers: dict[str, str] = {}
    for comparison in all_rows(files, flags.quick):
        if not comparison.name.startswith(tuple(flags.only)):
            continue
        found, workers = compare(comparison, flags, errors)
        rows += found
        for worker in workers:
            versions = peers if worker.task.peer else ours
            versions.update(worker.versions)
        for row in found:
            print(" | ".join([row.name, *report.cells(row)]), flush=True)
        report.write(rows, report.environment_line(load, ours, peers, data), flags.out)
    print(report.environment_line(load, ours, peers, data))


def main() -> None:
    """Runs what the flags ask for."""
    flags = arguments()
    flags.out.mkdir(parents=True, exist_ok=True)
    with (
        open(flags.out / "workers.log", "w", encoding="utf-8") as errors,
        tempfile.TemporaryDirectory() as files,
    ):
        if flags.plots:
            draw_all(flags.plots, flags.out, flags.quick, flags.only, errors)
        else:
            data = shop.write_all(Path(files), flags.data, flags.quick)
            run_all(files, data.values(), flags, errors)


if __name__ == "__main__":
    main()
