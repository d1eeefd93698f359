"""Where work shows how it goes: the one interface that everything which takes long is given."""

from typing import Protocol


class View(Protocol):
    """Messages and progress, shown to whoever watches."""

    def say(self, message: str) -> None:
        """One line."""

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        """How far the work called `title` is; done == total ends it."""


class Silent:
    """The view of work that nobody watches."""

    def say(self, message: str) -> None:
        """Nothing."""

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        """Nothing."""


class Printed(Silent):
    """Messages on standard output, without progress: for scripts and notebooks."""

    def say(self, message: str) -> None:
        """One line."""
        print(message)


SILENT = Silent()
PRINTED = Printed()


def in_time(seconds: float) -> str:
    """A time in the unit that people would take: 45 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
