"""The only file that knows devices: one per-device function, spread over them at one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ancf_jax.modules.heads import AXIS
from ancf_jax.types import Array


def device_count() -> int:
    """Number of local devices that a step is spread over."""
    return jax.local_device_count()


def _mesh(devices: int | None) -> Mesh:
    return Mesh(np.array(jax.local_devices()[:devices]), (AXIS,), axis_types=(AxisType.Auto,))


def replicate(tree: Any, devices: int | None = None) -> Any:
    """The same arrays on every device, where a spread function leaves its state too: nothing moves between calls."""
    return jax.device_put(tree, NamedSharding(_mesh(devices), PartitionSpec()))


def spread(
    function: Callable[..., Any], kind: Literal["pmap", "shard_map"], devices: int | None = None
) -> Callable[..., Any]:
    """`function(state, shard, *shared)` on every device, with the axis name "data" bound.

    The state goes in and comes out without a replica axis, so that a checkpoint does not know how
    many devices there were; its buffers are donated. `shard` has the device as leading axis.
    Everything in `shared` is the same for all devices.
    """
    if kind == "pmap":
        return _pmap(function, jax.local_devices()[:devices])
    mesh = _mesh(devices)
    replicated, split = PartitionSpec(), PartitionSpec(AXIS)

    def on_shard(state: Any, shard: Any, *shared: Any) -> Any:
        return function(state, jax.tree.map(lambda x: x[0], shard), *shared)

    def call(state: Any, shard: Any, *shared: Any) -> Any:
        specs = (replicated, split, *[replicated] * len(shared))
        # Gradients and metrics are summed explicitly in the step, so replication is not re-checked.
        mapped = jax.shard_map(on_shard, mesh=mesh, in_specs=specs, out_specs=replicated, check_vma=False)
        return mapped(state, shard, *shared)

    return jax.jit(call, donate_argnums=0)


def _pmap(function: Callable[..., Any], devices: list[jax.Device]) -> Callable[..., Any]:
    compiled: dict[int, Callable[..., Any]] = {}

    def call(state: Any, shard: Any, *shared: Any) -> Any:
        count = len(shared)
        if count not in compiled:
            axes = (None, 0, *[None] * count)
            compiled[count] = jax.pmap(
                function, axis_name=AXIS, in_axes=axes, out_axes=None, devices=devices, donate_argnums=0
            )
        return compiled[count](state, shard, *shared)

    return call


def local_share(rows: Array) -> Array:
    """This device's contiguous share of rows [B, ...] that every device made alike: [B / devices, ...]."""
    share = rows.shape[0] // jax.lax.axis_size(AXIS)
    return jax.lax.dynamic_slice_in_dim(jnp.asarray(rows), jax.lax.axis_index(AXIS) * share, share)
