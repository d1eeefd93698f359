"""The only file that knows devices: one per-device function, spread over them at one place.

With several processes (see `join`) the devices of all of them share a step.
"""

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ancf_jax.errors import UserError
from ancf_jax.modules.heads import AXIS
from ancf_jax.ranking import Placement, compiled
from ancf_jax.types import Array

Function = Callable[..., Any]


def join() -> None:
    """Makes this process one of several that train together, by JAX's own distributed runtime.

    On clusters that JAX knows nothing need be said; elsewhere the environment says JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID. Raises UserError where the others cannot be reached.
    """
    try:
        told = (
            os.environ.get(name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        )
        count, number = (None if value is None else int(value) for value in told)
        jax.distributed.initialize(num_processes=count, process_id=number)
    except (RuntimeError, ValueError) as error:
        needed = "JAX_COORDINATOR_ADDRESS=host:port, JAX_NUM_PROCESSES and JAX_PROCESS_ID for each"
        raise UserError(
            f"processes did not find each other ({str(error).splitlines()[0]}); set {needed}"
        ) from error


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return jax.process_index() == 0


def from_first(tree: Any) -> Any:
    """The first process's arrays, for all."""
    return (
        tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)
    )


def largest(number: int) -> int:
    """The largest of the numbers that the processes say."""
    return (
        number
        if jax.process_count() == 1
        else int(multihost_utils.process_allgather(np.int32(number)).max())
    )


def device_count() -> int:
    """Number of devices, of all processes, that a step is spread over."""
    return jax.device_count()


def everywhere() -> Placement | None:
    """All devices for a `Ranker` to share its users among; None where there is one, or other processes have some."""
    return (
        Placement(jax.device_count(), spread, lay)
        if jax.device_count() > 1 == jax.process_count()
        else None
    )


def local_range(devices: int) -> range:
    """Which of `devices` are this process's."""
    own = [
        number
        for number, device in enumerate(jax.devices()[:devices])
        if device in jax.local_devices()
    ]
    return range(own[0], own[-1] + 1)


def sharding(split: bool, devices: int | None = None) -> NamedSharding:
    """Where an array lives: its leading axis along the devices with `split`, else whole on each."""
    mesh = Mesh(np.array(jax.devices()[:devices]), (AXIS,), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec(AXIS) if split else PartitionSpec())


def lay(tree: Any, split: Any = False, devices: int | None = None) -> Any:
    """The same arrays where a spread function expects and leaves them: nothing moves between calls.

    `split` is a prefix of `tree`, as for `spread`.
    """
    return _for_each(
        split, lambda x, flag: jax.device_put(x, sharding(flag, devices)), tree
    )


def assemble(tree: Any, devices: int | None = None) -> Any:
    """Arrays split along their leading axis over all devices, from the rows of this process's devices."""
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding(True, devices), x),
        tree,
    )


def fetch(x: Array) -> Array:
    """An array that this process has whole, from one that lives on the devices of all."""
    if isinstance(x, np.ndarray) or x.is_fully_addressable:
        return x
    return (
        x.addressable_data(0)
        if x.is_fully_replicated
        else multihost_utils.process_allgather(x, tiled=True)
    )


def spread(
    function: Function,
    kind: str,
    split: Any,
    split_out: Any,
    devices: int | None = None,
) -> Function:
    """`function` on every device, with the axis name "data" bound; the first argument's buffers are donated.

    Each argument and result has a prefix tree of booleans in `split` and `split_out`: true where it has the device
    as leading axis, which the function does not see; false where it is the same on all devices. So a state of
    the latter kind does not know how many devices there were. Several processes need shard_map.
    """
    if kind == "pmap" and jax.process_count() == 1:
        axes, out = (
            jax.tree.map(lambda flag: 0 if flag else None, flags)
            for flags in (split, split_out)
        )
        own = jax.local_devices()[:devices]
        return compiled(
            jax.pmap(function, AXIS, in_axes=axes, out_axes=out, devices=own),
            donate_argnums=0,
        )

    def on_shard(*arguments: Any) -> Any:
        found = function(
            *_for_each(split, lambda x, flag: x[0] if flag else x, arguments)
        )
        return _for_each(
            split_out, lambda x, flag: jnp.expand_dims(x, 0) if flag else x, found
        )

    specs, specs_out = (
        jax.tree.map(lambda flag: sharding(flag).spec, flags)
        for flags in (split, split_out)
    )
    # Gradients and metrics are summed explicitly in the step, so replication is not re-checked.
    where = {
        "mesh": sharding(True, devices).mesh,
        "in_specs": specs,
        "out_specs": specs_out,
    }
    return compiled(jax.shard_map(on_shard, check_vma=False, **where), donate_argnums=0)


def _for_each(split: Any, change: Callable[[Any, bool], Any], tree: Any) -> Any:
    return jax.tree.map(
        lambda flag, part: jax.tree.map(lambda x: change(x, flag), part), split, tree
    )


def over_devices(tree: Any) -> Any:
    """The sums over all devices; nothing is moved where there is one."""
    return tree if jax.lax.axis_size(AXIS) == 1 else jax.lax.psum(tree, AXIS)


def local_share(rows: Array) -> Array:
    """This device's contiguous share of rows [B, ...] that every device made alike: [B / devices, ...]."""
    share = rows.shape[0] // jax.lax.axis_size(AXIS)
    return jax.lax.dynamic_slice_in_dim(
        jnp.asarray(rows), jax.lax.axis_index(AXIS) * share, share
    )
