"""One process trains in a run folder at a time."""

from pathlib import Path
from typing import IO

from ancf_jax.data.locking import Held, lock_file
from ancf_jax.errors import UserError


def take_lock(folder: Path) -> IO[str]:
    """Locks a run folder, made where it is absent, until the returned file is closed.

    The lock ends with the process, too, even when that is killed.

    Raises:
        UserError: another process trains there, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return lock_file(folder / "run.lock")
    except Held as held:
        raise UserError(
            f'process {held.holder} trains in "{folder}"; wait, or choose another --run'
        ) from None
    except OSError as error:
        raise UserError(
            f'run folder "{folder}" cannot be written ({error.strerror}); '
            "choose another --run"
        ) from None
