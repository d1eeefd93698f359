"""Files as text, and the digest of their bytes."""

from __future__ import annotations

import codecs
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from ancf_jax.errors import UserError


def opened(path: Path) -> io.BufferedReader:
    """The file, open for reading bytes; raises UserError where it cannot be."""
    try:
        return path.open("rb")
    except OSError as problem:
        raise UserError(f"{path} cannot be opened ({problem.strerror}); pass a file that can be read") from None


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 with a BOM, or latin-1; raises UserError where it is no text."""
    with opened(path) as file:
        data = file.read()
    if not data.strip():
        raise UserError(f"{path} is empty; pass a file with at least one event")
    if data[:2] in (b"PK", b"\x1f\x8b"):
        raise UserError(f"{path} is a compressed file or a spreadsheet; unpack it or save it as CSV")
    text = _decode(path, data)
    if "\x00" in text:
        line = text[: text.index("\x00")].count("\n") + 1
        raise UserError(f"{path}, line {line}: a NUL byte, expected text; save the file again as UTF-8")
    return text


def sha256(paths: Iterable[Path]) -> str:
    """SHA-256 over the bytes of the files, one after the other, hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with opened(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def lines_of(text: str) -> list[str]:
    """The lines of a text, ended by LF, CR LF or CR and by nothing else."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _decode(path: Path, data: bytes) -> str:
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
    except UnicodeDecodeError as problem:
        raise UserError(f"{path} is not UTF-16 ({problem.reason}); save it again as UTF-8") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
