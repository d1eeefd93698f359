"""Checkpoints written by Orbax, each at once or not at all."""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from ancf_jax.checkpoint.record import Record, sealed

# What a write that fails raises; TensorStore reports a full disk as ValueError.
WRITE_ERRORS = (OSError, ValueError, RuntimeError)

# One process alone writes; the others do not wait for it.
ALONE = ocp.options.MultiprocessingOptions(
    active_processes={0}, barrier_sync_key_prefix="run"
)


def write_checkpoint(
    folder: Path, arrays: dict[str, np.ndarray], record: Record
) -> None:
    """Writes arrays and their record to `folder`, which appears when all is written.

    Raises:
        One of `WRITE_ERRORS`: it could not be written.
    """
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
