"""Devices: one per-device function, spread over all of them at one place.

With several processes (see `join`) the devices of all of them share a step.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ancf_jax.errors import UserError
from ancf_jax.machine import devices as known
from ancf_jax.machine.compile import compiled
from ancf_jax.types import AXIS, Array

Function = Callable[..., Any]
SpreadKind = Literal["pmap", "shard_map"]


def join() -> None:
    """Makes this process one of several that train together, by JAX's distributed runtime.

    On clusters that JAX knows nothing need be said; elsewhere the environment says
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
        UserError: the other processes cannot be reached.
    """
    try:
        count = _whole_number("JAX_NUM_PROCESSES")
        number = _whole_number("JAX_PROCESS_ID")
        with _signals_left_alone():
            jax.distributed.initialize(num_processes=count, process_id=number)
    except (RuntimeError, ValueError) as error:
        problem = str(error).splitlines()[0]
        needed = "JAX_COORDINATOR_ADDRESS=host:port, JAX_NUM_PROCESSES and JAX_PROCESS_ID for each"
        raise UserError(
            f"processes did not find each other ({problem}); set {needed}"
        ) from error


@contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Keeps JAX from handling SIGTERM, which would no longer reach whoever stops the run."""
    name = "jax_enable_preemption_service"
    before = jax.config.values.get(name)
    if before is None:  # a version without the service
        yield
        return
    jax.config.update(name, False)
    try:
        yield
    finally:
        jax.config.update(name, before)


def _whole_number(variable: str) -> int | None:
    value = os.environ.get(variable)
    return None if value is None else int(value)


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return jax.process_index() == 0


def from_first(tree: Any) -> Any:
    """The arrays of the first process, for all processes."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.broadcast_one_to_all(tree)


def largest(number: int) -> int:
    """The largest of the numbers that the processes call it with."""
    if jax.process_count() == 1:
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).max())


def texts_of_all(text: str) -> list[str]:
    """The texts that the processes call it with, in the order of their numbers."""
    if jax.process_count() == 1:
        return [text]
    content = text.encode()
    padded = content.ljust(largest(len(content)), b"\0")
    of_all = multihost_utils.process_allgather(np.frombuffer(padded, np.uint8))
    return [row.tobytes().rstrip(b"\0").decode() for row in of_all]


def process_number() -> int:
    """The number of this process among those that train together, from 0."""
    return jax.process_index()


def several_processes() -> bool:
    """Whether other processes train together with this one."""
    return jax.process_count() > 1


def device_count() -> int:
    """Number of devices, of all processes, that a step is spread over."""
    return len(known.every())


def ranking_devices() -> int:
    """Number of devices among which a ranking can share its users.

    All of this process; one where other processes have devices, too.
    """
    return 1 if several_processes() else device_count()


def local_range(devices: int) -> range:
    """Which of `devices` belong to this process."""
    mine = known.local()
    own = [n for n, device in enumerate(known.every()[:devices]) if device in mine]
    return range(own[0], own[-1] + 1)


def sharding(split: bool, devices: int | None = None) -> NamedSharding:
    """Where an array lives: its leading axis along the devices with `split`, else on each."""
    axis_types = (AxisType.Auto,)
    mesh = Mesh(np.array(known.every()[:devices]), (AXIS,), axis_types=axis_types)
    return NamedSharding(mesh, PartitionSpec(AXIS) if split else PartitionSpec())


def lay(tree: Any, split: Any = False, devices: int | None = None) -> Any:
    """The same arrays where a spread function expects them, so that nothing moves between calls.

    Where programs are compiled for devices that are not there, the shapes of these arrays.

    Args:
        tree: arrays.
        split: a prefix of `tree` of booleans, as for `spread`.
        devices: number of devices; all for None.
    """

    def put(x: Array, is_split: bool) -> Array:
        return jax.device_put(x, sharding(is_split, devices))

    if known.are_absent():
        return laid_shapes(tree, split, devices)
    return _map_with_prefix(put, split, tree)


def laid_shapes(tree: Any, split: Any = False, devices: int | None = None) -> Any:
    """The shapes of what `lay` gives for arrays, or for shapes of arrays, and where it lives."""

    def shape(x: Any, is_split: bool) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(x.dtype)
        where = sharding(is_split, devices)
        return jax.ShapeDtypeStruct(x.shape, dtype, sharding=where)

    return _map_with_prefix(shape, split, tree)


def assemble(tree: Any, devices: int | None = None) -> Any:
    """Arrays split over all devices, from the rows of this process's devices."""
    if known.are_absent():
        return laid_shapes(tree, True, devices)
    where = sharding(True, devices)
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(where, x), tree
    )


