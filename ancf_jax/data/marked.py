"""Folders of ours among a person's own: marked when they are made, deleted by their mark alone."""

import contextlib
import re
import shutil
from pathlib import Path

from ancf_jax.errors import UserError

MARK = ".ancf_jax"


def make_marked(folder: Path, remedy: str) -> None:
    """Makes a folder with our mark; one that is there already has to be ours, or empty.

    Args:
        folder: the folder.
        remedy: what to do where something else is there.

    Raises:
        UserError: something else is there; it stays as it is.
        OSError: the folder cannot be made.
    """
    mark = folder / MARK
    problem = ""
    if folder.is_symlink():
        problem = "is a link"
    elif folder.exists() and not folder.is_dir():
        problem = "is a file"
    elif folder.is_dir() and not is_marked(folder) and any(folder.iterdir()):
        problem = f'is a folder that ancf_jax did not make (it has no file "{MARK}")'
    if problem:
        raise UserError(f'"{folder}" {problem} and stays as it is; {remedy}')
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()


def is_marked(folder: Path) -> bool:
    """Whether `folder` is a folder with our mark, and no link."""
    mark = folder / MARK
    return not folder.is_symlink() and mark.is_file() and not mark.is_symlink()


def empty_marked(folder: Path, names: str = ".*") -> None:
    """Deletes what is called so in a folder with our mark, but for the mark.

    Links are deleted, never what they lead to. A folder without our mark stays as it is.

    Args:
        folder: the folder.
        names: a regular expression of whole names.
    """
    if not is_marked(folder):
        return
    for entry in folder.iterdir():
        if entry.name != MARK and re.fullmatch(names, entry.name):
            _delete(entry)


def delete_marked(folder: Path, names: str = ".*") -> None:
    """Empties a folder with our mark (see `empty_marked`) and deletes it, unless more is in it.

    The mark goes last, so that what a kill leaves of the folder is still known to be ours.
    """
    empty_marked(folder, names)
    if is_marked(folder) and [entry.name for entry in folder.iterdir()] == [MARK]:
        (folder / MARK).unlink()
        with contextlib.suppress(OSError):  # another process marked it meanwhile
            folder.rmdir()


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
