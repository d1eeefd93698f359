"""What every model offers, so that one path trains, ranks, evaluates and recommends with all of them.

A model splits a score into a user side, an item side and what couples them. The item side is
computed once per catalogue and the user side once per query; only the coupling is paid per pair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from ancf_jax.types import Array, Catalogue, EventLog, Query, Sizes, Variables

Progress = Callable[[str, int, int], None]
Groups = tuple[
    Array, ...
]  # candidates int32, each [C] shared by the batch or [..., C] of their own


class Model(Protocol):
    """Scores of candidates for queries, from pure functions of variables and data."""

    def encode_users(
        self, variables: Variables, log: EventLog, catalogue: Catalogue, query: Query
    ) -> Any:
        """The user side of queries [B]: a pytree with leaves [B, ...]."""

    def encode_items(
        self, variables: Variables, catalogue: Catalogue, items: Array
    ) -> Any:
        """The item side of items [C] or [B, C]: a pytree with leaves [C, ...] or [B, C, ...]."""

    def score(self, variables: Variables, users: Any, items: Any) -> Array:
        """Scores float32 [B, C]; higher is better."""


class Baseline(Model, Protocol):
    """A model without gradients, fitted as a whole."""

    def fit(
        self,
        log: EventLog,
        catalogue: Catalogue,
        seed: int,
        progress: Progress | None = None,
    ) -> Variables:
        """The variables, from the training events (NumPy columns)."""

    def shapes(self) -> Variables:
        """Shapes and dtypes of the variables."""


@dataclass(frozen=True)
class NeuralModel:
    """A Linen module with the methods `encode_users`, `encode_items` and `score`, as a `Model`.

    Attributes:
        unit: what one training example is: one event, or a window of a user's events.
        link: how a score becomes a prediction: a probability by the sigmoid, or itself.
        history_length: number of latest events that a query holds.
        followers: number of followers of each item that it wants to know.
        dual: whether the module has `forward_window`, the cheap way to train two paths by full softmax.
    """

    module: nn.Module
    unit: Literal["event", "window"] = "event"
    link: Literal["sigmoid", "identity"] = "sigmoid"
    history_length: int = 0
    followers: int = 0
    dual: bool = False

    @property
    def sizes(self) -> Sizes:
        """The numbers of users, items and feature values."""
        return self.module.sizes  # pyrefly: ignore

    @property
    def tables(self) -> dict[str, str]:
        """The parameters with a row per "user" or per "item"."""
        return self.module.TABLES  # pyrefly: ignore

    def resized(self, sizes: Sizes) -> NeuralModel:
        """The same model for tables of other lengths."""
        return dataclasses.replace(self, module=self.module.clone(sizes=sizes))

    def init(self, key: Array, catalogue: Catalogue) -> Variables:
        """Parameters and batch statistics drawn from `key`."""
        one = jnp.zeros(1, jnp.int32)
        row = jnp.full((1, self.history_length), -1, jnp.int32)
        query = Query(one, one, one, one.astype(jnp.float32), row, row, row + 1)
        return dict(
            self.module.init(
                jnp.asarray(key), catalogue, query, (one[None],), method="forward"
            )
        )

    def train(
        self, variables: Variables, key: Array, method: str, *inputs: Any
    ) -> tuple[Any, Any]:
        """What the module's `forward` or `forward_window` makes of `inputs` in training, and the batch statistics."""
        rngs, mutable = {"dropout": jnp.asarray(key)}, ["batch_stats"]
        found, changed = self.module.apply(
            variables, *inputs, train=True, method=method, rngs=rngs, mutable=mutable
        )
        return found, changed.get("batch_stats", {})

    def encode_users(
        self, variables: Variables, log: EventLog, catalogue: Catalogue, query: Query
    ) -> Any:
        """See `Model`; the history is in the query, so the log is not read."""
        del log
        return self.module.apply(variables, catalogue, query, method="encode_users")

    def encode_items(
        self, variables: Variables, catalogue: Catalogue, items: Array
    ) -> Any:
        """See `Model`."""
        return self.module.apply(variables, catalogue, items, method="encode_items")

    def score(self, variables: Variables, users: Any, items: Any) -> Array:
        """See `Model`; before the sigmoid where there is one."""
        return jnp.asarray(self.module.apply(variables, users, items, method="score"))


class PairModule(nn.Module):
    """Base of the Linen modules: user side and item side, coupled per pair, finished to a score.

    Coupling stands apart from finishing so that positives and shared negatives, coupled in their
    own shapes, pass batch normalisation as one batch.
    """

    TABLES: ClassVar[dict[str, str]] = {}  # parameters with a row per "user" or "item"
    sizes: Sizes

    def forward(
        self,
        catalogue: Catalogue,
        query: Query,
        groups: Groups,
        weight: Array | None = None,
        train: bool = False,
    ) -> Array:
        """Scores [..., C] of all groups of candidates side by side; `weight` [..., C] is 0 for padded pairs."""
        users = self.encode_users(catalogue, query, train)
        pairs = [
            self.couple(users, self._candidates(catalogue, items)) for items in groups
        ]
        together = (
            jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-2), *pairs)
            if pairs[1:]
            else pairs[0]
        )
        return self.finish(together, weight, train)

    def _candidates(self, catalogue: Catalogue, items: Array) -> Any:
        """The item side of `items`: chosen from that of the whole catalogue where they are more than it holds."""
        if items.ndim == 1 or items.size < self.sizes.items:
            return self.encode_items(catalogue, items)
        everything = self.encode_items(
            catalogue, jnp.arange(self.sizes.items, dtype=jnp.int32)
        )
        return jax.tree.map(
            lambda side: jnp.take(side, items, axis=0, mode="clip"), everything
        )

    def score(self, users: Any, items: Any) -> Array:
        """Scores [..., C] of encoded items for encoded users."""
        return self.finish(self.couple(users, items))

    def encode_users(
        self, catalogue: Catalogue, query: Query, train: bool = False
    ) -> Any:
        """The user side; see `Model`."""
        raise NotImplementedError

    def encode_items(self, catalogue: Catalogue, items: Array) -> Any:
        """The item side; see `Model`."""
        raise NotImplementedError

    def couple(self, users: Any, items: Any) -> Any:
        """What a pair's score is made of: a pytree of [..., C, K]."""
        raise NotImplementedError

    def finish(
        self, pairs: Any, weight: Array | None = None, train: bool = False
    ) -> Array:
        """From pairs to scores [..., C]; by default the sum over K."""
        return pairs.sum(-1)


def predictions(model: Model, scores: np.ndarray) -> np.ndarray:
    """What scores say: the probability sigmoid(s), or s itself, by the model's link."""
    return expit(scores) if getattr(model, "link", "identity") == "sigmoid" else scores
