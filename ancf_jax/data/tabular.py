"""A table of opaque text that gives its columns as ids, numbers, times and features.

What is none of them makes its row broken: it is refused, or left out and counted.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ancf_jax.data.columns import (
    Broken,
    Coded,
    long_values,
    parse_distinct_ids,
    parse_flags,
    parse_ids,
    parse_kinds,
    parse_numbers,
)
from ancf_jax.data.times import order_remark, parse_times
from ancf_jax.errors import UserError, nearest

REMEDY = "correct the row, or leave broken rows out with --table.drop-broken"

Values = TypeVar("Values", Coded, pa.ListArray, np.ndarray)


@dataclass
class Table:
    """Columns of one file, where each row came from, and which rows are fit for use.

    Reading a column raises UserError at its first broken row, or marks all of them in `keep`.

    Attributes:
        path: the file.
        names: all columns of the file, trimmed, in order.
        columns: name -> column [rows], for the wanted ones: text, but a Parquet file's
            numbers, times, coded texts and lists stay what they are.
        rows: number of rows.
        locate: row number -> "line 7" (CSV) or "row 7" (Parquet), counted from 1.
        drop_broken: whether broken rows are left out and counted, or refused.
        decimal_comma: whether `3,5` is a number, as in files separated by `;`.
        left_out: number of broken rows, by reason.
        remarks: what a person should be told of the columns that were read.
        keep: bool [rows], false for the broken rows that are left out.
    """

    path: Path
    names: Sequence[str]
    columns: dict[str, pa.ChunkedArray]
    rows: int
    locate: Callable[[int], str]
    drop_broken: bool
    decimal_comma: bool = False
    left_out: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    keep: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.keep = np.ones(self.rows, bool)
        if not self.rows:
            raise UserError(
                f"{self.path} holds no rows that can be read; "
                "pass a file with at least one event"
            )

    def require(self, name: str, flag: str) -> str:
        """Returns `name` if the file has that column exactly once.

        Raises:
            UserError: else, with the columns found and the flag that maps the column.
        """
        count = self.names.count(name)
        if count == 1:
            return name
        if count == 0:
            problem = f'no column "{name}"{nearest(name, self.names)}'
        else:
            problem = f'the column "{name}" {count} times'
        found = ", ".join(self.names)[:300]
        raise UserError(
            f"{self.path} has {problem}; it has {found}; name the right one with {flag}"
        )

    def texts(self, name: str) -> pa.ChunkedArray:
        """A column as text [rows], "" where it is empty; UserError where it is no text."""
        column = self.columns[name]
        if not _is_text_like(column.type):
            raise UserError(
                f'{self.path}, column "{name}" holds {column.type}, '
                "expected text or whole numbers"
            )
        if pa.types.is_large_string(column.type):
            return column
        return column.cast(pa.large_string()).fill_null("")

    def ids(self, name: str, only_once: bool = False) -> Coded:
        """A column of ids as coded text [rows]; with `only_once` a repeated id is broken."""
        parse = parse_distinct_ids if only_once else parse_ids
        return self._checked(name, parse(self._codable(name)))

    def kinds(self, name: str) -> Coded:
        """A column of kinds of event as coded text [rows]."""
        return self._checked(name, parse_kinds(self._codable(name)))

    def numbers(self, name: str) -> np.ndarray:
        """A column of numbers from 0 up as float32 [rows], NaN where it is empty."""
        column = self._as_held(name, _is_number)
        return self._checked(name, parse_numbers(column, self.decimal_comma))

    def flags(self, name: str) -> np.ndarray:
        """A column of yes and no as float32 [rows] of 1 and 0, NaN where it is empty."""
        return self._checked(name, parse_flags(self.texts(name)))

    def times(self, name: str) -> np.ndarray:
        """A column of times [rows]: datetime64[us] in UTC, or int64 that only orders."""
        column = self._as_held(name, _is_number_or_time)
        times = self._checked(name, parse_times(column, self.decimal_comma))
        if times.dtype.kind != "M" and self.keep.any():
            place = f'{self.path}, column "{name}"'
            self.remarks.append(order_remark(place, times[self.keep]))
        return times

    def multi_valued(self, name: str) -> pa.ListArray:
        """A column as lists of text [rows]; a row with a very long value is broken.

        The values are separated by `|`, or stand in the lists of a Parquet file.
        """
        column = self.columns[name]
        if not pa.types.is_list(column.type):
            column = pc.split_pattern(self.texts(name), "|")
        column = column.combine_chunks()
        return self._checked(name, (column, [long_values(column)]))

    def _codable(self, name: str) -> pa.ChunkedArray:
        """A column without nulls whose values are soon told apart, or text."""
        column = self.columns[name]
        is_codable = pa.types.is_integer(column.type) or pa.types.is_dictionary(
            column.type
        )
        return column if is_codable and not column.null_count else self.texts(name)

    def _as_held(
        self, name: str, is_fit: Callable[[pa.DataType], bool]
    ) -> pa.ChunkedArray:
        """A column as the file holds it where its type fits, else as text."""
        column = self.columns[name]
        return column if is_fit(column.type) else self.texts(name)

    def _checked(self, name: str, parsed: tuple[Values, list[Broken]]) -> Values:
        """The values of a parsed column, after its broken rows are refused or left out."""
        values, problems = parsed
        for broken in problems:
            if self.drop_broken:
                self._leave_out(name, broken.rows)
            elif broken.rows.any():
                self._refuse(name, broken)
        return values

    def _leave_out(self, name: str, rows: np.ndarray) -> None:
        """Each row is counted once, at the first column where it is broken."""
        reason = f"broken rows ({self.path.name}: {name})"
        self.left_out[reason] += int((rows & self.keep).sum())
        self.keep &= ~rows

    def _refuse(self, name: str, broken: Broken) -> NoReturn:
        row = int(np.argmax(broken.rows))
        cell = self.columns[name].slice(row, 1)
        if _is_text_like(cell.type):  # such as times that Python has none of
            cell = cell.cast(pa.large_string())
        value = cell[0].as_py()
        found = "nothing" if value in (None, "") else repr(str(value)[:60])
        raise UserError(
            f'{self.path}, {self.locate(row)}, column "{name}": found {found}, '
            f"expected {broken.expected}; {REMEDY}"
        )


def _is_text_like(held: pa.DataType) -> bool:
    """Whether values of a type are ids as they stand."""
    kinds = pa.types
    return (
        kinds.is_large_string(held)
        or kinds.is_dictionary(held)
        or kinds.is_integer(held)
        or kinds.is_timestamp(held)
    )


def _is_number(held: pa.DataType) -> bool:
    return pa.types.is_floating(held) or pa.types.is_integer(held)


def _is_number_or_time(held: pa.DataType) -> bool:
    return _is_number(held) or pa.types.is_timestamp(held)
