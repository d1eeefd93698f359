"""Figures of several seeds: means, intervals, paired differences, costs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import pandas as pd

from ancf_jax.objective.intervals import bootstrap, mean
from benchmarks.accuracy_presets import Place, Trial
from benchmarks.accuracy_runs import Result, finished

Key = TypeVar("Key")
MAIN = "ndcg@10"


class Run(NamedTuple):
    """A finished trial."""

    trial: Trial
    result: Result


class Difference(NamedTuple):
    """The mean over users of a paired difference, with its 95 % interval."""

    mean: float
    low: float
    high: float
    users: int

    def __str__(self) -> str:
        return f"{self.mean:+.4f} ({self.low:+.4f} to {self.high:+.4f})"


def finished_runs(
    rows: Mapping[Key, Iterable[Trial]], place: Place
) -> dict[Key, list[Run]]:
    """The finished runs of every row that has any."""
    found = {
        row: [(trial, finished(trial, place)) for trial in trials]
        for row, trials in rows.items()
    }
    known = {
        row: [Run(trial, result) for trial, result in each if result]
        for row, each in found.items()
    }
    return {row: runs for row, runs in known.items() if runs}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def figure(results: Sequence[Result], metric: str) -> str:
    """Mean, standard deviation and the first seed's interval; empty where there is no such figure."""
    values = [
        value for result in results if (value := result.metrics.get(metric)) is not None
    ]
    if not values:
        return ""
    low, high = results[0].intervals.get(metric, (None, None))
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    interval = "" if low is None or high is None else f" ({low:.4f}-{high:.4f})"
    return f"{statistics.mean(values):.4f}{spread}{interval}"


def cost(results: Sequence[Result]) -> list[str]:
    """Time and peak memory."""
    seconds, more = (
        statistics.mean(result.seconds for result in results),
        any(r.resumed for r in results),
    )
    gibibytes = max(result.mebibytes for result in results) / 1024
    return [
        f"{'more than ' if more else ''}{duration(seconds)}",
        f"{gibibytes:.1f} GiB",
    ]


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def gap_shares(runs: Sequence[Run], floor: Sequence[Run]) -> list[float]:
    """By seed, how much of the way from popularity to the best possible ranking is gone."""
    low = {run.trial.seed: run.result.metrics[MAIN] for run in floor}
    ends = [
        (run.result.metrics[MAIN], low.get(run.trial.seed), run.result.best_possible)
        for run in runs
    ]
    known = [
        (own, below, best[MAIN])
        for own, below, best in ends
        if own is not None and below is not None and best
    ]
    return [(own - below) / (best - below) for own, below, best in known]


def difference(
    ours: Sequence[Run], others: Sequence[Run], place: Place, metric: str = MAIN
) -> Difference | None:
    """Ours minus theirs by user, averaged over our seeds; each with their same seed on the same data, else their first.

    None where no two were made from the same data.
    """
    pairs = []
    for run in ours:
        same = [
            other
            for other in others
            if other.result.audit["data_sha256"] == run.result.audit["data_sha256"]
        ]
        same.sort(key=lambda other: other.trial.seed != run.trial.seed)
        pairs += (
            [tuple(per_user(one.trial, place, metric) for one in (run, same[0]))]
            if same
            else []
        )
    return paired(pairs) if pairs else None


def per_user(trial: Trial, place: Place, metric: str) -> pd.Series:
    """A metric of every user."""
    return pd.read_parquet(place.of(trial, ".parquet")).set_index("user_id")[metric]


def paired(pairs: Iterable[tuple[pd.Series, pd.Series]]) -> Difference:
    """The difference of two figures by user, averaged over pairs, for the users that both sides of a pair have."""
    each = [
        (one - other).dropna() for one, other in pairs
    ]  # aligned by user; NaN where a side lacks one
    by_user = {MAIN: pd.concat(each, axis=1).mean(axis=1).to_numpy()}
    return Difference(
        mean(by_user)[MAIN], *bootstrap(by_user, seed=0)[MAIN], len(by_user[MAIN])
    )


class Machines:
    """Numbers for the machines that results were made on."""

    def __init__(self) -> None:
        self.known: list[str] = []

    def of(self, results: Iterable[Result]) -> str:
        """Their numbers, from 1."""
        names = list(dict.fromkeys(result.machine for result in results))
        self.known += [name for name in names if name not in self.known]
        return ", ".join(str(self.known.index(name) + 1) for name in names)

    def text(self) -> str:
        """The list of them."""
        return (
            "Machines:\n\n"
            + "\n".join(f"{n}. {name}" for n, name in enumerate(self.known, 1))
            + "\n"
        )
