"""How programs are compiled, and where compiled ones are kept between processes."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from ancf_jax.machine.devices import backend

Function = Callable[..., Any]

# By measurement on two CPU cores. In the widest vectors Adam's roots and divisions take half the
# time; at level 3 LLVM makes scalar code of loops over narrow layers: a sixth of a ranking.
CPU_OPTIONS = {"xla_cpu_prefer_vector_width": 512, "xla_backend_optimization_level": 2}

_FOLDER = "jax_compilation_cache_dir"
_SHORTEST = "jax_persistent_cache_min_compile_time_secs"
_SMALLEST = (
    "jax_persistent_cache_min_entry_size_bytes"  # JAX may set it with the folder
)


def compiled(function: Function, **options: Any) -> jax.stages.Wrapped:
    """`jax.jit(function, **options)`, with the compiler's options for the backend."""
    on_cpu = backend() == "cpu"
    return jax.jit(
        function, compiler_options=CPU_OPTIONS if on_cpu else None, **options
    )


def cache_programs(folder: Path) -> None:
    """Lets JAX keep compiled programs in `folder`, so that the next process answers soon.

    This changes settings of the whole process, so the library itself never does it. Nothing
    happens where JAX has a folder for them already, or where this one cannot be written.
    """
    if jax.config.values[_FOLDER] is None and _is_writable(folder):
        jax.config.update(_FOLDER, str(folder))
        jax.config.update(_SHORTEST, 0.0)


@contextmanager
def cached_programs(folder: Path) -> Iterator[None]:
    """`cache_programs` for a `with` block: JAX's settings are restored after it."""
    before = {name: jax.config.values[name] for name in (_FOLDER, _SHORTEST, _SMALLEST)}
    cache_programs(folder)
    try:
        yield
    finally:
        if jax.config.values[_FOLDER] != before[_FOLDER]:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()  # JAX would go on with the folder it has opened


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, which is made where it is absent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)
