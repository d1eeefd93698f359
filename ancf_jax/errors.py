"""The one error that people see: a sentence, and exit code 2."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What was found, what was expected and what to do, in one sentence.

    The scripts print it without a traceback and leave with `exit_code`.
    """

    exit_code = 2


class NumericalError(UserError):
    """Training met a loss that is not a number; the last good checkpoint stands."""

    exit_code = 3


class Stopped(UserError):
    """Somebody asked the work to end; what was saved stands.

    Attributes:
        exit_code: what the process leaves with, such as 128 + the number of a signal.
    """

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as ` (did you mean "item_id"?)`, or nothing when no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""
