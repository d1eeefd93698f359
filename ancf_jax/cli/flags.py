"""Flags from dataclasses, and from presets: files of flags."""

import shlex
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import tyro

from ancf_jax.errors import UserError

Flags = TypeVar("Flags")
KEEP_SEEN = ("--keep-seen", "--no-keep-seen")


def parse(
    command: type[Flags], default: Flags | None, argv: Sequence[str], description: str
) -> Flags:
    """The flags of `argv` over `default`; a typo leaves with exit code 2 and a suggestion."""
    words = _spelled_out(argv)
    return tyro.cli(command, default=default, args=words, description=description)


def _spelled_out(argv: Sequence[str]) -> list[str]:
    """Bare --keep-seen and --no-keep-seen with their value.

    The setting may also be undecided, and the parser wants a value for such a flag.
    """
    words: list[str] = []
    following = [*argv, ""][1:]
    for word, next_word in zip(argv, following, strict=True):
        if word in KEEP_SEEN and next_word not in ("True", "False", "None"):
            words += ["--keep-seen", str(word == "--keep-seen")]
        else:
            words.append(word)
    return words


def expand(argv: Sequence[str]) -> list[str]:
    """`argv` with every @FILE replaced by the flags in FILE, a preset; # begins a comment.

    Raises:
        UserError: a preset cannot be read.
    """
    flags: list[str] = []
    for word in argv:
        if word.startswith("@"):
            flags += shlex.split(_preset(word[1:]), comments=True)
        else:
            flags.append(word)
    return flags


def _preset(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f'the preset "{path}" cannot be read ({error}); pass @ and a text file'
        ) from None


def flag_value(argv: Sequence[str], flag: str) -> str | None:
    """The last value given for `flag`, as `--flag VALUE` or `--flag=VALUE`; else None."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(flag, nargs="?", dest="value")
    return parser.parse_known_args(argv)[0].value
