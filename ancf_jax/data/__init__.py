"""Files to events to one data set: what a run reads, decides once, and keeps."""

from ancf_jax.data.building import build, resolve
from ancf_jax.data.catalogues import catalogue, sizes
from ancf_jax.data.dataset import Dataset, load, save
from ancf_jax.data.facts import facts
from ancf_jax.data.interactions import (
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    Feature,
    Interactions,
)
from ancf_jax.data.logs import event_log, heldout, heldout_events, known_parts
from ancf_jax.data.novelty import share_of_new

__all__ = [
    "TEST",
    "TRAIN",
    "UNUSED",
    "VALIDATION",
    "Dataset",
    "Feature",
    "Interactions",
    "build",
    "catalogue",
    "event_log",
    "facts",
    "heldout",
    "heldout_events",
    "known_parts",
    "load",
    "resolve",
    "save",
    "share_of_new",
    "sizes",
]
