"""Which products are made how."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.machine import precision as precision_room
from ancf_jax.machine.precision import compute_dtype, products_in

X = np.ones((3, 5), np.float32)
Y = np.ones((5, 7), np.float32)


def product(x, y):
    return x @ y


def loss(x, y):
    return (x @ y).sum()


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", "float32"), ("tf32", "float32"), ("bfloat16", "bfloat16")],
)
def test_the_type_that_parts_compute_in(precision, dtype):
    assert compute_dtype(precision) == jnp.dtype(dtype)


@pytest.mark.parametrize(
    ("precision", "said"),
    [("float32", "HIGHEST"), ("tf32", "HIGH"), ("bfloat16", "HIGH")],
)
def test_an_accelerator_is_told_the_precision_of_products(monkeypatch, precision, said):
    monkeypatch.setattr(precision_room, "backend", lambda: "gpu")
    # Forward alone, and forward with the product of the gradient.
    for function, products in ((product, 1), (jax.grad(loss), 2)):
        program = str(jax.make_jaxpr(products_in(precision, function))(X, Y))
        assert re.findall(r"Precision\.(\w+)", program) == [said] * 2 * products


def test_a_processor_is_told_nothing():
    assert products_in("tf32", product) is product
