"""Where work shows how it goes: the one interface that everything which takes long is given."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ancf_jax.errors import UserError


@runtime_checkable
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


class Said(Silent):
    """Messages given to a function, such as `print`, without progress."""

    def __init__(self, take: Callable[[str], object]) -> None:
        self._take = take

    def say(self, message: str) -> None:
        """One line."""
        self._take(message)


SILENT = Silent()
PRINTED = Said(print)
# What people may pass where a view is asked for.
Watcher = View | Callable[[str], object]


def view_of(watcher: Watcher) -> View:
    """`watcher` itself where it is a view; one that gives it every message where it is a function.

    Raises:
        UserError: it is neither.
    """
    if isinstance(watcher, View):
        return watcher
    if callable(watcher):
        return Said(watcher)
    raise UserError(
        f"the view is {watcher!r}, expected PRINTED, SILENT, or a function of one text "
        "such as print; pass one of them"
    )


def in_time(seconds: float) -> str:
    """A time in the unit that people would take: 45 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
