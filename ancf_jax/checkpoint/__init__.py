"""A run on disk, for training (`RunFolder`) and for reading (`open_run`).

The folder of a run holds

    config.json        its settings
    dataset/           its events, with all that was decided about them
    checkpoints/N/     the state after epoch N: arrays (`state`) and a record (`info`)
    checkpoints/N+S/   the state S steps later, where the run was stopped within an epoch
    metrics.jsonl      the figures of every epoch
    run.lock           the number of the process that trains there

A checkpoint is written whole or not at all; settings, arrays and records carry their digest: what
is damaged is found and told, and an older checkpoint is taken instead.
"""

from ancf_jax.checkpoint.folder import RunFolder
from ancf_jax.checkpoint.saved import Restored, SavedRun, open_run

__all__ = ["Restored", "RunFolder", "SavedRun", "open_run"]
