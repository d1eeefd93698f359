"""What the tests of single models share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
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


@pytest.fixture(scope="session")
def shop_of_visits(tmp_path_factory) -> Path:
    """A shop of 11 shoppers on disk, who take up to four of 23 products on a visit, minutes apart.

    People take much again. Products that are six numbers apart are alike in all features.
    """
    folder = tmp_path_factory.mktemp("a shop of visits")
    rng = np.random.default_rng(0)
    events = []
    for user in range(11):
        favourites = rng.choice(22, 9, replace=False)
        for visit in range(4 + user % 3):
            moment = 1_700_000_040 + 86_400 * visit + 3_600 * int(rng.integers(0, 9))
            for place in range(int(rng.integers(1, 5))):
                item = int(rng.choice(favourites))
                events.append((f"u{user:02d}", f"p{item:02d}", moment + 1_500 * place))
    columns = ["user_id", "item_id", "timestamp"]
    pd.DataFrame(events, columns=columns).to_csv(
        folder / "interactions.csv", index=False
    )
    products = [(f"p{item:02d}", "abc"[item % 3], "de"[item % 2]) for item in range(23)]
    columns = ["item_id", "department", "category"]
    pd.DataFrame(products, columns=columns).to_csv(folder / "items.csv", index=False)
    shoppers = [(f"u{user:02d}", "old" if user < 5 else "") for user in range(11)]
    columns = ["user_id", "segment"]
    pd.DataFrame(shoppers, columns=columns).to_csv(folder / "users.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def case_of_baskets(tiny, shop_of_visits, random_variables, compiled_scores):
    """case_of_baskets(**switches) of `ancf`, on a shop split by visits; each made once."""
    settings = functools.partial(
        tiny,
        data=shop_of_visits,
        split__kind="next_basket",
        split__basket_minutes=25,
    )

    @functools.cache
    def make(**switches) -> AncfCase:
        return AncfCase(settings, random_variables, compiled_scores, **switches)

    return make
