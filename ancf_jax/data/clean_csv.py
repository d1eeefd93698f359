"""Clean CSV by Arrow's own reader: the same texts as the strict reader gives, much sooner.

Clean is what both readers understand alike, one row a line. Of the rest nothing is read here: the
strict reader takes over, which knows the line of what is wrong.
"""

import codecs
from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.csv

_PIECE = 1 << 22  # bytes that are looked at at a time
_CODED = pa.dictionary(pa.int32(), pa.string())
_QUOTE = ord('"')
_LINE_ENDS = (ord("\n"), ord("\r"))


def is_clean(data: bytes, delimiter: str, quoted: bool) -> bool:
    """Whether a file is UTF-8 without NUL, lone CR and quotes that are not around whole fields.

    Args:
        data: the bytes of the file.
        delimiter: what separates the fields, one character.
        quoted: whether a quote is more than a character.
    """
    if b"\x00" in data:
        return False
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        return False
    if quoted and b'"' in data and not _quotes_hold_fields(data, ord(delimiter)):
        return False
    return data.isascii() or _is_utf_8(data)


def _is_utf_8(data: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for begin in range(0, len(data), _PIECE):
            decoder.decode(data[begin : begin + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _quotes_hold_fields(data: bytes, delimiter: int) -> bool:
    """Whether every other quote begins a field, and the next one ends it."""
    number_of_quotes = 0
    for begin in range(0, len(data), _PIECE):
        # The piece with the byte before it and the one after; at both ends of the file that is
        # a line end.
        piece = b"\n" + data[begin : begin + _PIECE + 1]
        if begin:
            piece = data[begin - 1 : begin + _PIECE + 1]
        if begin + _PIECE >= len(data):
            piece += b"\n"
        values = np.frombuffer(piece, np.uint8)
        place = 1 + np.flatnonzero(values[1:-1] == _QUOTE)
        parity = number_of_quotes % 2
        before = values[place[parity::2] - 1]
        after = values[place[1 - parity :: 2] + 1]
        fences = (delimiter, *_LINE_ENDS)
        if not (np.isin(before, fences).all() and np.isin(after, fences).all()):
            return False
        number_of_quotes += len(place)
    return number_of_quotes % 2 == 0


def read_rows(
    data: memoryview,
    delimiter: str,
    quoted: bool,
    width: int,
    places: Mapping[str, int],
    coded: Collection[str],
) -> dict[str, pa.ChunkedArray] | None:
    """Columns of text [rows], a row for each line; None where Arrow finds it otherwise.

    Args:
        data: the rows, without header, of a file that `is_clean`.
        delimiter: what separates the fields.
        quoted: whether a quote is more than a character.
        width: number of fields of every row.
        places: which columns to keep, by name.
        coded: names of columns whose equal texts are held once.
    """
    numbers = [str(number) for number in range(width)]
    types = {
        numbers[place]: _CODED if name in coded else pa.large_string()
        for name, place in places.items()
    }
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            pyarrow.csv.ReadOptions(column_names=numbers),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter, quote_char='"' if quoted else False
            ),
            pyarrow.csv.ConvertOptions(column_types=types, include_columns=list(types)),
        )
    except pa.ArrowException:
        return None
    if len(table) != _number_of_lines(data):
        return None  # blank lines, or line ends within quotes
    return dict(zip(places, table.columns, strict=True))


def _number_of_lines(data: memoryview) -> int:
    values = np.frombuffer(data, np.uint8)
    line_end = ord("\n")
    lines = 0
    for begin in range(0, len(values), _PIECE):
        lines += int(np.count_nonzero(values[begin : begin + _PIECE] == line_end))
    return lines + int(values[-1] != line_end)