def fetch(x: Array) -> Array:
    """An array that this process has whole, from one that lives on the devices of all."""
    if isinstance(x, np.ndarray) or x.is_fully_addressable:
        return x
    if x.is_fully_replicated:
        return x.addressable_data(0)
    return multihost_utils.process_allgather(x, tiled=True)


def spread(
    function: Function,
    kind: SpreadKind,
    split: Any,
    split_out: Any,
    devices: int | None = None,
) -> jax.stages.Wrapped:
    """`function` on every device, with the axis `AXIS` bound, compiled.

    The buffers of its first argument are donated. Several processes need shard_map.

    Args:
        function: what one device does.
        kind: by which of JAX's ways.
        split: for each argument a prefix tree of booleans: true where it has the device as
            leading axis, which the function does not see; false where it is the same on all
            devices. So a state of the latter kind does not know how many devices there were.
        split_out: the same for each result.
        devices: number of devices; all for None.
    """
    if kind == "pmap" and not several_processes():
        return _by_pmap(function, split, split_out, devices)
    return _by_shard_map(function, split, split_out, devices)


def _by_pmap(
    function: Function, split: Any, split_out: Any, devices: int | None
) -> jax.stages.Wrapped:
    def axes(flags: Any) -> Any:
        return jax.tree.map(lambda is_split: 0 if is_split else None, flags)

    mapped = jax.pmap(
        function,
        AXIS,
        in_axes=axes(split),
        out_axes=axes(split_out),
        devices=known.local()[:devices],
    )

    # A function of its own, for what `jax.jit` makes of a pmap lowers without what it was told.
    def on_devices(*arguments: Any) -> Any:
        return mapped(*arguments)

    return compiled(on_devices, donate_argnums=0)


def _by_shard_map(
    function: Function, split: Any, split_out: Any, devices: int | None
) -> jax.stages.Wrapped:
    def drop_axis(x: Array, is_split: bool) -> Array:
        return x[0] if is_split else x

    def add_axis(x: Array, is_split: bool) -> Array:
        return jnp.expand_dims(x, 0) if is_split else x

    def on_shard(*arguments: Any) -> Any:
        found = function(*_map_with_prefix(drop_axis, split, arguments))
        return _map_with_prefix(add_axis, split_out, found)

    def specs(flags: Any) -> Any:
        return jax.tree.map(lambda is_split: sharding(is_split).spec, flags)

    mapped = jax.shard_map(
        on_shard,
        mesh=sharding(True, devices).mesh,
        in_specs=specs(split),
        out_specs=specs(split_out),
        # Gradients and metrics are summed explicitly in the step: replication is not re-checked.
        check_vma=False,
    )
    return compiled(mapped, donate_argnums=0)


def _map_with_prefix(
    change: Callable[[Array, bool], Any], split: Any, tree: Any
) -> Any:
    """`change(leaf, flag)` of every leaf, with the flag that the prefix `split` has for it."""

    def of_part(is_split: bool, part: Any) -> Any:
        return jax.tree.map(lambda x: change(x, is_split), part)

    return jax.tree.map(of_part, split, tree)


def over_devices(tree: Any) -> Any:
    """The sums over all devices; nothing is moved where there is one."""
    return tree if jax.lax.axis_size(AXIS) == 1 else jax.lax.psum(tree, AXIS)


def local_share(rows: Array) -> Array:
    """This device's share of rows [B, ...] that every device made alike: [B / devices, ...]."""
    share = rows.shape[0] // jax.lax.axis_size(AXIS)
    begin = jax.lax.axis_index(AXIS) * share
    return jax.lax.dynamic_slice_in_dim(jnp.asarray(rows), begin, share)
