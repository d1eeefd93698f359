"""A run loaded once, then the top N of any shopper at any moment."""

import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from ancf_jax.config import Config, to_json
from ancf_jax.data.dataset import Dataset
from ancf_jax.data.interactions import TEST, TRAIN, UNUSED, VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.models.protocol import predictions
from ancf_jax.ranking import Placement, Progress, Ranker, unwatched
from ancf_jax.runs import load


@dataclass(frozen=True)
class Recommender:
    """Top N for users of a run, from all their events; built once, asked often.

    Unknown users get the most popular items, marked `popular` in the column `source`.
    """

    config: Config
    dataset: Dataset
    ranker: Ranker

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row number of every user id."""
        return {user: row for row, user in enumerate(self.dataset.interactions.users)}

    @cached_property
    def _popular(self) -> np.ndarray:
        return np.argsort(-np.asarray(self.ranker.catalogue.popularity), kind="stable")

    def users_of(self, asked: Sequence[str]) -> list[str]:
        """The ids asked for; every user of the run for `all`."""
        return (
            list(self.dataset.interactions.users)
            if list(asked) == ["all"]
            else list(asked)
        )

    @cached_property
    def latest(self) -> int:
        """The minute of the newest event: the moment that is scored unless another is given."""
        return int(np.max(np.asarray(self.ranker.log.minute), initial=0))

    def digest(self, *asked: object) -> str:
        """A name for all that lists depend on: the model, the data, the devices and what is asked."""
        sizes, source = (
            self.ranker.block_sizes(self.ranker.block),
            self.dataset.interactions.digest,
        )
        found = hashlib.blake2b(
            repr((to_json(self.config), source, sizes, asked)).encode(), digest_size=16
        )
        for leaf in jax.tree.leaves(self.ranker.variables):
            found.update(np.asarray(leaf).tobytes())
        return found.hexdigest()

    def warm_up(self, n: int = 10) -> None:
        """Compiles what lists of up to n need, and spares what is loaded from garbage collection: for a server."""
        for size in self.ranker.block_sizes(self.ranker.block):
            self.recommend(self.dataset.interactions.users[:1].tolist() * size, n)
        gc.collect()
        gc.freeze()

    def moment_text(self, minute: int | None) -> str:
        """The moment that is scored, for people."""
        if not self.dataset.interactions.clock:
            return "next"
        moment = datetime.fromtimestamp(
            60 * (self.latest if minute is None else minute), UTC
        )
        return moment.strftime("%A %Y-%m-%d %H:%M")

    def recommend(
        self,
        users: Sequence[str],
        n: int = 10,
        minute: int | None = None,
        keep_seen: bool | None = None,
    ) -> pd.DataFrame:
        """The top n of each user, in the order asked: rows of user_id, rank, item_id, name, score and source."""
        return pd.concat(
            self.recommend_blocks(users, n, minute, keep_seen), ignore_index=True
        )

    def recommend_blocks(
        self,
        users: Sequence[str],
        n: int,
        minute: int | None,
        keep_seen: bool | None,
        progress: Progress = unwatched,
    ) -> Iterator[pd.DataFrame]:
        """The same, a block of users at a time, so that memory does not grow with the users.

        Args:
            minute: the moment to score for, minutes since 1970 of the shop's clock; the newest event's for None.
            keep_seen: whether items that the user already had may stand in the list; as trained for None.

        Raises UserError for n below 1, and for a moment where the data has no clock.
        """
        if n < 1:
            raise UserError(f"--top-n is {n}, expected 1 or more")
        if minute is not None and not self.dataset.interactions.clock:
            raise UserError(
                "--at needs data with times, but this run's data has only an order; leave --at out"
            )
        moment = np.full(
            len(users), self.latest if minute is None else minute, np.int32
        )
        keep_seen = bool(self.config.keep_seen if keep_seen is None else keep_seen)
        rows, done = (
            np.array([self.row_of.get(user, -1) for user in users], np.int32),
            0,
        )
        for ids, scores in self.ranker.top_n(rows, moment, n, keep_seen):
            part = slice(done, done := done + len(ids))
            yield self._table(users[part], rows[part, None] < 0, ids, scores)
            progress(done, len(rows))

    def _table(
        self,
        users: Sequence[str],
        unknown: np.ndarray,
        ids: np.ndarray,
        scores: np.ndarray,
    ) -> pd.DataFrame:
        ids = np.where(unknown, self._popular[: ids.shape[1]], ids)
        row, place = np.nonzero(ids >= 0)
        item, source = ids[row, place], self.dataset.interactions
        table = {"user_id": np.asarray(users, object)[row], "rank": np.int32(place + 1)}
        table |= {"item_id": source.items[item], "name": source.names[item]}
        table["score"] = np.where(
            unknown, np.nan, predictions(self.ranker.model, scores)
        )[row, place]
        table["source"] = np.where(unknown, "popular", "model")[row, 0]
        return pd.DataFrame(table)


def load_recommender(
    path: str | Path, say: Callable[[str], None], placement: Placement | None = None
) -> Recommender:
    """The run in `path`, knowing all its events, on the devices of `placement`.

    Raises UserError where there is no sound run.
    """
    run = load(path, (TRAIN, VALIDATION, UNUSED, TEST), say, placement)
    return Recommender(run.config, run.dataset, run.ranker)


def minute_of(text: str) -> int:
    """Minutes since 1970 of a moment such as 2025-07-18T19:00; a zone is converted to UTC.

    Raises UserError for text that is no ISO 8601 moment, and for one before 1970.
    """
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        minute = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() // 60)
        if 0 <= minute < 2**31:
            return minute
    raise UserError(
        f'--at "{text}" is no moment after 1970 began; write it as 2025-07-18T19:00'
    )
