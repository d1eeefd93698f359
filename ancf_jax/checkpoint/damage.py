"""Damage: how what is not as it was written is told."""

import contextlib
from collections.abc import Iterator


class Damaged(Exception):
    """A checkpoint that cannot be trusted; says which leaf or file."""


@contextlib.contextmanager
def damage_of(what: str) -> Iterator[None]:
    """Turns errors of reading into `Damaged`, which names what was read."""
    try:
        yield
    except Damaged:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{what}: {reason(error)}") from None


LONGEST_REASON = 160


def reason(error: Exception) -> str:
    """The gist of an error in one line.

    TensorStore's messages are long: what matters stands last, before details in brackets. Of a long
    one the last clauses are kept, whole.
    """
    of_system = error.strerror if isinstance(error, OSError) else None
    text = of_system or str(error) or type(error).__name__
    first_line = text.splitlines()[0]
    clauses = first_line.split(" [")[0].split(": ")
    gist = clauses.pop()[:LONGEST_REASON]
    while clauses and len(clauses[-1]) + len(gist) < LONGEST_REASON:
        gist = f"{clauses.pop()}: {gist}"
    return gist
