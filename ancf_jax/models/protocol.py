"""What every model offers, so that one path trains, ranks and evaluates all of them.

A model splits a score into what is known of the user at a moment, what is known of the item,
and what couples the two. The items are encoded once per catalogue and the users once per
request; only the coupling is paid per pair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from scipy.special import expit

from ancf_jax.objective.objective import Link
from ancf_jax.types import Array, Catalogue, EventLog, Request, Sizes, Variables
from ancf_jax.view import SILENT, View

CandidateGroups = tuple[
    Array, ...
]  # int32, each [C] for all examples or [..., C] of their own


class Model(Protocol):
    """Scores of candidates for requests, from pure functions of variables and data."""

    def encode_users(
        self,
        variables: Variables,
        log: EventLog,
        catalogue: Catalogue,
        request: Request,
    ) -> Any:
        """What is known of the users of requests [B]: a pytree with leaves [B, ...]."""

    def encode_items(
        self, variables: Variables, catalogue: Catalogue, items: Array
    ) -> Any:
        """What is known of items [C] or [B, C]: a pytree with leaves of that shape, [..., D]."""

    def score(self, variables: Variables, users: Any, items: Any) -> Array:
        """Scores float32 [B, C]; higher is better."""


class FittedModel(Model, Protocol):
    """A model without gradients, fitted as a whole."""

    def fit(
        self, log: EventLog, catalogue: Catalogue, seed: int, view: View = SILENT
    ) -> Variables:
        """The variables, from the training events (NumPy columns)."""

    def shapes(self) -> Variables:
        """Shapes and dtypes of the variables."""


class PairModule(nn.Module):
    """Base of the Linen modules: users and items, coupled per pair, finished to a score.

    Coupling stands apart from finishing so that positives and shared negatives, coupled in
    their own shapes, pass batch normalisation as one batch.

    Attributes:
        TABLES: the parameters with a row per "user" or per "item", by name.
        STEP_SCALES: parameters, by name, that the optimiser moves by steps so many times longer
            than the others; see `training.optim.with_step_scales`.
        sizes: numbers of users, items and feature values.
    """

    TABLES: ClassVar[Mapping[str, str]] = {}
    STEP_SCALES: ClassVar[Mapping[str, float]] = {}
    sizes: Sizes

    def forward(
        self,
        catalogue: Catalogue,
        request: Request,
        groups: CandidateGroups,
        weight: Array | None = None,
        train: bool = False,
    ) -> Array:
        """Scores [..., C] of all groups of candidates side by side.

        Args:
            catalogue: what is known of items and users.
            request: who is asked about, and when.
            groups: the candidates.
            weight: [..., C], 0 for pairs that are padding.
            train: whether batch statistics and dropout are those of training.
        """
        users = self.encode_users(catalogue, request, train)
        pairs = [
            self.couple(users, self._candidates(catalogue, items)) for items in groups
        ]
        if len(pairs) == 1:
            return self.finish(pairs[0], weight, train)
        beside = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-2), *pairs)
        return self.finish(beside, weight, train)

    def _candidates(self, catalogue: Catalogue, items: Array) -> Any:
        """Encoded `items`, chosen from the whole catalogue where they are more than it holds."""
        if items.ndim == 1 or items.size < self.sizes.items:
            return self.encode_items(catalogue, items)
        every_item = jnp.arange(self.sizes.items, dtype=jnp.int32)
        encoded = self.encode_items(catalogue, every_item)
        return jax.tree.map(lambda x: jnp.take(x, items, axis=0, mode="clip"), encoded)

    def score(self, users: Any, items: Any) -> Array:
        """Scores [..., C] of encoded items for encoded users."""
        return self.finish(self.couple(users, items))

    def encode_users(
        self, catalogue: Catalogue, request: Request, train: bool = False
    ) -> Any:
        """What is known of the users; see `Model`."""
        raise NotImplementedError

    def encode_items(self, catalogue: Catalogue, items: Array) -> Any:
        """What is known of the items; see `Model`."""
        raise NotImplementedError

    def couple(self, users: Any, items: Any) -> Any:
        """What a pair's score is made of: a pytree of [..., C, K]."""
        raise NotImplementedError

    def finish(
        self, pairs: Any, weight: Array | None = None, train: bool = False
    ) -> Array:
        """From pairs to scores [..., C]; by default the sum over K."""
        return pairs.sum(-1)


