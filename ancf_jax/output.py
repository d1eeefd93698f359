"""Tables written whole or not at all: CSV, JSON lines or Parquet by the file's ending."""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ancf_jax.data.locking import Held, lock_file
from ancf_jax.data.marked import MARK, delete_marked, empty_marked, make_marked
from ancf_jax.data.storage import digest as digest_of
from ancf_jax.data.storage import replacing
from ancf_jax.errors import UserError


def check_ending(path: Path) -> None:
    """Raises UserError where the file's ending names no known layout."""
    if path.suffix not in _WRITERS:
        raise UserError(
            f'the ending of "{path}" is "{path.suffix}", expected .parquet, .csv or .jsonl'
        )


def write_table(path: Path, blocks: Iterable[pd.DataFrame]) -> int:
    """Writes the blocks of one table to `path`, whole or not at all.

    Returns:
        The number of rows.

    Raises:
        UserError: where the file cannot be written, or its ending names no known layout.
    """
    check_ending(path)
    with replacing(path) as file:
        return _WRITERS[path.suffix](file, blocks)


def _write_csv(file: IO[bytes], blocks: Iterable[pd.DataFrame]) -> int:
    rows = 0
    for number, block in enumerate(blocks):
        text = block.to_csv(index=False, header=number == 0)
        file.write(text.encode())
        rows += len(block)
    return rows


def _write_json_lines(file: IO[bytes], blocks: Iterable[pd.DataFrame]) -> int:
    rows = 0
    for block in blocks:
        text = block.to_json(orient="records", lines=True, force_ascii=False)
        file.write(text.encode())
        rows += len(block)
    return rows


def _write_parquet(file: IO[bytes], blocks: Iterable[pd.DataFrame]) -> int:
    """Every block takes the types of the first one, for a Parquet file has one schema."""
    rows = 0
    writer = None
    with ExitStack() as closing:
        for block in blocks:
            table = pa.Table.from_pandas(block, preserve_index=False)
            if writer is None:
                writer = closing.enter_context(pq.ParquetWriter(file, table.schema))
            writer.write_table(table.cast(writer.schema))
            rows += len(block)
    return rows


_WRITERS = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
}


def write_in_parts(
    path: Path,
    digest: str,
    parts: int,
    make: Callable[[int], Iterable[pd.DataFrame]],
    say: Callable[[str], None],
) -> int:
    """Writes the blocks of make(0), make(1) ... make(parts - 1) to `path`.

    Finished parts wait in a folder beside `path`, so after an interruption the same call makes
    only the parts that are missing or damaged. Nothing in it but parts is deleted.

    Args:
        path: the file to write.
        digest: stands for all that the rows depend on; parts with another digest are deleted.
        parts: how many parts there are.
        make: part number -> the blocks of the part.
        say: shows a message to the user.

    Returns:
        The number of rows.

    Raises:
        UserError: another process writes `path`, the folder for parts is not ours, or something
            cannot be written.
    """
    folder = path.with_name(f"{path.name}.parts")
    with _locked(folder, path):
        _prepare(folder, digest, say)
        waiting = [_Part(folder / f"{number}.parquet") for number in range(parts)]
        is_sound = [part.is_sound(say) for part in waiting]
        if any(is_sound):
            say(f"{sum(is_sound)} of {parts} parts are there already")
        for number, part in enumerate(waiting):
            if not is_sound[number]:
                part.write(make(number))
        rows = write_table(path, (part.read() for part in waiting))
        delete_marked(folder, _NAMES)
    return rows


_NAMES = (
    r"\.?(digest|\d+\.(parquet|digest))(\.part)?"  # of what we put in a folder of parts
)


class _Part(NamedTuple):
    """A part that waits in a file, with the digest of the file's bytes in another."""

    file: Path

    @property
    def _seal(self) -> Path:
        return self.file.with_suffix(".digest")

    def write(self, blocks: Iterable[pd.DataFrame]) -> None:
        """Writes the part; without a digest it would count as missing."""
        write_table(self.file, blocks)
        with replacing(self._seal) as seal:
            seal.write(digest_of(self.file.read_bytes()).encode())

    def is_sound(self, say: Callable[[str], None]) -> bool:
        """Whether the part is there, as it was written; damage is told."""
        if not (self.file.is_file() and self._seal.is_file()):
            return False
        is_sound = self._content() is not None
        if not is_sound:
            say(f'"{self.file}" is damaged; its users are scored anew')
        return is_sound

    def read(self) -> pd.DataFrame:
        """The rows of the part.

        Raises:
            UserError: the file is not what was written.
        """
        content = self._content()
        if content is None:
            raise UserError(
                f'"{self.file}" was damaged after it was written; '
                "run the same command again, which makes it anew"
            )
        return pd.read_parquet(io.BytesIO(content))

    def _content(self) -> bytes | None:
        """The bytes of the file; None where they are not those that were written."""
        try:
            content = self.file.read_bytes()
            seal = self._seal.read_bytes()
        except OSError:
            return None
        return content if seal == digest_of(content).encode() else None


@contextmanager
def _locked(folder: Path, path: Path) -> Iterator[None]:
    """Makes the folder of parts of `path` ours, and keeps other processes out of it.

    Raises:
        UserError: something else is there, or another process is at work there.
    """
    try:
        lock = _take_lock(folder)
    except Held as held:
        raise UserError(
            f'process {held.holder} is writing "{path}"; wait for it, or choose another --out'
        ) from None
    except OSError as error:
        raise UserError(
            f'"{folder}" cannot be written ({error.strerror}); make room, or choose another --out'
        ) from error
    with lock:
        yield


def _take_lock(folder: Path) -> IO[str]:
    while True:
        make_marked(folder, "move it away, or choose another --out")
        # The process that had the lock may delete the folder at this very moment.
        with suppress(FileNotFoundError):
            return lock_file(folder / MARK)


def _prepare(folder: Path, digest: str, say: Callable[[str], None]) -> None:
    """Notes the digest in the folder of parts, emptied where it was made for another one."""
    note = folder / "digest"
    fits = note.exists() and note.read_bytes() == digest.encode()
    if note.exists() and not fits:
        say(f'"{folder}" holds parts of another call; starting anew')
    if not fits:
        empty_marked(folder, _NAMES)
        with replacing(note) as file:
            file.write(digest.encode())


def lists_of(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each user and list of a table of recommendations, in the order asked.

    Who was asked for twice has two lists; who has no eligible item has none.
    """
    number = (table["rank"] == 1).cumsum()
    for _, rows in table.groupby(number, sort=False):
        yield rows["user_id"].iloc[0], rows.drop(columns="user_id")
