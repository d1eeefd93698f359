"""Recommend from a run: `python recommend.py --run DIR --users ID` or `--users all --out FILE`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ancf_jax import cli
from ancf_jax.errors import UserError
from ancf_jax.output import check_ending, write_in_parts
from ancf_jax.recommender import load_recommender, minute_of
from ancf_jax.training.parallel import everywhere

USERS_PER_PART = 1 << 13


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
    """Moment to recommend for, such as 2025-07-18T19:00 (the shop's clock); by default the newest event's."""
    keep_seen: bool | None = None
    """Recommend also what the user already had; by default as the run was trained."""
    out: Path | None = None
    """Write to this .parquet, .csv or .jsonl file instead of the terminal; stopped, the same command goes on."""
    shard: str = "1/1"
    """I/N: the I-th of N shares of the users alone, so that N hosts do the work; --out gets the ending -I-of-N."""


def main(argv: list[str], screen: cli.Screen) -> None:
    """Loads the run, recommends block by block, and shows or writes the lists."""
    command = cli.parse(Command, None, argv, "Recommend items to the users of a run.")
    shard, shards = shard_of(command.shard)
    if command.out is not None:
        check_ending(command.out)
    minute = minute_of(command.at) if command.at else None
    recommender = load_recommender(command.run, screen.say, everywhere())
    users = recommender.users_of(command.users)
    users = users[len(users) * (shard - 1) // shards : len(users) * shard // shards]
    if not users:
        raise UserError(
            f"there is no user for --shard {command.shard}; make fewer shares"
        )

    def blocks(number: int) -> Iterator[pd.DataFrame]:
        begin = number * USERS_PER_PART
        return recommender.recommend_blocks(
            users[begin : begin + USERS_PER_PART],
            command.top_n,
            minute,
            command.keep_seen,
            lambda done, _: screen.progress("recommending", begin + done, len(users)),
        )

    parts = -(-len(users) // USERS_PER_PART)
    if command.out is not None:
        out = (
            command.out
            if shards == 1
            else command.out.with_stem(f"{command.out.stem}-{shard}-of-{shards}")
        )
        digest = recommender.digest(
            users, command.top_n, minute, command.keep_seen, USERS_PER_PART
        )
        rows = write_in_parts(out, digest, parts, blocks, screen.say)
        screen.say(f"{rows} rows for {len(users)} users in {out}")
        return
    for block in (block for number in range(parts) for block in blocks(number)):
        for user, rows in block.groupby("user_id", sort=False):
            cli.show(
                rows.drop(columns="user_id").to_dict("records"),
                f"{user}, {recommender.moment_text(minute)}",
            )


def shard_of(text: str) -> tuple[int, int]:
    """I and N of "I/N"; raises UserError where it is not one of N shares."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    shard, shards = map(int, match.groups()) if match else (0, 0)
    if not 1 <= shard <= shards:
        raise UserError(
            f'--shard is "{text}", expected I/N with I from 1 to N, such as 2/4'
        )
    return shard, shards


if __name__ == "__main__":
    cli.run(main)
