"""Recommend from a run: `python recommend.py --run DIR --users ID` or `--users all --out FILE`."""

import os
import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    # Ctrl-C during the imports below, which take seconds, leaves without a traceback.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from ancf_jax import cli
from ancf_jax.data.times import minute_of
from ancf_jax.errors import UserError
from ancf_jax.machine.parallel import ranking_devices
from ancf_jax.output import check_ending, lists_of, write_in_parts
from ancf_jax.ranking.explore import Explore, share_in_words
from ancf_jax.recommender import Recommender, load_recommender

USERS_PER_PART = 1 << 13
EXPLORE = "0"
FATES = {"popular": "they get the most popular items", "skip": "they get no list"}


@dataclass(frozen=True)
class Command:
    """What recommend.py is asked to do."""

    run: str
    """Folder of the run."""
    users: tuple[str, ...] = ("all",)
    """Ids of users, or `all`."""
    top_n: int = 10
    """Length of each list."""
    at: str = ""
    """Moment to recommend for, such as 2025-07-18T19:00 (the shop's clock); by default the newest
    event's."""
    keep_seen: bool | None = None
    """Recommend also what the user already had; by default as the run was trained."""
    unknown: Literal["popular", "skip", "error"] = "popular"
    """What users get that the run does not know: the most popular items, no list, or an error."""
    explore: str = EXPLORE
    """Share of all places, the last ones of some lists, that is kept for products that nobody has
    bought yet, the best by score, marked `new`; `auto` is how often such products are bought: among
    the latest tenth of the events, those of products that had none before."""
    out: Path | None = None
    """Write to this .parquet, .csv or .jsonl file instead of the terminal; stopped, the same
    command goes on."""
    strict: bool = False
    """Refuse a run whose best checkpoint is damaged, instead of taking the next best."""
    shard: str = "1/1"
    """I/N: the I-th of N shares of the users alone, so that N hosts do the work; --out gets the
    ending -I-of-N."""


@dataclass(frozen=True)
class Lists:
    """The lists that are asked for, computed part by part of the users.

    Attributes:
        recommender: the run.
        users: ids.
        top_n: length of each list.
        minute: the moment to recommend for; the newest event's for None.
        keep_seen: whether what the user already had is recommended; as trained for None.
        explore: share of places for products without events.
        view: where progress is shown.
    """

    recommender: Recommender
    users: list[str]
    top_n: int
    minute: int | None
    keep_seen: bool | None
    explore: Explore
    view: cli.Screen

    def parts(self) -> int:
        """Number of parts."""
        return -(-len(self.users) // USERS_PER_PART)

    def blocks(self, number: int) -> Iterator[pd.DataFrame]:
        """The tables of part `number`."""
        begin = number * USERS_PER_PART
        return self.recommender.recommend_blocks(
            self.users,
            self.top_n,
            self.minute,
            self.keep_seen,
            self.view,
            part=slice(begin, begin + USERS_PER_PART),
            explore=self.explore,
        )

    def digest(self) -> str:
        """A name for all that the lists depend on."""
        asked = (self.users, self.top_n, self.minute, self.keep_seen, self.explore)
        return self.recommender.digest(*asked, USERS_PER_PART)

    def show(self) -> None:
        """Shows every list as a table for people."""
        moment = self.recommender.moment_text(self.minute)
        for number in range(self.parts()):
            for block in self.blocks(number):
                for user, rows in lists_of(block):
                    cli.show(rows.to_dict("records"), f"{user}, {moment}")


def parse(argv: list[str]) -> Command:
    """The command that `argv` gives."""
    return cli.parse(Command, None, argv, "Recommend items to the users of a run.")


def main(argv: list[str], screen: cli.Screen) -> None:
    """Loads the run, recommends block by block, and shows or writes the lists."""
    command = parse(argv)
    shard, shards = shard_of(command.shard)
    explore = share_in_words(command.explore)
    if command.out is not None:
        check_ending(command.out)
    minute = minute_of(command.at) if command.at else None
    recommender = load_recommender(
        command.run, screen, ranking_devices(), command.strict
    )
    absence = recommender.no_probability(command.keep_seen, explore)
    if absence:
        screen.say(absence)
    users = users_asked(recommender, command, screen)
    begin = len(users) * (shard - 1) // shards
    end = len(users) * shard // shards
    if begin == end:
        raise UserError(
            f"there is no user for --shard {command.shard}; make fewer shares"
        )
    lists = Lists(
        recommender,
        users[begin:end],
        command.top_n,
        minute,
        command.keep_seen,
        explore,
        view=screen,
    )
    if command.out is None:
        lists.show()
        return
    out = command.out
    if shards > 1:
        out = out.with_stem(f"{out.stem}-{shard}-of-{shards}")
    rows = write_in_parts(out, lists.digest(), lists.parts(), lists.blocks, screen.say)
    screen.say(f"{rows} rows for {len(lists.users)} users in {out}")


def users_asked(
    recommender: Recommender, command: Command, screen: cli.Screen
) -> list[str]:
    """The ids that get lists; how many of those asked for are unknown is said.

    Raises:
        UserError: nobody is asked for, `all` stands among other ids and is none, or unknown users
            are an error.
    """
    asked = command.users
    if not asked:
        raise UserError("--users names nobody; give ids, or leave it out for all users")
    known = recommender.row_of
    if "all" in asked and len(asked) > 1 and "all" not in known:
        raise UserError(
            f"--users is {' '.join(asked)[:60]}, expected ids, or all; "
            "leave out all, or the ids beside it"
        )
    users = recommender.users_of(asked)
    unknown = [user for user in users if user not in known]
    if not unknown:
        return users
    found = (
        f"{len(unknown)} of {len(users)} users are unknown, such as {unknown[0][:60]!r}"
    )
    if command.unknown == "error":
        raise UserError(f"{found}; correct the ids, or choose another --unknown")
    screen.say(f"{found}: {FATES[command.unknown]}")
    if command.unknown == "popular":
        return users
    rest = [user for user in users if user in known]
    if not rest:
        raise UserError(f"{found}, so that nobody is left; correct the ids")
    return rest


def shard_of(text: str) -> tuple[int, int]:
    """I and N of "I/N".

    Raises:
        UserError: it is not one of N shares.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    shard, shards = map(int, match.groups()) if match else (0, 0)
    if not 1 <= shard <= shards:
        raise UserError(
            f'--shard is "{text}", expected I/N with I from 1 to N, such as 2/4'
        )
    return shard, shards


if __name__ == "__main__":
    cli.run(main)
