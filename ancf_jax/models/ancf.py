"""`ancf`: Attention Neural Collaborative Filtering, the flagship."""

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.config import NetworkConfig
from ancf_jax.models.prior import LogPrior, Reach
from ancf_jax.models.protocol import PairModule
from ancf_jax.modules import attention
from ancf_jax.modules.embeddings import (
    embedding_bag,
    had_before,
    lookup,
    pair_align,
    pair_dot,
)
from ancf_jax.modules.heads import Dense, Tower
from ancf_jax.modules.hierarchy import level_attention
from ancf_jax.modules.temporal import temporal_encoding
from ancf_jax.types import Array, Catalogue, Prior, Query


def moments(query: Query) -> Array:
    """The moment int32 [B, L] that each position of the history looks forward to.

    That is the next token's time, and for the last position the moment that is scored.
    """
    if query.minute.ndim == 2:
        return query.minute
    return jnp.concatenate([query.token_minute[:, 1:], query.minute[:, None]], 1)


def _at(rows: Array, chosen: Array) -> Array:
    """Rows [B, P, D] of [B, L, D] at the positions `chosen` [B, P]."""
    return jnp.take_along_axis(rows, chosen[..., None], axis=1)


class Ancf(PairModule):
    """Two embedding paths, attention over history, time, and the category hierarchy, in one dual output.

    MF path:  mf = (user_mf + context) * (item_mf + hierarchy), mf_output = Dense(D_mf -> 1)
    MLP path: mlp = Dense(concat(user_mlp, item_mlp, context)), then
              concat(mf, mlp, hierarchy, temporal) -> Dense hidden[0] -> ReLU -> BatchNorm -> Dropout -> tower,
              mlp_output = Dense(hidden[-1] -> 1)
    score = Dense(2 -> 1)(mf_output, mlp_output) + prior; its sigmoid is the probability of an interaction.
    prior: how likely the item is by its popularity, by having been had before, and by what tends to follow what the
    user just had; see `models.prior.LogPrior`

    `context` is what attention over the history makes of the past, for now: by causal self-attention
    (the same for all candidates) or by attention that each candidate directs at the history. Every
    part has a switch in `NetworkConfig`. The Dense over a concatenation is computed as a sum of its
    parts, so the item side is precomputed once and the user side once per query.
    """

    TABLES: ClassVar[dict[str, str]] = {
        f"{of}_{what}": of for of in ("user", "item") for what in ("mf", "mlp", "bias")
    }
    network: NetworkConfig

    def setup(self) -> None:  # a Dense that is never called has no parameters
        n, init, bare = self.network, nn.initializers, partial(Dense, use_bias=False)
        rows = {"user": self.sizes.users, "item": self.sizes.items}
        paths = {
            "mf": (n.embedding_size, 0.1),
            "mlp": (n.mlp_size, 1.0),
        }  # at first the prior alone speaks
        self.tables = {
            (name := f"{of}_{path}"): self.param(
                name, init.normal(scale * width**-0.5), (rows[of], width)
            )
            for path, (width, scale) in paths.items()
            for of in rows
        }
        self.user_feature_tables = self._feature_tables(
            "user", self.sizes.user_features
        )
        self.levels = (
            self._feature_tables("level", self.sizes.item_features)
            if n.hierarchy
            else {}
        )
        self.level_query, self.temporal = Dense(n.mlp_size), Dense(n.mlp_size)
        self.encoder = attention.CausalEncoder(n.layers, n.heads, n.dropout)
        self.query, self.key, self.value = (Dense(n.mlp_size) for _ in range(3))
        self.now_to_token, self.mf_to_token = (bare(n.mlp_size) for _ in range(2))
        if n.history != "none":
            self.nothing_yet = self.param(
                "nothing_yet", init.normal(n.mlp_size**-0.5), (n.mlp_size,)
            )
        if n.history == "candidate":
            self.recency = self.param(
                "recency", init.zeros, (n.heads, n.history_length)
            )
        self.context_to_mf, self.hierarchy_to_mf = (
            bare(n.embedding_size) for _ in range(2)
        )
        self.mlp_user, self.mlp_item, self.mlp_context = (
            bare(n.mlp_size) for _ in range(3)
        )
        self.first_mlp, self.first_hierarchy = (bare(n.hidden[0]) for _ in range(2))
        self.first_temporal = Dense(n.hidden[0])
        self.tower = Tower(n.hidden, n.dropout, normalise=True)
        self.mlp_output = Dense(
            1, kernel_init=init.zeros
        )  # at first the MF path alone speaks
        if n.mf_path:
            self.mf_output = self.param("mf_output", init.ones, (n.embedding_size, 1))
        if n.mf_path and n.mlp_path:
            self.first_mf = self.param(
                "first_mf", init.lecun_normal(), (n.embedding_size, n.hidden[0])
            )
        self.prior = LogPrior(n, self.sizes)
        if n.biases:
            self.biases = {
                of: self.param(f"{of}_bias", init.zeros, (count, 1))
                for of, count in rows.items()
            }
        self.final = self.param("final", init.ones, (2,))
        self.bias = self.param("bias", init.zeros, (1,))

    def _feature_tables(
        self, prefix: str, features: tuple[tuple[str, int], ...]
    ) -> dict[str, Array]:
        size = self.network.mlp_size
        init = nn.initializers.normal(size**-0.5)
        return {
            name: self.param(f"{prefix}_{name}", init, (max(values, 1), size))
            for name, values in features
        }

    def hierarchy(self, catalogue: Catalogue, items: Array) -> Array:
        """Department and category of items, weighed by attention: [..., D_mlp]; zero for an item without any."""
        bags = {
            name: jnp.take(catalogue.item_features[name], items, axis=0)
            for name in self.levels
        }
        pooled = [
            embedding_bag(self.levels[name], ids, self.network.pooling)
            for name, ids in bags.items()
        ]
        present = jnp.stack([(ids >= 0).any(-1) for ids in bags.values()], -1)
        asked = self.level_query(lookup(self.tables["item_mlp"], items))
        mixed, weights = level_attention(asked, jnp.stack(pooled, -2), present)
        self.sow("intermediates", "level_weights", weights)
        return mixed

    def when(self, minute: Array) -> Array:
        """Temporal encoding of minutes [...], projected to [..., D_mlp]."""
        return self.temporal(
            temporal_encoding(
                minute, self.network.temporal, 32, self.network.max_period
            )
        )

    def tokens(self, catalogue: Catalogue, query: Query) -> Array:
        """What each event of the history was, and when: [B, L, D_mlp]."""
        items = jnp.maximum(query.token, 0)
        x = lookup(self.tables["item_mlp"], items)
        if self.network.mf_path:
            # What was had, in the terms in which it is recommended: people buy the same again.
            x = x + self.mf_to_token(lookup(self.tables["item_mf"], items))
        if self.levels:
            x = x + self.hierarchy(catalogue, items)
        if self.network.temporal:
            x = (
                x
                + self.when(query.token_minute)
                + self.now_to_token(self.when(moments(query)))
            )
        return jnp.where((query.token >= 0)[..., None], x, self.nothing_yet[None, None])

    def encode_users(
        self, catalogue: Catalogue, query: Query, train: bool = False
    ) -> Any:
        """User side: `mf` [B, D_mf], `first` [B, hidden[0]], and `key`, `value`, `mask` for candidate attention."""
        reach, user = self._reach(query), self._forget(query.user, train)
        moment, context = self.context(catalogue, query, reach, train)
        side = self._user_mf(user, context) | self._user_first(
            catalogue, user, moment, context
        )
        side |= self.prior.of_history(catalogue, query, reach)
        if self.network.biases:
            side["level"] = lookup(self.biases["user"], user)
        if self.network.history == "candidate":
            tokens = self.tokens(catalogue, query)
            key, value = (
                attention.split_heads(part(tokens), self.network.heads)
                for part in (self.key, self.value)
            )
            side |= {"key": key, "value": value, "mask": query.segment >= 0}
        return side

    def _reach(self, query: Query) -> Reach:
        """What each position may look at, a mask [B, 1, L, L], and the bucket [B, L, L] of how long ago that was."""
        gap = (
            attention.gap_bucket(moments(query), query.token_minute)
            if self.network.temporal
            else None
        )
        return attention.causal_mask(query.segment), gap

    def context(
        self, catalogue: Catalogue, query: Query, reach: Reach, train: bool = False
    ) -> tuple[Array, Array]:
        """The moment, and what causal attention makes of the past for it: both as `query.minute`, by D_mlp."""
        n = self.network
        moment = (
            self.when(query.minute)
            if n.temporal
            else jnp.zeros((*query.minute.shape, n.mlp_size))
        )
        if n.history != "causal":
            return moment, moment
        last = query.minute.ndim == 1
        states = self.encoder(self.tokens(catalogue, query), *reach, train, last)
        return moment, moment + (states[:, 0] if last else states)

    def _forget(self, user: Array, train: bool) -> Array:
        """The users, in training some of them as if unknown where there is a history to tell them apart."""
        share = (
            self.network.user_dropout
            if train and self.network.history != "none"
            else 0.0
        )
        return (
            jnp.where(
                jax.random.bernoulli(self.make_rng("dropout"), share, user.shape),
                -1,
                user,
            )
            if share
            else user
        )

    def _user_mf(self, user: Array, context: Array) -> dict[str, Array]:
        return (
            {"mf": lookup(self.tables["user_mf"], user) + self.context_to_mf(context)}
            if self.network.mf_path
            else {}
        )

    def _user_first(
        self, catalogue: Catalogue, user: Array, moment: Array, context: Array
    ) -> dict[str, Array]:
        """The user side's share in the first layer: the bag of the user's own row and features, context and moment."""
        if not self.network.mlp_path:
            return {}
        row = lookup(self.tables["user_mlp"], user)
        for name, table in self.user_feature_tables.items():
            ids = (
                lookup(catalogue.user_features[name] + 1, user) - 1
            )  # unknown users have no feature
            row = row + embedding_bag(table, ids, self.network.pooling)
        mlp = self.mlp_user(row) + self.mlp_context(context)
        return {"first": self.first_mlp(mlp) + self.first_temporal(moment)}

    def encode_items(self, catalogue: Catalogue, items: Array) -> Any:
        """Item side: `mf` [..., C, D_mf], `first` [..., C, hidden[0]], `id` and `popular` [..., C], and `query` for
        candidate attention."""
        n, side = (
            self.network,
            {"id": items, "popular": self.prior.of_items(catalogue, items)},
        )
        if n.biases:
            side["popular"] += lookup(self.biases["item"], items)[..., 0]
        row = lookup(self.tables["item_mlp"], items)
        hierarchy = (
            self.hierarchy(catalogue, items) if self.levels else jnp.zeros_like(row)
        )
        if n.mf_path:
            side["mf"] = lookup(self.tables["item_mf"], items) + self.hierarchy_to_mf(
                hierarchy
            )
        if n.mlp_path:
            side["first"] = self.first_mlp(self.mlp_item(row)) + self.first_hierarchy(
                hierarchy
            )
        if n.history == "candidate":
            side["query"] = attention.split_heads(self.query(row + hierarchy), n.heads)
        return side

    def forward_window(
        self,
        catalogue: Catalogue,
        query: Query,
        chosen: Array,
        weight: Array,
        train: bool = False,
    ) -> tuple[tuple[Array, Array, Prior] | None, Array]:
        """Scores of the whole catalogue: of the MF output alone at every position, of the dual output at a few.

        The MF output is one product of matrices and gets its signal everywhere; the tower costs a pass per pair.

        Args:
            chosen: int32 [B, P] positions at which the dual output is scored; `weight` [B, P] is 0 for padding.

        Returns:
            Rows [B, L, D_mf] and [I, D_mf] whose products plus the prior are the MF scores but for a constant (None
            without the MF path), and the dual scores [B, P, I].
        """
        reach, user = self._reach(query), self._forget(query.user, train)
        moment, context = self.context(catalogue, query, reach, train)
        items = self.encode_items(
            catalogue, jnp.arange(self.sizes.items, dtype=jnp.int32)
        )
        side, mf = (
            self._user_mf(user, context)
            | self.prior.of_history(catalogue, query, reach),
            None,
        )
        if self.network.mf_path:
            rows = jnp.einsum(
                "...d,dk->...d", side["mf"], self.final[0] * self.mf_output
            )
            mf = rows, items["mf"], Prior(items["popular"], side["had"], side["again"])
        few = {name: _at(rows, chosen) for name, rows in side.items()}
        user, moment, context = (
            _at(user[..., None], chosen)[..., 0],
            _at(moment, chosen),
            _at(context, chosen),
        )
        pairs = self.couple(
            few | self._user_first(catalogue, user, moment, context), items
        )
        return mf, self.finish(
            pairs,
            jnp.broadcast_to(weight[..., None], (*weight.shape, self.sizes.items)),
            train,
        )

    def couple(self, users: Any, items: Any) -> Any:
        """The prior [..., C, 1], the MF output `mf` [..., C, 1] and the MLP path's `first` layer [..., C, hidden[0]]."""
        n, pairs = self.network, {"prior": self._prior(users, items)}
        context = (
            self._candidate_context(users, items) if n.history == "candidate" else None
        )
        if n.mf_path:
            pairs["mf"] = self._couple_mf(
                users["mf"], items["mf"], context, self.mf_output
            )
        if n.mlp_path:
            pairs["first"] = sum(pair_align(users["first"], items["first"]))  # pyrefly: ignore
            if context is not None:
                pairs["first"] += self.first_mlp(self.mlp_context(context))
            if n.mf_path:
                pairs["first"] += self._couple_mf(
                    users["mf"], items["mf"], context, self.first_mf
                )
        return pairs

    def finish(
        self, pairs: Any, weight: Array | None = None, train: bool = False
    ) -> Array:
        """The dual output: [..., C]."""
        score = self.bias[0] + pairs["prior"][..., 0]
        if self.network.mf_path:
            score += self.final[0] * pairs["mf"][..., 0]
        if self.network.mlp_path:
            score += (
                self.final[1]
                * self.mlp_output(self.tower(pairs["first"], weight, train))[..., 0]
            )
        return score

    def _prior(self, users: Any, items: Any) -> Array:
        """What speaks for each pair before any embedding does: [..., C, 1]."""
        lead = users["first" if self.network.mlp_path else "mf"].shape[:-1]
        prior = jnp.broadcast_to(items["popular"], (*lead, items["popular"].shape[-1]))
        if self.network.biases:
            prior += users["level"]
        return (
            prior
            + had_before(users["had"], users["again"], items["id"], self.sizes.items)
        )[..., None]

    def _candidate_context(self, users: Any, items: Any) -> Array:
        """What each candidate's attention finds in the history: [B, C, D_mlp]."""
        query = items["query"] if items["query"].ndim == 4 else items["query"][None]
        bias = jnp.expand_dims(self.recency, (0, 2))
        mask = attention.mask_of(users["mask"])[:, None, None, :]
        mixed, weights = attention.attend(
            query, users["key"], users["value"], bias, mask
        )
        self.sow("intermediates", "weights", weights)
        return mixed.reshape((*mixed.shape[:-2], -1))

    def _couple_mf(
        self, user: Array, item: Array, context: Array | None, kernel: Array
    ) -> Array:
        """(user * item) @ kernel for every pair, [..., C, K], without the products in memory where it can be."""
        if context is not None:
            user, item = pair_align(user, item)
            return ((user + self.context_to_mf(context)) * item) @ kernel
        if kernel.shape[1] == 1:
            return pair_dot(
                user * kernel.reshape((1,) * (user.ndim - 1) + (-1,)), item
            )[..., None]
        if (
            user.ndim == item.ndim == 2
        ):  # ranking, where XLA would turn the other order round for every tile of items
            return jnp.einsum("cd,bkd->bck", item, user[:, None, :] * kernel.T[None])
        weighed = user[..., :, None] * jnp.expand_dims(
            kernel, tuple(range(user.ndim - 1))
        )
        return jnp.einsum(
            "cd,...dk->...ck" if item.ndim == 2 else "...cd,...dk->...ck", item, weighed
        )
