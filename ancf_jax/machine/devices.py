"""Which devices programs are made for: those at hand, or others that are compiled for from afar.

A compiler needs no device, only its description. Within `compiling_for` the library makes its
programs for devices that are not there: they can be lowered and compiled, but not run, and in the
place of arrays on devices stand their shapes.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import jax

Devices = tuple[jax.Device, ...]

_NONE: Devices = ()
_absent = jax.make_user_context(_NONE)


def compiling_for(devices: Sequence[jax.Device]) -> AbstractContextManager[None]:
    """A context in which programs are made for `devices` that are not there.

    It holds in the thread that enters it.

    Args:
        devices: as `jax.experimental.topologies` describes them.
    """
    return _absent(tuple(devices))


def are_absent() -> bool:
    """Whether programs are made for devices that are not there."""
    return bool(_absent.value)


def every() -> Devices:
    """The devices of all processes."""
    return _absent.value or tuple(jax.devices())


def local() -> Devices:
    """The devices of this process."""
    return _absent.value or tuple(jax.local_devices())


def backend() -> str:
    """What kind of devices they are, by JAX's name: "cpu", "gpu" or "tpu"."""
    if not _absent.value:
        return jax.default_backend()
    platform = _absent.value[0].platform
    return "gpu" if platform == "cuda" else platform
