"""The examples of a log, and the order in which an epoch takes them."""

import numpy as np

from ancf_jax.batching.windows import pack_windows
from ancf_jax.types import Array


def examples_of(start: np.ndarray, window: int) -> np.ndarray:
    """The examples of some users.

    Args:
        start: int32 [U + 1] their events are start[0] .. start[U] - 1.
        window: length of windows; 0 where an example is one event.

    Returns:
        int32 [N] event numbers, or windows [R, L] of them.
    """
    if window:
        return pack_windows(start, window)
    return np.arange(start[0], start[-1], dtype=np.int32)


def epoch_order(
    examples: np.ndarray,
    seed: int,
    epoch: int,
    steps: int,
    devices: int,
    batch_size: int,
) -> np.ndarray:
    """The examples in the order of an epoch, which is a function of seed and epoch.

    The rows of a step over all devices are the same whatever the number of devices.

    Args:
        examples: int32 [N, ...].
        seed: of the run.
        epoch: counted from 0.
        steps: of the epoch.
        devices: that share a step.
        batch_size: examples of a step over all devices.

    Returns:
        int32 [devices, steps, batch_size / devices, ...], -1 padded.
    """
    rng = np.random.default_rng((seed, epoch))
    by_step = padded_steps(rng.permutation(examples), steps, batch_size)
    return np.stack(np.split(by_step, devices, axis=1))


def padded_steps(examples: np.ndarray, steps: int, batch_size: int) -> np.ndarray:
    """Examples int32 [n, ...] as [steps, batch_size, ...], -1 padded."""
    rows = padded(examples, steps * batch_size, -1)
    return rows.reshape(steps, batch_size, *examples.shape[1:])


def padded(x: Array, length: int, value: float = 0, axis: int = 0) -> np.ndarray:
    """`x` filled up with `value` to a length along one axis."""
    shape = list(x.shape)
    shape[axis] = length - x.shape[axis]
    filling = np.full(shape, value, x.dtype)
    return np.concatenate([x, filling], axis)
