"""What the tests of single models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from ancf_jax.models.protocol import NeuralModel
from ancf_jax.types import Catalogue


@pytest.fixture(scope="session")
def random_variables() -> Callable[[NeuralModel, Catalogue], Any]:
    """Variables of a model, all random and none near 0: nothing that an initialisation sets to 0 or 1 can hide."""

    def make(model: NeuralModel, catalogue: Catalogue) -> Any:
        shapes, rng = jax.eval_shape(model.init, jax.random.PRNGKey(0), catalogue), np.random.default_rng(0)

        def draw(path: Any, leaf: Any) -> np.ndarray:
            sign = 1 if "variance" in str(path[-1]) else rng.choice([-1, 1], leaf.shape)
            return (sign * rng.uniform(0.3, 1, leaf.shape)).astype(np.float32)

        return jax.tree_util.tree_map_with_path(draw, shapes)

    return make


@pytest.fixture(scope="session")
def compiled_scores() -> Callable[..., np.ndarray]:
    """compiled_scores(model, variables, catalogue, query, items): [B, C] or [B, L, C]."""

    def scores(model: NeuralModel, variables: Any, catalogue: Catalogue, query: Any, items: Any) -> Any:
        users = model.encode_users(variables, None, catalogue, query)
        return model.score(variables, users, model.encode_items(variables, catalogue, items))

    return jax.jit(scores, static_argnums=0)
