"""Locks that end with the process that holds them, kill -9 included."""

import fcntl
import os
from pathlib import Path
from typing import IO


class Held(Exception):
    """Another process holds a lock.

    Attributes:
        holder: the number of that process, as text.
    """

    def __init__(self, holder: str):
        super().__init__(holder)
        self.holder = holder


def lock_file(path: Path) -> IO[str]:
    """Locks a file, made where it is absent, until the returned file is closed.

    The file holds the number of the process that locked it. A link is not followed.

    Raises:
        Held: another process holds the lock.
        OSError: the file cannot be opened.
    """
    while True:
        file = os.fdopen(_open(path), "r+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                raise Held(file.read()) from None
        if _is_at(path, file):
            file.truncate(0)
            print(os.getpid(), end="", file=file, flush=True)
            return file
        file.close()  # its holder deleted it before we had the lock


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False
