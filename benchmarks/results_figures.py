"""Figures of several seeds: means, intervals, paired differences, costs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import pandas as pd

from ancf_jax.objective.intervals import bootstrap, mean
from ancf_jax.view import in_time
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
    found = {}
    for row, trials in rows.items():
        results = [(trial, finished(trial, place)) for trial in trials]
        runs = [Run(trial, result) for trial, result in results if result]
        if runs:
            found[row] = runs
    return found


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def figure(results: Sequence[Result], metric: str) -> str:
    """Mean, standard deviation and the first seed's interval; empty where there is no figure."""
    found = [result.metrics.get(metric) for result in results]
    values = [value for value in found if value is not None]
    if not values:
        return ""
    low, high = results[0].intervals.get(metric, (None, None))
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    interval = "" if low is None or high is None else f" ({low:.4f}-{high:.4f})"
    return f"{statistics.mean(values):.4f}{spread}{interval}"


def cost(results: Sequence[Result]) -> list[str]:
    """Time and peak memory."""
    seconds = statistics.mean(result.seconds for result in results)
    gibibytes = max(result.mebibytes for result in results) / 1024
    time = in_time(seconds)
    if any(result.resumed for result in results):
        time = f"more than {time}"
    return [time, f"{gibibytes:.1f} GiB"]


def gap_shares(runs: Sequence[Run], floor: Sequence[Run]) -> list[float]:
    """By seed, how much of the way from popularity to the best possible ranking is gone."""
    low_of = {run.trial.seed: run.result.metrics[MAIN] for run in floor}
    shares = []
    for run in runs:
        own = run.result.metrics[MAIN]
        low = low_of.get(run.trial.seed)
        best = run.result.best_possible
        if own is not None and low is not None and best:
            shares.append((own - low) / (best[MAIN] - low))
    return shares


def difference(
    ours: Sequence[Run], others: Sequence[Run], place: Place, metric: str = MAIN
) -> Difference | None:
    """Ours minus theirs by user, averaged over our seeds; None without a common data set.

    Each of our runs is held against theirs of the same seed on the same data, else against their
    first one.
    """
    pairs = []
    for run in ours:
        digest = run.result.audit["data_sha256"]
        same = [
            other for other in others if other.result.audit["data_sha256"] == digest
        ]
        if same:
            same_seed = [other for other in same if other.trial.seed == run.trial.seed]
            other = (same_seed or same)[0]
            own_figures = per_user(run.trial, place, metric)
            pairs.append((own_figures, per_user(other.trial, place, metric)))
    return paired(pairs) if pairs else None


def per_user(trial: Trial, place: Place, metric: str) -> pd.Series:
    """A metric of every user."""
    return pd.read_parquet(place.of(trial, ".parquet")).set_index("user_id")[metric]


def paired(pairs: Iterable[tuple[pd.Series, pd.Series]]) -> Difference:
    """The difference of two figures by user, averaged over pairs of tables.

    Only users that both tables of a pair have are counted.
    """
    each = [(one - other).dropna() for one, other in pairs]  # aligned by user
    by_user = {MAIN: pd.concat(each, axis=1).mean(axis=1).to_numpy()}
    low, high = bootstrap(by_user, seed=0)[MAIN]
    return Difference(mean(by_user)[MAIN], low, high, len(by_user[MAIN]))


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
        lines = [f"{n}. {name}" for n, name in enumerate(self.known, 1)]
        return "\n".join(["Machines:\n", *lines, ""])
