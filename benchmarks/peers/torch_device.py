"""Where the peers in PyTorch compute: on the GPU if there is one."""

from __future__ import annotations

import numpy as np
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

# As JAX does by default: float32 products of the fast kind.
torch.set_float32_matmul_precision("high")


def on_device(column: np.ndarray) -> torch.Tensor:
    """A column as PyTorch takes indices, where it computes."""
    return torch.from_numpy(column.astype(np.int64)).to(DEVICE)


def wait() -> None:
    """Returns when all that was begun is done."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