@dataclass(frozen=True)
class NeuralModel:
    """A Linen `PairModule` as a `Model` that training moves.

    Attributes:
        module: the module, which owns parameters and batch statistics.
        unit: what one training example is: one event, or a window of a user's events.
        link: how a score becomes a prediction: a value in [0, 1] by the sigmoid, or itself.
        history_length: number of latest events that a request holds.
        both_sides: whether a training event is learned from the user's other events, earlier and
            later ones, instead of the earlier ones.
        followers: number of followers of each item that the catalogue should name.
        dual: whether the module has `forward_window`, the cheap way to train two paths by
            full softmax.
        dual_positions: positions of each window at which `forward_window` scores both paths.
        members: how many parameter sets are trained side by side from draws of their own. With
            several, the leaves of variables have them as first axis [members, ...], those of the
            user and the item side as second, and a score is the mean of theirs.
    """

    module: PairModule
    unit: Literal["event", "window"] = "event"
    link: Link = "sigmoid"
    history_length: int = 0
    both_sides: bool = False
    followers: int = 0
    dual: bool = False
    dual_positions: int = 1
    members: int = 1

    @property
    def sizes(self) -> Sizes:
        """The numbers of users, items and feature values."""
        return self.module.sizes

    @property
    def tables(self) -> Mapping[str, str]:
        """The parameters with a row per "user" or per "item"."""
        return self.module.TABLES

    @property
    def step_scales(self) -> Mapping[str, float]:
        """The parameters that the optimiser moves by longer steps, and how many times longer."""
        return self.module.STEP_SCALES

    def resized(self, sizes: Sizes) -> NeuralModel:
        """The same model for tables of other lengths."""
        return dataclasses.replace(self, module=self.module.clone(sizes=sizes))

    def computing_in(self, dtype: DTypeLike) -> NeuralModel:
        """The same model with towers and encoders that compute in another type.

        Those of its module are told by an attribute `dtype`; a module without one has none.
        """
        if not hasattr(self.module, "dtype"):
            return self
        return dataclasses.replace(self, module=self.module.clone(dtype=dtype))

    def init(self, key: Array, catalogue: Catalogue) -> Variables:
        """Parameters and batch statistics drawn from `key`."""
        one = jnp.zeros(1, jnp.int32)
        token = jnp.full((1, self.history_length), -1, jnp.int32)
        request = Request(
            user=one,
            minute=one,
            kind=one,
            dwell=one.astype(jnp.float32),
            token=token,
            token_minute=token,
            segment=token + 1,
            basket=token if self.sizes.baskets else None,
            token_value=token.astype(jnp.float32),
        )
        candidates = (one[None],)

        def drawn(key: Array) -> Variables:
            return dict(
                self.module.init(
                    jnp.asarray(key), catalogue, request, candidates, method="forward"
                )
            )

        if self.members == 1:
            return drawn(key)
        return jax.vmap(drawn)(jax.random.split(jnp.asarray(key), self.members))

    def train(
        self, variables: Variables, key: Array, method: str, *inputs: Any
    ) -> tuple[Any, Any]:
        """What `method` of the module makes of `inputs` in training, and the batch statistics.

        With several members, of one of them.
        """
        found, changed = self.module.apply(
            variables,
            *inputs,
            train=True,
            method=method,
            rngs={"dropout": jnp.asarray(key)},
            mutable=["batch_stats"],
        )
        return found, changed.get("batch_stats", {})

    def encode_users(
        self,
        variables: Variables,
        log: EventLog,
        catalogue: Catalogue,
        request: Request,
    ) -> Any:
        """See `Model`; the history is in the request, so the log is not read."""
        del log
        return self._by_member(variables, "encode_users", catalogue, request)

    def encode_items(
        self, variables: Variables, catalogue: Catalogue, items: Array
    ) -> Any:
        """See `Model`."""
        return self._by_member(variables, "encode_items", catalogue, items)

    def _by_member(self, variables: Variables, method: str, *inputs: Any) -> Any:
        """What `method` makes of `inputs`, for every member."""

        def found(variables: Variables) -> Any:
            return self.module.apply(variables, *inputs, method=method)

        if self.members == 1:
            return found(variables)
        return jax.vmap(found, out_axes=1)(variables)

    def score(self, variables: Variables, users: Any, items: Any) -> Array:
        """See `Model`; before the sigmoid where there is one."""

        def score(variables: Variables, users: Any, items: Any) -> Array:
            found = self.module.apply(variables, users, items, method="score")
            return jnp.asarray(found)

        if self.members == 1:
            return score(variables, users, items)
        return jax.vmap(score, (0, 1, 1))(variables, users, items).mean(0)


def predictions(model: Model, scores: np.ndarray) -> np.ndarray:
    """What scores say: the value sigmoid(s) in [0, 1], or s itself, by the model's link."""
    is_logit = isinstance(model, NeuralModel) and model.link == "sigmoid"
    return expit(scores) if is_logit else scores
