"""`ancf`: Attention Neural Collaborative Filtering, the flagship, as its formula."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from ancf_jax.models.ancf.bag import Bag
from ancf_jax.models.ancf.config import AncfSettings
from ancf_jax.models.ancf.context import CONTEXTS, Context, Scope, moments, scope_of
from ancf_jax.models.ancf.features import forget_some, user_feature_bags
from ancf_jax.models.ancf.head import DualHead
from ancf_jax.models.ancf.hierarchy import Hierarchy
from ancf_jax.models.ancf.pair_features import pair_features
from ancf_jax.models.ancf.prior import LogPrior
from ancf_jax.models.ancf.sides import (
    ItemSide,
    Pair,
    UserSide,
    UserState,
    at_positions,
    prior_of_pairs,
)
from ancf_jax.models.ancf.tables import embedding_tables
from ancf_jax.models.ancf.windows import MfScores, given, score_window
from ancf_jax.models.protocol import PairModule
from ancf_jax.modules.embeddings import lookup, pair_align, pair_sum
from ancf_jax.modules.heads import Dense, along_last
from ancf_jax.modules.temporal import temporal_encoding
from ancf_jax.types import Array, Catalogue, Request

TEMPORAL_SIZE = 32  # width of the sinusoids of one granularity


class Ancf(PairModule):
    """Two embedding paths, attention over history, time and hierarchy, in one dual output.

    context     = temporal(moment) + attention(history) or bag(history)
    mf          = (user_mf + W context) * (item_mf + V hierarchy(item))
    mlp         = Dense(concat(user_mlp, item_mlp, context))
    first_layer = Dense(concat(mf, mlp, hierarchy(item), temporal(moment), pair_features))
    score       = Dense(2 -> 1)(mf_output(mf), mlp_output(tower(first_layer))) + prior
    prior       = popularity(item) + repeats(item, history) + followers(item, history)

    The score's sigmoid is the probability of an interaction. Each part has a switch in its
    `settings` and a file beside this one.

    Attributes:
        settings: shape and switches.
        context: makes the attention over the history, where `settings.history` does not.
        dtype: of what encoder, tower and the softmax compute.
    """

    TABLES: ClassVar[Mapping[str, str]] = {
        "user_mf": "user",
        "user_mlp": "user",
        "user_bias": "user",
        "item_mf": "item",
        "item_mlp": "item",
        "item_bias": "item",
        "item_bag": "item",
    }
    # The prior's few weights have far to go, and Adam moves each by its rate at most.
    STEP_SCALES: ClassVar[Mapping[str, float]] = {
        "prior.repeats": 10.0,
        "prior.followers": 10.0,
        "pair_features": 10.0,
    }
    settings: AncfSettings
    context: Callable[..., Context] | None = None
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        n = self.settings
        self.tables = embedding_tables(self, n, self.sizes)
        self.hierarchy = Hierarchy(n.mlp_size, n.pooling)
        nn.share_scope(self, self.hierarchy)
        self.hierarchy_to_mf = Dense(n.embedding_size, use_bias=False)
        self.temporal = Dense(n.mlp_size)
        self.now_to_token = Dense(n.mlp_size, use_bias=False)
        self.mf_to_token = Dense(n.mlp_size, use_bias=False)
        self.encoder = (self.context or CONTEXTS[n.history])(n, self.dtype)
        if n.history == "bag":
            self.bag = Bag(self.sizes.items, n.mlp_size)
        self.context_to_mf = Dense(n.embedding_size, use_bias=False)
        self.prior = LogPrior(n, self.sizes)
        self.head = DualHead(n, self.dtype)
        nn.share_scope(self, self.head)
        self.pair_features = pair_features(n, self.sizes)

    # Users

    def encode_users(
        self, catalogue: Catalogue, request: Request, train: bool = False
    ) -> UserSide:
        """What requests contribute to their pairs."""
        return self.user_side(catalogue, self.read(catalogue, request, train))

    def read(self, catalogue: Catalogue, request: Request, train: bool) -> UserState:
        """The moment, the history and the user of each request, or position of a window."""
        scope = scope_of(request, clock=bool(self.settings.temporal))
        moment = self.when(request.minute)
        past, memory = self._attend(catalogue, request, scope, train)
        taken = ()
        if self.pair_features is not None:
            taken = self.pair_features.of_request(catalogue, request, scope)
        state = UserState(
            user=self._known_user(request.user, train),
            moment=moment,
            context=moment if past is None else moment + past,
            boost=self.prior.of_history(catalogue, request, scope),
            memory=memory,
            taken=taken,
        )
        # A position knows nothing of its own basket: only what the basket's first knows.
        return state if request.known is None else at_positions(state, request.known)

    def user_side(self, catalogue: Catalogue, state: UserState) -> UserSide:
        """What users contribute to their pairs, by both paths."""
        n = self.settings
        first_layer = None
        if n.mlp_path:
            row = lookup(self.tables.user_mlp, state.user) + user_feature_bags(
                self.tables.user_features,
                catalogue.user_features,
                state.user,
                n.pooling,
            )
            first_layer = self.head.of_user(row, state.context, state.moment)
        bias = self.tables.user_bias
        level = None if bias is None else lookup(bias, state.user)
        mf = self.user_factors(state) if n.mf_path else None
        counted = ()
        if self.pair_features is not None:
            counted = self.pair_features.of_users(catalogue, state.taken)
        return UserSide(mf, first_layer, level, state.boost, state.memory, counted)

    def user_factors(self, state: UserState) -> Array:
        """user_mf + W context: [..., D_mf]."""
        return lookup(self.tables.user_mf, state.user) + self.context_to_mf(
            state.context
        )

    def when(self, minute: Array) -> Array:
        """Temporal encoding of minutes [...], projected to [..., D_mlp]; zero without a clock."""
        n = self.settings
        if not n.temporal:
            return jnp.zeros((*minute.shape, n.mlp_size))
        encoded = temporal_encoding(minute, n.temporal, TEMPORAL_SIZE, n.max_period)
        return self.temporal(encoded)

    def tokens(self, catalogue: Catalogue, request: Request) -> Array:
        """What each event of the history was, and when: [B, L, D_mlp]."""
        n = self.settings
        item = jnp.maximum(request.token, 0)
        embedding = lookup(self.tables.item_mlp, item)
        token = embedding
        if n.mf_path:
            # The item in the terms in which it is recommended: people buy the same again.
            token = token + self.mf_to_token(lookup(self.tables.item_mf, item))
        if self.tables.levels:
            token = token + self.hierarchy(
                self.tables.levels, catalogue, item, embedding
            )
        if n.temporal:
            then = self.when(request.token_minute)
            now = self.now_to_token(self.when(moments(request)))
            token = token + then + now
        is_event = (request.token >= 0)[..., None]
        nothing_yet = jnp.asarray(self.tables.nothing_yet)
        return jnp.where(is_event, token, along_last(nothing_yet, token.ndim))

    def _attend(
        self, catalogue: Catalogue, request: Request, scope: Scope, train: bool
    ) -> tuple[Array | None, Any]:
        """What is made of the past, as `request.minute` by D_mlp, and its memory."""
        if self.settings.history == "none":
            return None, None
        if self.settings.history == "bag":
            return self.bag(request), None
        is_single = request.minute.ndim == 1
        tokens = self.tokens(catalogue, request)
        states, memory = self.encoder(tokens, scope, train, last=is_single)
        if states is not None and is_single:
            states = states[:, -1]
        return states, memory

    def _known_user(self, user: Array, train: bool) -> Array:
        """The users; in training some as if unknown, where a history tells them apart."""
        n = self.settings
        if not train or n.history == "none" or n.user_dropout == 0:
            return user
        return forget_some(user, n.user_dropout, self.make_rng("dropout"))

    # Items

    def encode_items(
        self, catalogue: Catalogue, items: Array, apart: bool = False
    ) -> ItemSide:
        """What items [..., C] contribute to their pairs.

        Args:
            catalogue: what is known of items.
            items: row numbers.
            apart: whether the MLP path does not move the embeddings that it shares with others.
        """
        n = self.settings
        prior = self.prior.of_items(catalogue, items)
        if self.tables.item_bias is not None:
            prior += lookup(self.tables.item_bias, items)[..., 0]
        embedding = lookup(self.tables.item_mlp, items)
        hierarchy = self.hierarchy(self.tables.levels, catalogue, items, embedding)
        mf = None
        if n.mf_path:
            mf = lookup(self.tables.item_mf, items) + self.hierarchy_to_mf(hierarchy)
        first_layer = None
        if n.mlp_path:
            shared = (embedding, hierarchy)
            first_layer = self.head.of_item(*(given(shared) if apart else shared))
        asked = self.encoder.prepare(embedding + hierarchy)
        values = ()
        if self.pair_features is not None:
            values = self.pair_features.of_items(catalogue, items)
        return ItemSide(items, prior, mf, first_layer, asked, values)

    # Pairs

    def couple(self, users: UserSide, items: ItemSide) -> Pair:
        """What the score of each pair is made of."""
        found = self.encoder.of_candidates(users.memory, items.asked)
        factors = self._factors_of_pairs(users, items, found)
        mf_output = None
        if factors is not None:
            mf_output = self.head.mf_pairs(*factors)
        first_layer = self._first_layer_of_pairs(users, items, found)
        if first_layer is not None and factors is not None:
            first_layer += self.head.mf_in_first_layer(*factors)
        counted = None
        if first_layer is not None and self.pair_features is not None:
            features = self.pair_features.of_pairs(users.counted, items.values)
            first_layer += self.head.of_pair_features(features)
            counted = self.pair_features.alone(features)
        prior = prior_of_pairs(users, items, self.sizes.items)
        return Pair(prior, mf_output, first_layer, counted)

    def _factors_of_pairs(
        self, users: UserSide, items: ItemSide, found: Array | None
    ) -> tuple[Array, Array] | None:
        """MF factors of users and items; the users' moved by what each candidate found."""
        if users.mf is None or items.mf is None:
            return None
        if found is None:
            return users.mf, items.mf
        user_mf, item_mf = pair_align(users.mf, items.mf)
        return user_mf + self.context_to_mf(found), item_mf

    def _first_layer_of_pairs(
        self, users: UserSide, items: ItemSide, found: Array | None
    ) -> Array | None:
        """The first layer of the tower, but for the MF path's part in it."""
        if users.first_layer is None or items.first_layer is None:
            return None
        first_layer = pair_sum(users.first_layer, items.first_layer)
        if found is None:
            return first_layer
        return first_layer + self.head.of_candidate_context(found)

    def finish(
        self, pairs: Pair, weight: Array | None = None, train: bool = False
    ) -> Array:
        """The dual output: [..., C]."""
        return self.head(pairs, weight, train)

    # Training by windows

    def forward_window(
        self,
        catalogue: Catalogue,
        request: Request,
        chosen: Array,
        weight: Array,
        train: bool = False,
    ) -> tuple[MfScores | None, Array]:
        """Scores of every item: of the MF output everywhere, of the dual output at a few places.

        The MF output is one product of matrices; the tower costs a pass for each pair. Where there
        are both, the dual scores move the MLP path alone: it learns what the MF path leaves.

        Args:
            request: windows.
            chosen: int32 [B, P] positions at which the dual output is scored.
            weight: [B, P], 0 for padding.

        Returns:
            Rows [B, L, D_mf] and [I, D_mf] whose products plus the prior are the MF scores, up to
            a constant (None without the MF path), and the dual scores [B, P, I].
        """
        return score_window(self, catalogue, request, chosen, weight, train)
