"""Recommend from a run: `python recommend.py --run DIR --users ID` or `--users all --out FILE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ancf_jax import cli
from ancf_jax.output import check_ending, write_table
from ancf_jax.recommender import load_recommender, minute_of


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
    """Write to this .parquet, .csv or .jsonl file instead of the terminal."""


def main(argv: list[str], screen: cli.Screen) -> None:
    """Loads the run, recommends block by block, and shows or writes the lists."""
    command = cli.parse(Command, None, argv, "Recommend items to the users of a run.")
    if command.out is not None:
        check_ending(command.out)
    minute = minute_of(command.at) if command.at else None
    recommender = load_recommender(command.run, screen.say)
    users = recommender.users_of(command.users)
    blocks = recommender.recommend_blocks(users, command.top_n, minute, command.keep_seen, screen.progress)
    if command.out is not None:
        rows = write_table(command.out, blocks)
        screen.say(f"{rows} rows for {len(users)} users in {command.out}")
        return
    for block in blocks:
        for user, rows in block.groupby("user_id", sort=False):
            cli.show(cli.records(rows.drop(columns="user_id")), f"{user}, {recommender.moment_text(minute)}")


if __name__ == "__main__":
    cli.run(main)
