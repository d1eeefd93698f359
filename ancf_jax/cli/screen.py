"""Where the scripts show things: messages and progress, and tables of results."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ancf_jax.view import in_time

WIDTH = 200  # of tables in a file or a pipe
SECONDS_BETWEEN_LINES = 30


class Screen:
    """The view of a script: messages and progress on standard error.

    Progress is a bar on a terminal, and elsewhere (a log file, a notebook) a line every half
    minute. Standard output holds results alone.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = _ProgressLines(clock)
        # A notebook, which has colours, too, is no terminal, on which a bar could be redrawn.
        self.console = Console(
            stderr=True,
            highlight=False,
            soft_wrap=True,
            force_jupyter=False,
            force_terminal=sys.stderr.isatty(),
        )
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def say(self, message: str) -> None:
        """One line."""
        self._clear()
        self.console.print(message, markup=False)

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        """How far the work called `title` is; done == total takes the bar away."""
        if not self.console.is_terminal:
            line = self._lines.after(title, done, total, note)
            if line:
                self.say(line)
            return
        if [task.description for task in self._bar.tasks] != [title]:
            self._clear()
            self._bar.add_task(title, total=total, note=note)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, note=note)
        if done >= total:
            self._clear()

    def _clear(self) -> None:
        for task in self._bar.task_ids:
            self._bar.stop()
            self._bar.remove_task(task)


class _ProgressLines:
    """Progress as lines, seldom enough to be read."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._title = ""
        self._began = self._told = clock()

    def after(self, title: str, done: int, total: int, note: str) -> str:
        """The line to be shown now; empty where one was shown, or the work began, just before."""
        now = self._clock()
        if title != self._title:
            self._title = title
            self._began = self._told = now
        if done >= total or now - self._told < SECONDS_BETWEEN_LINES:
            return ""
        self._told = now
        seconds_left = (now - self._began) / done * (total - done)
        words = [
            f"{title}: {done:,} of {total:,}",
            note,
            f"{in_time(seconds_left)} left",
        ]
        return ", ".join(word for word in words if word)


def show(rows: Sequence[dict[Any, Any]], title: str = "") -> None:
    """Rows as a table on standard output; the first row's keys are the columns."""
    table = Table(title=title or None, title_justify="left")
    for name in rows[0]:
        is_text = any(isinstance(row.get(name), str) for row in rows)
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in rows[0]))
    width = None if sys.stdout.isatty() else WIDTH
    Console(width=width, highlight=False).print(table)


def _cell(value: Any) -> str:
    """The text of a value; none for None and NaN."""
    is_nan = value != value
    if value is None or is_nan:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
