"""What is not a checkpoint yet, or no longer: kept apart, so that leftovers are known as ours."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ancf_jax.data.marked import delete_marked, empty_marked, make_marked
from ancf_jax.errors import UserError


@contextlib.contextmanager
def scratch_folder(checkpoints: Path) -> Iterator[Path]:
    """The folder for what is being written or deleted, made anew within a marked one.

    The marked one goes with all in it. After an error it stays, empty: what writes late, when
    nobody waits for it any more, would make it once more, without the mark.

    Raises:
        UserError: something that is not ours is in its place.
        OSError: it cannot be made.
    """
    folder = checkpoints / "unfinished"
    make_marked(folder, "move it away, or choose another --run")
    try:
        yield Path(tempfile.mkdtemp(dir=folder))
    except BaseException:
        empty_marked(folder)
        raise
    delete_marked(folder)


def clear_scratch(checkpoints: Path) -> None:
    """Removes what a killed process left.

    Raises:
        UserError: something that is not ours is there, or nothing can be written.
    """
    with told_to_the_user(checkpoints), scratch_folder(checkpoints):
        pass


@contextlib.contextmanager
def told_to_the_user(folder: Path) -> Iterator[None]:
    """Turns errors of the file system into UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f'"{folder}" cannot be written ({error.strerror}); make room, or choose another --run'
        ) from error


def refuse_link(place: Path) -> None:
    """Raises UserError where writing to this part of a run would write elsewhere."""
    if place.is_symlink():
        raise UserError(
            f'"{place}" is a link, expected a part of the run itself; put what it leads to '
            "in its place, or choose another --run"
        )
