"""Where held-out positives rank, and how those of equal score are grouped.

Legend: `R` requests, `T` requests that have positives, `E` held-out positives, `G` groups of
candidates of one request that share a score, those that hold a positive alone.
"""

from typing import NamedTuple

import numpy as np


class Ranks(NamedTuple):
    """Where the held-out positives of each request stand among its eligible candidates.

    The positives of a request are distinct items.

    Attributes:
        start: int32 [R + 1] the positives of request r are start[r] .. start[r + 1] - 1.
        greater: int64 [E] candidates with a strictly greater score.
        equal: int64 [E] candidates with the same score, the positive itself left out.
        candidates: int64 [R] eligible candidates, positives included.
        score: float32 [E] the positive's own score.
    """

    start: np.ndarray
    greater: np.ndarray
    equal: np.ndarray
    candidates: np.ndarray
    score: np.ndarray


class TieGroups(NamedTuple):
    """Positives by request and score, from the highest score of a request to its lowest.

    Attributes:
        request: [G] number of the group's request among the T that have positives.
        top_group: [T] the request's group of the highest score.
        total_positives: [T] positives of the request.
        total_others: [T] candidates of the request that are not positives.
        greater: [G] candidates above the group.
        size: [G] candidates in the group.
        positives: [G] positives in the group.
        positives_above: [G] positives of the request above the group.
    """

    request: np.ndarray
    top_group: np.ndarray
    total_positives: np.ndarray
    total_others: np.ndarray
    greater: np.ndarray
    size: np.ndarray
    positives: np.ndarray
    positives_above: np.ndarray

    def sum_per_request(self, values: np.ndarray) -> np.ndarray:
        """Sums [..., T] of values [..., G] over the groups of each request."""
        return np.add.reduceat(values, self.top_group, axis=-1)


def tie_groups(ranks: Ranks) -> TieGroups:
    """The groups of positives that share a request and a score."""
    request = np.repeat(np.arange(len(ranks.candidates)), np.diff(ranks.start))
    order = np.lexsort((ranks.greater, request))
    greater = ranks.greater[order]
    equal = ranks.equal[order]
    # Two positives of a request are tied exactly when as many candidates are above each.
    new_request = np.diff(request, prepend=-1) != 0
    new_score = np.diff(greater, prepend=-1) != 0
    begin = np.flatnonzero(new_request | new_score)
    with_positives, number, total_positives = np.unique(
        request, return_inverse=True, return_counts=True
    )
    positives_above = begin - ranks.start[request[begin]]
    return TieGroups(
        request=number[begin],
        top_group=np.flatnonzero(positives_above == 0),
        total_positives=total_positives,
        total_others=ranks.candidates[with_positives] - total_positives,
        greater=greater[begin],
        size=equal[begin] + 1,
        positives=np.diff(np.append(begin, len(request))),
        positives_above=positives_above,
    )


def of_all_requests(
    ranks: Ranks, figures: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Figures [R] from those [T] of the requests that have positives; NaN for the others."""
    spread = np.full((len(figures), len(ranks.candidates)), np.nan)
    spread[:, np.diff(ranks.start) > 0] = list(figures.values())
    return dict(zip(figures, spread, strict=True))
