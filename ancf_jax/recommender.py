"""A run loaded once, then the top N of any shopper at any moment."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from ancf_jax.config import Config, to_json
from ancf_jax.data import TEST, TRAIN, UNUSED, VALIDATION, Dataset, share_of_new
from ancf_jax.data.ids import user_ids
from ancf_jax.errors import UserError
from ancf_jax.models.protocol import NeuralModel, predictions
from ancf_jax.objective.calibration import Calibration, softmax_log_odds
from ancf_jax.objective.objective import objective_of
from ancf_jax.ranking import Ranker
from ancf_jax.ranking.explore import Explore, explored_places, top_n, unsold_items
from ancf_jax.runs import load, why_no_probability
from ancf_jax.view import SILENT, Watcher, view_of

ALL_PARTS = (TRAIN, VALIDATION, UNUSED, TEST)
EVERY_USER = slice(None)
NO_PROBABILITY_OF_EXPLORED = (
    "no column probability: a list that explores holds what is not the likeliest; "
    "leave --explore out"
)


@dataclass(frozen=True)
class Recommender:
    """Top N for users of a run, from all their events; built once, asked often.

    Unknown users get the most popular items, marked `popular` in the column `source`.

    Attributes:
        config: the settings of the run.
        dataset: all events.
        ranker: the model, knowing all events.
        calibration: makes probabilities of its scores; None where there are none.
    """

    config: Config
    dataset: Dataset
    ranker: Ranker
    calibration: Calibration | None = None

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row number of every user id."""
        return {user: row for row, user in enumerate(self.dataset.interactions.users)}

    @cached_property
    def latest(self) -> int:
        """The minute of the newest event: the moment that is scored unless another is given."""
        return int(np.max(np.asarray(self.ranker.log.minute), initial=0))

    @cached_property
    def _popular(self) -> np.ndarray:
        """All items, the most popular first."""
        popularity = np.asarray(self.ranker.catalogue.popularity)
        return np.argsort(-popularity, kind="stable")

    @cached_property
    def _has_names(self) -> bool:
        source = self.dataset.interactions
        return bool((source.names != source.items).any())

    @cached_property
    def _is_unsold(self) -> np.ndarray:
        """Which items have no event: bool [I]."""
        return unsold_items(self.ranker)

    @cached_property
    def _share_of_new(self) -> float:
        """How often products without events are bought."""
        return share_of_new(self.dataset, ALL_PARTS)

    def users_of(self, asked: Sequence[str]) -> list[str]:
        """The ids asked for; every user of the run for `all`."""
        if list(asked) == ["all"]:
            return list(self.dataset.interactions.users)
        return list(asked)

    def digest(self, *asked: object) -> str:
        """A name for all that lists depend on: the model, the data, the devices and `asked`."""
        block_sizes = self.ranker.block_sizes(self.ranker.block)
        source = self.dataset.interactions.digest
        config = to_json(self.config)
        description = repr((config, source, block_sizes, self.calibration, asked))
        digest = hashlib.blake2b(description.encode(), digest_size=16)
        for leaf in jax.tree.leaves(self.ranker.variables):
            digest.update(np.asarray(leaf).tobytes())
        return digest.hexdigest()

    def warm_up(self, n: int = 10) -> None:
        """Compiles what lists of up to n need, so that the first request is answered soon.

        A server may spare what is loaded from garbage collection afterwards, by `gc.collect()`
        and `gc.freeze()`; that concerns the whole process, so it is not done here.
        """
        user = self.dataset.interactions.users[:1].tolist()
        for size in self.ranker.block_sizes(self.ranker.block):
            self.recommend(user * size, n)

    def moment_text(self, minute: int | None) -> str:
        """The moment that is scored, for people."""
        if not self.dataset.interactions.clock:
            return "next"
        seconds = 60 * (self.latest if minute is None else minute)
        return datetime.fromtimestamp(seconds, UTC).strftime("%A %Y-%m-%d %H:%M")

    def recommend(
        self,
        users: Sequence[str | int],
        n: int = 10,
        minute: int | None = None,
        keep_seen: bool | None = None,
        explore: Explore = 0.0,
    ) -> pd.DataFrame:
        """The top n of each user, in the order asked; no rows where nobody is asked for.

        See `recommend_blocks` for the arguments.

        Returns:
            Rows of user_id, rank, item_id, name (where items have one), score, probability and
            source. The score is what the model orders by, or the value that it learned. The
            probability, see `objective.calibration`, is absent where `no_probability` says why.
            Who is asked for twice has two lists; `lists_of` tells them apart.
        """
        blocks = self.recommend_blocks(users, n, minute, keep_seen, explore=explore)
        tables = [*blocks]
        if not tables:
            tables = [self._table([], np.zeros((0, 1), int), np.zeros((0, 1)), False)]
        return pd.concat(tables, ignore_index=True)

    def recommend_blocks(
        self,
        users: Sequence[str | int],
        n: int,
        minute: int | None,
        keep_seen: bool | None,
        view: Watcher = SILENT,
        part: slice = EVERY_USER,
        explore: Explore = 0.0,
    ) -> Iterator[pd.DataFrame]:
        """The same, a block of users at a time, so that memory stays as it is.

        Args:
            users: ids, as text, or as whole numbers where pandas has read them so.
            n: length of the lists.
            minute: what to score for, minutes since 1970 of the shop's clock; None: the newest.
            keep_seen: whether what the user already had may stand in lists; None: as trained.
            view: where progress is shown.
            part: the users to recommend to; progress counts those before it as done.
            explore: share of all places, the last of some lists, for the best products without
                events, marked `new`; "auto": how often these are bought, see `data.novelty`.

        Raises:
            UserError: n is below 1, a moment is given without a clock, or users are no ids.
        """
        self._check(n, minute)
        asked = user_ids(users[part])
        keep_seen = self._keeps_seen(keep_seen)
        begin = part.indices(len(users))[0]
        row = self._rows(asked)
        moments = np.full_like(row, self.latest if minute is None else minute)
        places = self._explored_places(row, n, explore)
        found = self._found(row, moments, n, keep_seen, places)
        is_explored = places is not None
        done = 0
        for items, scores, *log_total in found:
            block = slice(done, done + len(items))
            done = block.stop
            yield self._table(asked[block], items, scores, is_explored, *log_total)
            view_of(view).progress("recommending", begin + done, len(users))

    def _rows(self, users: Sequence[str]) -> np.ndarray:
        """The row numbers of users, -1 for unknown ones: int32 [B]."""
        return np.array([self.row_of.get(user, -1) for user in users], np.int32)

    def _found(
        self,
        row: np.ndarray,
        moments: np.ndarray,
        n: int,
        keep_seen: bool,
        places: np.ndarray | None,
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Items and scores of lists, and what probabilities need where there are such."""
        if places is None and self._has_probability(keep_seen):
            return self.ranker.top_n_with_totals(row, moments, n, keep_seen)
        return top_n(self.ranker, row, moments, n, keep_seen, places)

    def _explored_places(
        self, row: np.ndarray, n: int, explore: Explore
    ) -> np.ndarray | None:
        """How many places of lists of n are for products without events; None for plain lists."""
        share = self._share_of_new if explore == "auto" else explore
        if not share:
            return None
        return explored_places(row, n, share, self.config.seed)

    def no_probability(
        self, keep_seen: bool | None = None, explore: Explore = 0.0
    ) -> str:
        """Why lists have no column `probability`, for people.

        Empty where they have one, and for a model that learned values, whose score is one.
        """
        if self._learned_values:
            return ""
        if explore:
            return NO_PROBABILITY_OF_EXPLORED
        if self._has_probability(self._keeps_seen(keep_seen)):
            return ""
        return why_no_probability(self.config, self.dataset, self.calibration)

    def _keeps_seen(self, keep_seen: bool | None) -> bool:
        """Whether items that the user already had are eligible; as trained for None."""
        return bool(self.config.keep_seen if keep_seen is None else keep_seen)

    def _has_probability(self, keep_seen: bool) -> bool:
        """Whether the scale was fitted for lists like these."""
        return self.calibration is not None and keep_seen == self._keeps_seen(None)

    @property
    def _learned_values(self) -> bool:
        objective = objective_of(self.config.objective, self.ranker.items)
        is_neural = isinstance(self.ranker.model, NeuralModel)
        return is_neural and objective.predicts_values

    def _check(self, n: int, minute: int | None) -> None:
        if n < 1:
            raise UserError(f"--top-n is {n}, expected 1 or more")
        if minute is not None and not self.dataset.interactions.clock:
            raise UserError(
                "--at needs data with times, but this run's data has only an order; "
                "leave --at out"
            )

    def _table(
        self,
        users: Sequence[str],
        items: np.ndarray,
        scores: np.ndarray,
        explored: bool,
        log_total: np.ndarray | None = None,
    ) -> pd.DataFrame:
        """Rows for people from items [B, n], -1 where there are fewer, and their scores [B, n].

        Where lists were `explored`, products without events are marked. With `log_total` [B], see
        `Ranker.top_n_with_totals`, they have probabilities.
        """
        is_unknown = self._rows(users)[:, None] < 0
        popular = self._popular[: items.shape[1]]
        items = np.where(is_unknown, popular, items)
        predicted = predictions(self.ranker.model, scores)
        predicted = np.where(is_unknown, np.nan, predicted)
        row, column = np.nonzero(items >= 0)
        item = items[row, column]
        source = self.dataset.interactions
        is_new = self._is_unsold[item] & explored
        by_model = np.where(is_new, "new", "model")
        table = {
            "user_id": np.asarray(users, object)[row],
            "rank": np.int32(column + 1),
            "item_id": source.items[item],
        }
        if self._has_names:
            table["name"] = source.names[item]
        table["score"] = predicted[row, column]
        if self.calibration is not None and log_total is not None:
            log_odds = softmax_log_odds(predicted[row, column], log_total[row])
            table["probability"] = self.calibration.probability(log_odds)
        table["source"] = np.where(is_unknown[row, 0], "popular", by_model)
        return pd.DataFrame(table)


def load_recommender(
    path: str | Path, view: Watcher = SILENT, devices: int = 1, strict: bool = False
) -> Recommender:
    """The run in `path`, knowing all its events.

    Args:
        path: folder of the run, which is read alone.
        view: where it is said that a checkpoint is damaged.
        devices: how many devices share the users.
        strict: whether damage of the best checkpoint is an error, and no other is taken.

    Raises:
        UserError: there is no sound run.
    """
    run = load(path, ALL_PARTS, view, devices, strict)
    return Recommender(run.config, run.dataset, run.ranker, run.calibration)
