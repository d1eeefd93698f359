"""Devices to compile for that need not be there: TPU v5e chips, and an NVIDIA H100."""

from __future__ import annotations

import math
import os
from typing import Any

import jax
from jax.experimental import topologies

HELP = (
    "tpu-v5e:2x2 (or 1x1, 4x4 ...; needs jax[tpu]) or h100 (needs jax[cuda13]; one GPU)"
)

# What CUDA says of an H100 SXM.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  l2_cache_size: 52428800
  memory_bandwidth: 3352320000000
  device_memory_size: 84942979072
  clock_rate_ghz: 1.98
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# Products cannot be tuned without the card, so those that need tuning are left to the library.
GPU_FLAGS = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"


def environment(target: str) -> dict[str, str]:
    """The environment of a process that compiles for `target`."""
    if target == "h100":
        flags = f"{os.environ.get('XLA_FLAGS', '')} {GPU_FLAGS}"
        special = {
            "JAX_PLATFORMS": "cpu,cuda",
            "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
            "XLA_FLAGS": flags.strip(),
        }
    else:
        # Said here, so that libtpu does not ask a host of Google's for it.
        special = {
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no chip is taken
            "JAX_PLATFORMS": "cpu",
            "TPU_ACCELERATOR_TYPE": f"v5litepod-{chips(target)}",
            "TPU_SKIP_MDS_QUERY": "1",
            "TPU_WORKER_HOSTNAMES": "localhost",
            "TPU_WORKER_ID": "0",
        }
    return {**os.environ, **special}


def chips(target: str) -> int:
    """How many devices a target has."""
    _, _, grid = target.partition(":")
    return math.prod(int(side) for side in grid.split("x")) if grid else 1


def devices_of(target: str) -> list[jax.Device]:
    """The devices of `target`, in a process with its `environment`."""
    return list(topologies.get_topology_desc(**_description(target)).devices)


def _description(target: str) -> dict[str, Any]:
    if target == "h100":
        return {
            "platform": "cuda",
            "topology_name": "",
            "topology": "1x1x1",
            "target_config": H100,
        }
    name = target.removeprefix("tpu-")
    found: dict[str, Any] = {"platform": "tpu", "topology_name": name}
    if chips(target) == 1:  # a host has four otherwise
        found["chips_per_host_bounds"] = (1, 1, 1)
    return found
