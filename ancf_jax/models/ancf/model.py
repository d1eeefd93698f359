"""`ancf`: Attention Neural Collaborative Filtering, the flagship, as its formula."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.models.ancf.bag import Bag
from ancf_jax.models.ancf.config import AncfSettings
from ancf_jax.models.ancf.context import CONTEXTS, Context, Scope, moments, scope_of
from ancf_jax.models.ancf.features import feature_tables, user_feature_bags
from ancf_jax.models.ancf.head import DualHead
from ancf_jax.models.ancf.hierarchy import Hierarchy
from ancf_jax.models.ancf.prior import LogPrior
from ancf_jax.models.ancf.sides import ItemSide, Pair, UserSide, UserState, at_positions
from ancf_jax.models.protocol import PairModule
from ancf_jax.modules.embeddings import boost_of_items, lookup, pair_align, pair_sum
from ancf_jax.modules.heads import Dense
from ancf_jax.modules.temporal import temporal_encoding
from ancf_jax.types import Array, Catalogue, Request, SparsePrior

TEMPORAL_SIZE = 32  # width of the sinusoids of one granularity


class Ancf(PairModule):
    """Two embedding paths, attention over history, time and hierarchy, in one dual output.

    context     = temporal(moment) + attention(history) or bag(history)
    mf          = (user_mf + W context) * (item_mf + V hierarchy(item))
    mlp         = Dense(concat(user_mlp, item_mlp, context))
    first_layer = Dense(concat(mf, mlp, hierarchy(item), temporal(moment)))
    score       = Dense(2 -> 1)(mf_output(mf), mlp_output(tower(first_layer))) + prior
    prior       = popularity(item) + repeats(item, history) + followers(item, history)

    The sigmoid of the score is the probability of an interaction. Each part has a switch in
    `AncfSettings`, and a file beside this one; attention can be passed in.

    Attributes:
        settings: shape and switches.
        context: makes the attention over the history; by default as `settings.history` says.
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
    # The prior's few weights have far to go, and Adam moves each by its learning rate at most.
    STEP_SCALES: ClassVar[Mapping[str, float]] = {
        "prior.repeats": 10.0,
        "prior.followers": 10.0,
    }
    settings: AncfSettings
    context: Callable[..., Context] | None = None

    def setup(self) -> None:
        n = self.settings
        self._setup_tables()
        self.hierarchy = Hierarchy(n.mlp_size, n.pooling)
        nn.share_scope(self, self.hierarchy)
        self.hierarchy_to_mf = Dense(n.embedding_size, use_bias=False)
        self.temporal = Dense(n.mlp_size)
        self.now_to_token = Dense(n.mlp_size, use_bias=False)
        self.mf_to_token = Dense(n.mlp_size, use_bias=False)
        self.encoder = (self.context or CONTEXTS[n.history])(n)
        if n.history == "bag":
            self.bag = Bag(self.sizes.items, n.mlp_size)
        self.context_to_mf = Dense(n.embedding_size, use_bias=False)
        self.prior = LogPrior(n, self.sizes)
        self.head = DualHead(n)
        nn.share_scope(self, self.head)

    def _setup_tables(self) -> None:
        """Tables of both paths; those of the MF path begin small: at first the prior speaks."""
        n = self.settings
        sizes = self.sizes
        small = nn.initializers.normal(0.1 * n.embedding_size**-0.5)
        unit = nn.initializers.normal(n.mlp_size**-0.5)
        zeros = nn.initializers.zeros
        self.user_mf = self.param("user_mf", small, (sizes.users, n.embedding_size))
        self.item_mf = self.param("item_mf", small, (sizes.items, n.embedding_size))
        self.user_mlp = self.param("user_mlp", unit, (sizes.users, n.mlp_size))
        self.item_mlp = self.param("item_mlp", unit, (sizes.items, n.mlp_size))
        levels = sizes.item_features if n.hierarchy else ()
        self.user_features = feature_tables(
            self, "user", sizes.user_features, n.mlp_size
        )
        self.levels = feature_tables(self, "level", levels, n.mlp_size)
        if n.history not in ("none", "bag"):
            self.nothing_yet = self.param("nothing_yet", unit, (n.mlp_size,))
        if n.biases:
            self.user_bias = self.param("user_bias", zeros, (sizes.users, 1))
            self.item_bias = self.param("item_bias", zeros, (sizes.items, 1))

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
        state = UserState(
            user=self._forget_some(request.user, train),
            moment=moment,
            context=moment if past is None else moment + past,
            boost=self.prior.of_history(catalogue, request, scope),
            memory=memory,
        )
        # A position knows nothing of its own basket: only what the basket's first knows.
        return state if request.known is None else at_positions(state, request.known)

    def user_side(self, catalogue: Catalogue, state: UserState) -> UserSide:
        """What users contribute to their pairs, by both paths."""
        n = self.settings
        first_layer = None
        if n.mlp_path:
            row = lookup(self.user_mlp, state.user) + user_feature_bags(
                self.user_features, catalogue.user_features, state.user, n.pooling
            )
            first_layer = self.head.of_user(row, state.context, state.moment)
        level = lookup(self.user_bias, state.user) if n.biases else None
        mf = self.user_factors(state) if n.mf_path else None
        return UserSide(mf, first_layer, level, state.boost, state.memory)

    def user_factors(self, state: UserState) -> Array:
        """user_mf + W context: [..., D_mf]."""
        return lookup(self.user_mf, state.user) + self.context_to_mf(state.context)

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
        embedding = lookup(self.item_mlp, item)
        token = embedding
        if n.mf_path:
            # The item in the terms in which it is recommended: people buy the same again.
            token = token + self.mf_to_token(lookup(self.item_mf, item))
        if self.levels:
            token = token + self.hierarchy(self.levels, catalogue, item, embedding)
        if n.temporal:
            then = self.when(request.token_minute)
            now = self.now_to_token(self.when(moments(request)))
            token = token + then + now
        is_event = (request.token >= 0)[..., None]
        return jnp.where(is_event, token, self.nothing_yet[None, None])

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

    def _forget_some(self, user: Array, train: bool) -> Array:
        """The users; in training some as if unknown, where a history tells them apart."""
        n = self.settings
        if not train or n.history == "none" or n.user_dropout == 0:
            return user
        key = self.make_rng("dropout")
        is_forgotten = jax.random.bernoulli(key, n.user_dropout, user.shape)
        return jnp.where(is_forgotten, -1, user)

    # Items

    def encode_items(self, catalogue: Catalogue, items: Array) -> ItemSide:
        """What items [..., C] contribute to their pairs."""
        n = self.settings
        prior = self.prior.of_items(catalogue, items)
        if n.biases:
            prior += lookup(self.item_bias, items)[..., 0]
        embedding = lookup(self.item_mlp, items)
        hierarchy = self.hierarchy(self.levels, catalogue, items, embedding)
        mf = None
        if n.mf_path:
            mf = lookup(self.item_mf, items) + self.hierarchy_to_mf(hierarchy)
        return ItemSide(
            item=items,
            prior=prior,
            mf=mf,
            first_layer=self.head.of_item(embedding, hierarchy) if n.mlp_path else None,
            asked=self.encoder.prepare(embedding + hierarchy),
        )

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
        return Pair(self._prior_of_pairs(users, items), mf_output, first_layer)

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

    def _prior_of_pairs(self, users: UserSide, items: ItemSide) -> Array:
        """What speaks for each pair before any embedding does: [..., C, 1]."""
        boost = users.boost
        candidates = items.prior.shape[-1]
        prior = jnp.broadcast_to(items.prior, (*boost.item.shape[:-1], candidates))
        if users.level is not None:
            prior += users.level
        boosts = boost_of_items(boost.item, boost.amount, items.item, self.sizes.items)
        return (prior + boosts)[..., None]

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
    ) -> tuple[tuple[Array, Array, SparsePrior] | None, Array]:
        """Scores of every item: of the MF output everywhere, of the dual output at a few places.

        The MF output is one product of matrices and gets its signal at every position; the
        tower costs a pass for each pair.

        Args:
            request: windows.
            chosen: int32 [B, P] positions at which the dual output is scored.
            weight: [B, P], 0 for padding.

        Returns:
            Rows [B, L, D_mf] and [I, D_mf] whose products plus the prior are the MF scores, up to
            a constant (None without the MF path), and the dual scores [B, P, I].
        """
        state = self.read(catalogue, request, train)
        every_item = jnp.arange(self.sizes.items, dtype=jnp.int32)
        items = self.encode_items(catalogue, every_item)
        mf = None
        if items.mf is not None:
            rows = self.head.mf_only(self.user_factors(state))
            prior = SparsePrior(items.prior, state.boost.item, state.boost.amount)
            mf = (rows, items.mf, prior)
        few = at_positions(state, chosen)
        pairs = self.couple(self.user_side(catalogue, few), items)
        every_pair = (*weight.shape, self.sizes.items)
        pair_weight = jnp.broadcast_to(weight[..., None], every_pair)
        return mf, self.finish(pairs, pair_weight, train)
