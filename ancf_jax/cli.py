"""What the three scripts share: flags from dataclasses, one-sentence errors, and where things are shown."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ancf_jax.errors import UserError

Flags = TypeVar("Flags")


class Screen:
    """Messages and, on a terminal, a progress bar on standard error; standard output holds results alone."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(
            *columns,
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
        )

    def __enter__(self) -> Screen:
        return self

    def _clear(self, *_: object) -> None:
        for task in self._bar.task_ids:
            self._bar.stop()
            self._bar.remove_task(task)

    __exit__ = _clear

    def say(self, message: str) -> None:
        """One line."""
        self._clear()
        self.console.print(message, markup=False)

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        """How far the work called `title` is; done == total takes the bar away."""
        if not self.console.is_terminal:
            return
        if [task.description for task in self._bar.tasks] != [title]:
            self._clear()
            self._bar.add_task(title, total=total, note=note)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, note=note)
        if done >= total:
            self._clear()


def parse(
    command: type[Flags], default: Flags | None, argv: Sequence[str], description: str
) -> Flags:
    """The flags of `argv` over `default`; a typo leaves with exit code 2 and a suggestion."""
    return tyro.cli(
        command, default=default, args=_spelled_out(argv), description=description
    )


def _spelled_out(argv: Sequence[str]) -> list[str]:
    """Bare --keep-seen and --no-keep-seen with their value, as the parser wants a flag that may also be undecided."""
    words: list[str] = []
    for word, following in zip(argv, [*argv, ""][1:], strict=True):
        bare = word in ("--keep-seen", "--no-keep-seen") and following not in (
            "True",
            "False",
            "None",
        )
        words += ["--keep-seen", str(word == "--keep-seen")] if bare else [word]
    return words


def expand(argv: Sequence[str]) -> list[str]:
    """`argv` with every @FILE replaced by the flags in FILE (a preset; # begins a comment); UserError without one."""
    flags: list[str] = []
    for word in argv:
        try:
            preset = (
                Path(word[1:]).read_text(encoding="utf-8")
                if word.startswith("@")
                else None
            )
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f'the preset "{word[1:]}" cannot be read ({error}); pass @ and a text file'
            ) from None
        flags += [word] if preset is None else shlex.split(preset, comments=True)
    return flags


def flag_value(argv: Sequence[str], flag: str) -> str | None:
    """The last value given for `flag`, as `--flag VALUE` or `--flag=VALUE`; None where it is absent."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(flag, nargs="?", dest="value")
    return parser.parse_known_args(argv)[0].value


def show(rows: Sequence[dict[Any, Any]], title: str = "") -> None:
    """Rows as a table on standard output; the first row's keys are the columns."""
    table = Table(title=title or None, title_justify="left")
    for name in rows[0]:
        is_text = any(isinstance(row.get(name), str) for row in rows)
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in rows[0]))
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


def _cell(value: Any) -> str:
    # Nothing to show for None and NaN.
    return (
        ""
        if value is None or value != value
        else f"{value:.4f}"
        if isinstance(value, float)
        else str(value)
    )


def run(main: Callable[[list[str], Screen], None]) -> None:
    """Runs a script: a UserError becomes one sentence and its exit code, never a traceback."""
    try:
        with Screen() as screen:
            main(expand(sys.argv[1:]), screen)
            sys.stdout.flush()
    except (
        BrokenPipeError
    ):  # the reader of our output has gone (e.g. `| head`); nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UserError as error:
        _leave(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        _leave("stopped", 130)
    except MemoryError:
        _leave(
            "error: out of memory; lower --loop.batch-size or --network.history-length",
            2,
        )


def _leave(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)
