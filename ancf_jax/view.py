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
