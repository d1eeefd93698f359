"""Checkpoints written by Orbax, each at once or not at all."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

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
    """Drops what Orbax logs: its threads log a traceback for every error that is raised, too."""
    logger = logging.getLogger("absl")
    logger.addFilter(_is_not_from_orbax)
    try:
        yield
    finally:
        logger.removeFilter(_is_not_from_orbax)


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in Path(record.pathname).parts
