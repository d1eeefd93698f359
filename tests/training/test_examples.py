"""The order of examples."""

from __future__ import annotations

import numpy as np
import pytest

from ancf_jax.training.examples import epoch_order

# 67 examples: 9 steps of 8, the last of 3.
EXAMPLES = np.arange(100, 167, dtype=np.int32)
STEPS = 9
BATCH = 8


def by_step(devices: int, seed: int = 3, epoch: int = 2) -> np.ndarray:
    """[steps, batch]: the rows that all devices see at each step, device after device."""
    order = epoch_order(EXAMPLES, seed, epoch, STEPS, devices, BATCH)
    assert order.shape == (devices, STEPS, BATCH // devices)
    return np.concatenate(list(order), axis=1)


def test_every_example_comes_once_an_epoch_and_padding_last():
    order = by_step(1)
    np.testing.assert_array_equal(np.sort(order[order >= 0]), EXAMPLES)
    np.testing.assert_array_equal(order[-1, 3:], -1)
    assert (order.ravel()[:67] >= 0).all()


@pytest.mark.parametrize("devices", [2, 4])
def test_the_order_does_not_depend_on_the_devices(devices):
    np.testing.assert_array_equal(by_step(devices), by_step(1))


def test_the_order_is_a_function_of_seed_and_epoch():
    np.testing.assert_array_equal(by_step(1), by_step(1))
    assert (by_step(1) != by_step(1, epoch=3)).any()
    assert (by_step(1) != by_step(1, seed=4)).any()
