"""Work that somebody watches, and may stop."""

from collections.abc import Callable
from dataclasses import dataclass

from ancf_jax.view import View

Check = Callable[[], None]


def never() -> None:
    """The check of work that nobody stops."""


@dataclass(frozen=True)
class Watched:
    """A view that asks `check` whether to go on, whenever progress is shown.

    Attributes:
        view: where the work is shown.
        check: raises, such as `errors.Stopped`, to end the work.
    """

    view: View
    check: Check

    def say(self, message: str) -> None:
        """One line."""
        self.view.say(message)

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        """How far the work called `title` is; done == total ends it."""
        self.view.progress(title, done, total, note)
        self.check()
