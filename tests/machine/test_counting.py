"""Both ways of counting give the same."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ancf_jax.machine.forms import count_true


@pytest.mark.parametrize("count", [count_true.plain, *count_true.faster.values()])
@pytest.mark.parametrize("shape", [(3, 4, 1000), (5, 1), (2, 0), (7,)])
def test_counting_is_what_numpy_gives(shape, count):
    rng = np.random.default_rng(0)
    flags = rng.random(shape) < rng.random((*shape[:-1], 1))
    found = count(flags)
    assert found.dtype == np.int32
    assert_array_equal(found, flags.sum(-1))
