"""All figures of one model on one part of the data."""

from typing import NamedTuple

import numpy as np

from ancf_jax.data import TEST, VALIDATION, Dataset, heldout, heldout_events
from ancf_jax.errors import UserError
from ancf_jax.evaluation.places import Protocol, Ranked, given_ranks, keep_items
from ancf_jax.evaluation.repeats import figures_apart, had_before
from ancf_jax.evaluation.values import (
    Figures,
    judged,
    only_liked,
    value_figures,
    value_intervals,
)
from ancf_jax.objective import intervals, metrics
from ancf_jax.objective.intervals import Intervals
from ancf_jax.objective.objective import Objective
from ancf_jax.ranking import Ranker
from ancf_jax.types import Heldout
from ancf_jax.view import SILENT, Watcher

PARTS = {"validation": VALIDATION, "test": TEST}
TOP = 10  # length of the lists that coverage counts


class Evaluation(NamedTuple):
    """Figures of one model on one part of the data.

    Attributes:
        metrics: means over users by name; None where a figure is undefined.
        intervals: 95 % bootstrap intervals over users, of most metrics.
        per_user: float64 [R] per metric. With `keep_seen` and the protocol "full", there are
            figures of repeats and of first-time items apart.
        user: int32 [R] row numbers of the users.
        left_out: held-out items that could not be ranked, as the user already had them.
        ranked: what was ranked, where that was the whole catalogue.
    """

    metrics: Figures
    intervals: Intervals
    per_user: dict[str, np.ndarray]
    user: np.ndarray
    left_out: int
    ranked: Ranked | None = None

    @property
    def judged(self) -> int:
        """How many users have something to be found: means are over these."""
        any_figure = next(iter(self.per_user.values()))
        return int((~np.isnan(any_figure)).sum())

    def of_users(self, dataset: Dataset) -> str:
        """How many of all users the means are over, in words."""
        users = len(dataset.interactions.users)
        of_all = f" of {users:,}" if self.judged < users else ""
        return f"{self.judged:,}{of_all} users"


def evaluate(
    ranker: Ranker,
    dataset: Dataset,
    part: int = TEST,
    protocol: Protocol = "full",
    keep_seen: bool = False,
    objective: Objective | None = None,
    negatives: int = 99,
    view: Watcher = SILENT,
) -> Evaluation:
    """Ranking figures with intervals, and figures of values where the objective predicts them.

    Args:
        ranker: the model, knowing the events before those that are held out.
        dataset: all events.
        part: whose held-out events the model is judged by.
        protocol: rank against the whole catalogue, random items (exactly), or those of the files.
        keep_seen: whether items that the user already has are eligible.
        objective: with values, only held-out items of at least the median of training are hits.
        negatives: random items of the protocol "sampled".
        view: where progress is shown.

    Raises:
        UserError: there are no held-out events, or the protocol cannot use them.
    """
    held = _requests(dataset, part, objective)
    ranks, is_ranked = _ranks(ranker, dataset, held, protocol, keep_seen, view)
    is_repeat = had_before(held, ranker.log) if keep_seen else None
    per_user = _ranking_figures(ranks, protocol, negatives, is_repeat)
    figures: Figures = dict(intervals.mean(per_user))
    bounds = intervals.bootstrap(per_user, seed=0)
    if objective is not None and objective.predicts_values:
        events = judged(ranker, dataset, part, objective.name)
        figures.update(value_figures(*events))
        bounds.update(value_intervals(heldout_events(dataset, part).user, events))
    left_out = int((~is_ranked).sum())
    kept = keep_items(held, is_ranked)
    ranked = _ranked(ranker, kept, ranks, keep_seen) if protocol == "full" else None
    figures.update(_of_all_users(ranked, ranker.items, is_repeat))
    return Evaluation(figures, bounds, per_user, held.user, left_out, ranked)


def _requests(dataset: Dataset, part: int, objective: Objective | None) -> Heldout:
    """The requests that are judged: their held-out items count as hits."""
    held = heldout(dataset, part)
    if not len(held.user):
        raise UserError(
            "no held-out events to judge by; "
            "after --split.validation 0, only --split test has any"
        )
    if objective is not None and objective.predicts_values:
        return only_liked(held, dataset)
    return held


def _ranks(
    ranker: Ranker,
    dataset: Dataset,
    held: Heldout,
    protocol: Protocol,
    keep_seen: bool,
    view: Watcher,
) -> tuple[metrics.Ranks, np.ndarray]:
    """Where the held-out items [E] stand, and which of them could be ranked."""
    if protocol == "given":
        return given_ranks(ranker, dataset, held), np.ones(len(held.item), bool)
    return ranker.ranks(held, keep_seen, view)


def _ranking_figures(
    ranks: metrics.Ranks,
    protocol: Protocol,
    negatives: int,
    is_repeat: np.ndarray | None,
) -> dict[str, np.ndarray]:
    if protocol == "sampled":
        return metrics.sampled_metrics(ranks, negatives)
    figures = metrics.ranking_metrics(ranks)
    if protocol == "full" and is_repeat is not None:
        figures.update(figures_apart(ranks, is_repeat))
    return figures


def _of_all_users(
    ranked: Ranked | None, items: int, is_repeat: np.ndarray | None
) -> Figures:
    """Figures that all users have together, where the whole catalogue is ranked."""
    if ranked is None:
        return {}
    figures: Figures = {f"coverage@{TOP}": metrics.coverage(ranked.lists, items)}
    if is_repeat is not None:
        figures["repeats: share"] = float(is_repeat.mean())
    return figures


def _ranked(
    ranker: Ranker, held: Heldout, ranks: metrics.Ranks, keep_seen: bool
) -> Ranked:
    """What was ranked, with the top of every request at its time."""
    found = ranker.top_n(held.user, held.minute, TOP, keep_seen)
    lists = np.concatenate([items for items, _ in found])
    return Ranked(held, ranks, lists)
