"""Memory: how much a device can hold, and the error of having asked for more."""

import math
import os
from contextlib import suppress
from pathlib import Path

import jax

from ancf_jax.machine import devices

# Where the kernel says how much the processes of a container may take together.
GROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_DEVICE_WORDS = ("resource_exhausted", "out of memory")


def memory_of_device() -> float:
    """Bytes that each device of this process can hold at most; inf where that is not known.

    CPU devices share the memory of the host evenly.
    """
    if devices.are_absent():
        return math.inf
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return memory_of_host() / jax.local_device_count()
    stats = device.memory_stats() or {}
    return stats.get("bytes_limit", math.inf)


def memory_of_host() -> int:
    """Bytes that the processes of this host, or of this container, can hold together."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in GROUP_LIMITS:
        with suppress(OSError, ValueError):  # absent, or the word "max"
            limits.append(int(file.read_text()))
    return min(limits)


def in_gigabytes(size: float) -> str:
    """A number of bytes for people."""
    return f"{size / 1e9:,.1f} GB" if size < math.inf else "uncountable GB"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on the host or on a device."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    is_of_device = isinstance(error, jax.errors.JaxRuntimeError)
    return is_of_device and any(words in text for words in _DEVICE_WORDS)
