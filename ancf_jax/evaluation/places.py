"""Places of held-out items among candidates whose scores are known on the host."""

from typing import Literal, NamedTuple

import numpy as np

from ancf_jax.data import Dataset
from ancf_jax.errors import UserError
from ancf_jax.objective.metrics import Ranks
from ancf_jax.ranking import Ranker
from ancf_jax.types import Heldout

Protocol = Literal["full", "sampled", "given"]


class Ranked(NamedTuple):
    """What was ranked among the whole catalogue.

    Attributes:
        held: requests, and those of their held-out items that could be ranked.
        ranks: where these stand.
        lists: int32 [R, 10] the top of every request, -1 where there are fewer.
    """

    held: Heldout
    ranks: Ranks
    lists: np.ndarray


def given_ranks(ranker: Ranker, dataset: Dataset, held: Heldout) -> Ranks:
    """Places of each user's held-out item among the negatives of the files.

    The held-out item itself as a negative does not count.

    Raises:
        UserError: there are no such negatives, or a user has several held-out items.
    """
    negatives = dataset.interactions.given_negatives
    if negatives is None:
        raise UserError(
            "the data holds no given negatives; "
            'use --protocol full or sampled, or the format "ncf"'
        )
    if np.any(np.diff(held.start) != 1):
        raise UserError(
            "--protocol given needs exactly one held-out item per user; use --protocol full"
        )
    own = held.item[:, None]
    negatives = negatives[held.user]
    is_candidate = (negatives >= 0) & (negatives != own)
    items = np.concatenate([own, np.where(is_candidate, negatives, 0)], axis=1)
    scores = ranker.candidate_scores(held.user, held.minute, items.astype(np.int32))
    scores[:, 1:][~is_candidate] = -np.inf
    first_column = np.zeros(len(held.item), np.int32)
    return ranks_within(scores, held.start, first_column)


def ranks_within(scores: np.ndarray, start: np.ndarray, column: np.ndarray) -> Ranks:
    """Places of positives among the candidates of their requests.

    Args:
        scores: [R, C]; -inf is no candidate.
        start: [R + 1] offsets of the positives of every request.
        column: [E] where in the scores of its request each positive stands.
    """
    rows = np.repeat(scores, np.diff(start), axis=0)
    own = rows[np.arange(len(rows)), column][:, None]
    return Ranks(
        start=start,
        greater=(rows > own).sum(1),
        equal=(rows == own).sum(1) - 1,
        candidates=(scores > -np.inf).sum(1),
        score=own[:, 0],
    )


def keep_items(held: Heldout, keep: np.ndarray) -> Heldout:
    """The same requests with those of their held-out items [E] that are to be kept."""
    start = np.append(0, np.cumsum(keep))[held.start]
    return held._replace(
        item=held.item[keep], value=held.value[keep], start=start.astype(np.int32)
    )


def keep_ranks(ranks: Ranks, keep: np.ndarray) -> Ranks:
    """The same requests with those of their held-out items [E] that are to be kept."""
    return ranks._replace(
        start=np.append(0, np.cumsum(keep))[ranks.start],
        greater=ranks.greater[keep],
        equal=ranks.equal[keep],
        score=ranks.score[keep],
    )
