"""Checkpoints written by Orbax, each at once or not at all."""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from ancf_jax.checkpoint.leaves import describe
from ancf_jax.checkpoint.record import Record, sealed
from ancf_jax.checkpoint.rows import (
    FOLDER,
    Divided,
    Piece,
    columns_in,
    describe_rows,
)
from ancf_jax.machine.parallel import fetch

# What a write that fails raises; TensorStore reports a full disk as ValueError.
WRITE_ERRORS = (OSError, ValueError, RuntimeError)

# The first process alone writes whole arrays. Nobody waits in a barrier of Orbax, which is an
# operation of all devices: where one process cannot write, the others would wait for ever.
ALONE = ocp.options.MultiprocessingOptions(
    active_processes={0}, barrier_sync_key_prefix="run"
)


def write_checkpoint(
    folder: Path,
    leaves: dict[str, Any],
    rows: list[dict[str, list[Piece]]],
    record: Record,
) -> None:
    """Writes a checkpoint to `folder`: whole leaves, the record, and divided rows moved there.

    Args:
        folder: appears when all is written.
        leaves: those of a state by name.
        rows: what each process has written beside `folder` already, see `write_rows`.
        record: what is noted, without the leaves.

    Raises:
        One of `WRITE_ERRORS`: it could not be written.
    """
    columns = columns_in(leaves)
    # Copies, for the state may be given up to the next step.
    whole = {
        name: np.array(fetch(leaf))
        for name, leaf in leaves.items()
        if name not in columns and not isinstance(leaf, Divided)
    }
    described = {name: describe(array) for name, array in whole.items()}
    described.update(describe_rows(columns, rows))
    _write_whole(folder, whole, replace(record, leaves=described))
    if columns:
        (folder.parent / FOLDER).rename(folder / FOLDER)


def _write_whole(folder: Path, arrays: dict[str, np.ndarray], record: Record) -> None:
    """Writes arrays and their record by Orbax."""
    args = ocp.args.Composite(
        state=ocp.args.StandardSave(arrays), info=ocp.args.JsonSave(sealed(record))
    )
    options = ocp.CompositeOptions(multiprocessing_options=ALONE)
    handler = ocp.CompositeCheckpointHandler(composite_options=options)
    with (
        _quiet_orbax(),
        ocp.Checkpointer(handler, multiprocessing_options=ALONE) as orbax,
    ):
        orbax.save(folder, args=args)


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Drops what Orbax logs: its threads log a traceback for every error that is raised, too.

    After an error some of its writes are still at work, and print a traceback when they end, as
    nobody waits for them any more; so these stay unheard.
    """
    logger = logging.getLogger("absl")
    logger.addFilter(_is_not_from_orbax)
    hook = sys.unraisablehook
    if not isinstance(hook, _LateWritesUnheard):
        sys.unraisablehook = _LateWritesUnheard(hook)
    try:
        yield
        sys.unraisablehook = hook
    finally:
        logger.removeFilter(_is_not_from_orbax)


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in Path(record.pathname).parts


class _LateWritesUnheard:
    """Reports exceptions that nobody can catch, but for those of writes that nobody waits for."""

    def __init__(self, report: Callable[[Any], Any]):
        self.report = report

    def __call__(self, unraisable: Any) -> None:
        if not _is_of_late_write(unraisable):
            self.report(unraisable)


def _is_of_late_write(unraisable: Any) -> bool:
    """Whether TensorStore called back, from no Python code, an event loop that is closed."""
    trace = unraisable.exc_traceback
    if not isinstance(unraisable.exc_value, RuntimeError) or trace is None:
        return False
    called = trace.tb_frame.f_code
    is_callback = called.co_name == "call_soon_threadsafe"
    return is_callback and str(unraisable.exc_value) == "Event loop is closed"
