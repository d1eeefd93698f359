"""Columns in one NPZ file without pickle, which are what was written and fit in the file."""

import hashlib
import math
import os
import zipfile
from collections.abc import Mapping
from typing import IO

import numpy as np

Columns = Mapping[str, np.ndarray]

DIGEST = "digest"  # the column that holds the digest of all others
_ENDING = ".npy"
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def write_columns(file: IO[bytes], columns: Columns) -> None:
    """Writes columns of numbers or text, of any shape, and the digest of them all."""
    digest = np.frombuffer(_digest(columns), np.uint8)
    np.savez(file, allow_pickle=False, **{DIGEST: digest}, **columns)


def read_columns(file: IO[bytes]) -> dict[str, np.ndarray]:
    """The columns that `write_columns` wrote; older files have no digest.

    A column is no larger than its file, so no memory is taken for one that only says so.

    Raises:
        ValueError: they are not what was written.
        zipfile.BadZipFile, OSError, EOFError: the file is no archive.
    """
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        members = {member.filename: member for member in archive.infolist()}
        stored = sum(member.file_size for member in members.values())
        is_plain = all(
            member.compress_type == zipfile.ZIP_STORED for member in members.values()
        )
        if len(members) != len(archive.infolist()) or not is_plain or stored > size:
            raise ValueError("columns are larger than their file, or there twice")
        columns = {
            name.removesuffix(_ENDING): _read(archive, member)
            for name, member in members.items()
        }
    expected = columns.pop(DIGEST, None)
    if expected is not None and expected.tobytes() != _digest(columns):
        raise ValueError("not what its digest says")
    return columns


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One column, whose header is compared with what there is before memory is taken for it."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADER_READERS:
            raise ValueError(f"{member.filename} has a header of version {version}")
        shape, _, dtype = _HEADER_READERS[version](stream)
        there = member.file_size - stream.tell()
    said = math.prod(shape) * dtype.itemsize
    if said != there or min(shape, default=0) < 0 or dtype.itemsize == 0:
        raise ValueError(
            f"{member.filename} says {dtype.str}{list(shape)}, which is no {there:,} bytes"
        )
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _digest(columns: Columns) -> bytes:
    """A fingerprint of names, types, shapes and bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(columns):
        column = columns[name]
        digest.update(f"{name} {column.dtype.str}{list(column.shape)};".encode())
        digest.update(np.ascontiguousarray(column).data)
    return digest.digest()
