"""Text files of any encoding as text whose lines end by LF, and what is no text refused."""

import codecs
from encodings.aliases import aliases
from pathlib import Path
from typing import NoReturn

from ancf_jax.errors import UserError, nearest

UTF_8 = "utf-8"
_HEAD = 1 << 22  # bytes that show of which layout a file is
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def check_encoding(name: str) -> None:
    """Raises UserError where Python knows no encoding of text of that name."""
    try:
        b"a".decode(name)
    except UnicodeDecodeError:
        return  # of an encoding that has more than one byte a character
    except (LookupError, ValueError):
        raise UserError(
            f'--table.encoding is "{name}", expected the name of an encoding'
            f"{nearest(name, set(aliases.values()))}; choose one such as utf-8, latin-1, "
            "cp1252 or shift_jis"
        ) from None


def read_text(path: Path, encoding: str = UTF_8) -> str:
    """The text of a file, its lines ended by LF.

    Args:
        path: the file.
        encoding: that of its bytes; a file in UTF-8 may be in UTF-16 with a BOM, too.

    Raises:
        UserError: where the file is empty, holds no text, or is not in this encoding.
    """
    text = _with_lf(_decode(path, path.read_bytes(), encoding))
    if not text.strip():
        raise UserError(f"{path} is empty; pass a file with at least one event")
    if "\x00" in text:
        _refuse_nul(path, text.count("\n", 0, text.index("\x00")) + 1)
    return text


def first_line(text: str) -> str:
    """The first line that is not empty."""
    return text.lstrip("\n").partition("\n")[0]


def head_line(path: Path, encoding: str) -> str:
    """The first line of a file that is not empty, for finding out what the file is.

    Bytes that are not in the encoding do not matter here, and a very long line is cut.
    """
    with path.open("rb") as file:
        data = file.read(_HEAD)
    return first_line(_with_lf(data.decode(_codec(data, encoding), "replace")))


def is_utf_8(path: Path) -> bool:
    """Whether a file is text in UTF-8."""
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return False
    return True


def is_utf_8_name(encoding: str) -> bool:
    """Whether this is a name of UTF-8, such as utf8."""
    return codecs.lookup(encoding).name == UTF_8


def _codec(data: bytes, encoding: str) -> str:
    return (
        "utf-16"
        if is_utf_8_name(encoding) and data.startswith(_UTF_16_MARKS)
        else encoding
    )


def _with_lf(text: str) -> str:
    """The text with its lines ended by LF, without a BOM."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _decode(path: Path, data: bytes, encoding: str) -> str:
    codec = _codec(data, encoding)
    try:
        return data.decode(codec)
    except UnicodeError as problem:  # a few encodings raise it without a place
        _refuse_byte(path, data, codec, getattr(problem, "start", 0))


def _refuse_byte(path: Path, data: bytes, codec: str, place: int) -> NoReturn:
    if b"\x00" in data:  # what holds a bad byte and NUL is no text in any encoding
        _refuse_nul(path, data.count(b"\n", 0, data.index(b"\x00")) + 1)
    before = data[:place]
    line = _with_lf(before.decode(codec, "replace")).count("\n") + 1
    in_line = place - max(before.rfind(b"\n"), before.rfind(b"\r"))
    expected = "UTF-8" if codec == UTF_8 else codec
    raise UserError(
        f"{path}, line {line}, byte {in_line}: found {data[place]:#04x}, expected {expected}; "
        "save the file as UTF-8, or name its encoding with --table.encoding, "
        "such as latin-1, cp1252 or shift_jis"
    )


def _refuse_nul(path: Path, line: int) -> NoReturn:
    raise UserError(
        f"{path}, line {line}: a NUL byte, expected text; "
        "unpack the file or save it again as UTF-8"
    )
