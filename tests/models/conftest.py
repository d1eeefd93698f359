"""What the tests of single models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.batching.histories import request_after_log
from ancf_jax.data import TRAIN
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.prepared import prepare
from ancf_jax.types import Catalogue


@pytest.fixture(scope="session")
def random_variables() -> Callable[[NeuralModel, Catalogue], Any]:
    """Variables of a model, all random and none near 0: nothing that an initialisation sets to 0 or 1 can hide."""

    def make(model: NeuralModel, catalogue: Catalogue) -> Any:
        shapes, rng = (
            jax.eval_shape(model.init, jax.random.PRNGKey(0), catalogue),
            np.random.default_rng(0),
        )

        def draw(path: Any, leaf: Any) -> np.ndarray:
            sign = 1 if "variance" in str(path[-1]) else rng.choice([-1, 1], leaf.shape)
            return (sign * rng.uniform(0.3, 1, leaf.shape)).astype(np.float32)

        return jax.tree_util.tree_map_with_path(draw, shapes)

    return make


@pytest.fixture(scope="session")
def compiled_scores() -> Callable[..., np.ndarray]:
    """compiled_scores(model, variables, catalogue, request, items): [B, C] or [B, L, C]."""

    def scores(
        model: NeuralModel,
        variables: Any,
        catalogue: Catalogue,
        request: Any,
        items: Any,
    ) -> Any:
        users = model.encode_users(variables, None, catalogue, request)
        return model.score(
            variables, users, model.encode_items(variables, catalogue, items)
        )

    return jax.jit(scores, static_argnums=0)


class AncfCase:
    """`ancf` with some switches, random parameters, and a log."""

    items = np.arange(23, dtype=np.int32)

    def __init__(
        self, tiny, random_variables, compiled_scores, loss="softmax", **switches
    ):
        self.config = tiny(
            "ancf",
            objective__loss=loss,
            **{f"network__{name}": x for name, x in switches.items()},
        )
        self.dataset = data.build(self.config)
        prepared = prepare(self.config, self.dataset, (TRAIN,))
        self.model = prepared.model
        self.catalogue = prepared.catalogue
        self.log = jax.tree.map(jnp.asarray, prepared.log)
        self.variables = random_variables(self.model, self.catalogue)
        self._scores = compiled_scores

    @property
    def length(self) -> int:
        return self.model.history_length

    def scores(self, request, variables=None, catalogue=None) -> np.ndarray:
        variables, catalogue = variables or self.variables, catalogue or self.catalogue
        return np.asarray(
            self._scores(self.model, variables, catalogue, request, self.items)
        )

    def now(self, minute: int = 28_400_000):
        """A request of three users, of nobody known, and of a moment."""
        user = jnp.array([0, 7, 12, -1], jnp.int32)
        return request_after_log(
            self.log, user, jnp.full(4, minute, jnp.int32), self.length
        )


@pytest.fixture(scope="session")
def case(tiny, random_variables, compiled_scores):
    """case(**switches) of `ancf`, each made and compiled once."""
    made: dict[tuple, AncfCase] = {}

    def make(**switches) -> AncfCase:
        key = tuple(sorted(switches.items()))
        if key not in made:
            made[key] = AncfCase(tiny, random_variables, compiled_scores, **switches)
        return made[key]

    return make
