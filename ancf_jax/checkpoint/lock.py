"""One process trains in a run folder at a time."""

import fcntl
import os
from pathlib import Path
from typing import IO

from ancf_jax.errors import UserError


def take_lock(folder: Path) -> IO[str]:
    """Locks a run folder, made where it is absent, until the returned file is closed.

    The lock ends with the process, too, even when that is killed.

    Raises:
        UserError: another process trains there, or the folder cannot be written.
    """
    lock = _open_lock(folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with lock:
            lock.seek(0)
            holder = lock.read()
        raise UserError(
            f'process {holder} trains in "{folder}"; wait, or choose another --run'
        ) from None
    lock.truncate(0)
    print(os.getpid(), end="", file=lock, flush=True)
    return lock


def _open_lock(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open(folder / "run.lock", "a+", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f'run folder "{folder}" cannot be written ({error.strerror}); '
            "choose another --run"
        ) from None
