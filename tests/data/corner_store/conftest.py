"""One simulated store, shared by the tests of this folder."""

from __future__ import annotations

import pytest

from ancf_jax.data.corner_store import Truth, simulate
from ancf_jax.data.interactions import Interactions


@pytest.fixture(scope="package")
def store() -> tuple[Interactions, Truth]:
    return simulate(seed=5, shoppers=307)


@pytest.fixture(scope="package")
def log(store) -> Interactions:
    return store[0]
