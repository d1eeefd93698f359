"""`ancf`: Attention Neural Collaborative Filtering, the flagship."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.config import NetworkConfig
from ancf_jax.data.followers import joined, lifts
from ancf_jax.models.protocol import PairModule
from ancf_jax.modules import attention
from ancf_jax.modules.embeddings import embedding_bag, had_before, lookup, pair_align, pair_dot, repeat
from ancf_jax.modules.heads import Dense, Tower
from ancf_jax.modules.hierarchy import level_attention
from ancf_jax.modules.temporal import temporal_encoding
from ancf_jax.types import Array, Catalogue, Prior, Query

Reach = tuple[Array, Array | None]  # what a position may look at, and how long ago that was; see `Ancf._reach`


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


SWIFT = 10.0  # what weighs having had an item has far to go, and Adam moves a parameter by its rate at most
FEW = -5.0 / SWIFT  # at first, having had an item is as much as a share of exp(-5) in all events
FIRM = 20.0  # events that speak for the average habit
LATEST = 3  # events whose followers are likely now


def habit(repeats: Array, events: Array, share: Array) -> Array:
    """log of how much likelier an event repeats one than others do: (repeats + FIRM share) / (events + FIRM) / share."""
    return jnp.log((repeats + FIRM * share) / (events + FIRM) / share)


def _aged(join: Callable[..., Array], weights: list[Array], gap: Array | None, rows: int) -> Array:
    """What `join` makes of weights by distance and by gap, for each position and each token before it: [B, L, L]."""
    by_distance = repeat(attention.distance_bias(weights[0][None])[0, 0], rows)
    return by_distance if gap is None else join(by_distance, weights[1][gap])


class Ancf(PairModule):
    """Two embedding paths, attention over history, time, and the category hierarchy, in one dual output.

    MF path:  mf = (user_mf + context) * (item_mf + hierarchy), mf_output = Dense(D_mf -> 1)
    MLP path: mlp = Dense(concat(user_mlp, item_mlp, context)), then
              concat(mf, mlp, hierarchy, temporal) -> Dense hidden[0] -> ReLU -> BatchNorm -> Dropout -> tower,
              mlp_output = Dense(hidden[-1] -> 1)
    score = Dense(2 -> 1)(mf_output, mlp_output) + prior; its sigmoid is the probability of an interaction.
    prior = sum_l factor_l + log(share^popular + habit sum_l exp(amount_l)) over the events l of the history that were
    of this very item, share = (1 + its events) / (1 + all events); factor and amount are learned by how many events
    ago, and how long ago, l was: what was just had may be less likely, and of what is had often more is had; habit is
    a product of powers, learned, of how often the user, and others this item, had things again (see `habit`);
    with `followers`, + log(1 + sum_m exp(follow_m) lift_m) over the latest events m, the lift being how much likelier
    this item is soon after m than at all (see `data.followers`): pairs too rare for embeddings to hold

    `context` is what attention over the history makes of the past, for now: by causal self-attention
    (the same for all candidates) or by attention that each candidate directs at the history. Every
    part has a switch in `NetworkConfig`. The Dense over a concatenation is computed as a sum of its
    parts, so the item side is precomputed once and the user side once per query.
    """

    TABLES: ClassVar[dict[str, str]] = {f"{of}_{what}": of for of in ("user", "item") for what in ("mf", "mlp", "bias")}
    network: NetworkConfig

    def setup(self) -> None:  # a Dense that is never called has no parameters
        n, init, bare = self.network, nn.initializers, partial(Dense, use_bias=False)
        rows = {"user": self.sizes.users, "item": self.sizes.items}
        paths = {"mf": (n.embedding_size, 0.1), "mlp": (n.mlp_size, 1.0)}  # at first the prior alone speaks
        self.tables = {
            (name := f"{of}_{path}"): self.param(name, init.normal(scale * width**-0.5), (rows[of], width))
            for path, (width, scale) in paths.items()
            for of in rows
        }
        self.user_feature_tables = self._feature_tables("user", self.sizes.user_features)
        self.levels = self._feature_tables("level", self.sizes.item_features) if n.hierarchy else {}
        self.level_query, self.temporal = Dense(n.mlp_size), Dense(n.mlp_size)
        self.encoder = attention.CausalEncoder(n.layers, n.heads, n.dropout)
        self.query, self.key, self.value = (Dense(n.mlp_size) for _ in range(3))
        self.now_to_token, self.mf_to_token = (bare(n.mlp_size) for _ in range(2))
        if n.history != "none":
            self.nothing_yet = self.param("nothing_yet", init.normal(n.mlp_size**-0.5), (n.mlp_size,))
        if n.history == "candidate":
            self.recency = self.param("recency", init.zeros, (n.heads, n.history_length))
        self.context_to_mf, self.hierarchy_to_mf = (bare(n.embedding_size) for _ in range(2))
        self.mlp_user, self.mlp_item, self.mlp_context = (bare(n.mlp_size) for _ in range(3))
        self.first_mlp, self.first_hierarchy = (bare(n.hidden[0]) for _ in range(2))
        self.first_temporal = Dense(n.hidden[0])
        self.tower = Tower(n.hidden, n.dropout, normalise=True)
        self.mlp_output = Dense(1, kernel_init=init.zeros)  # at first the MF path alone speaks
        if n.mf_path:
            self.mf_output = self.param("mf_output", init.ones, (n.embedding_size, 1))
        if n.mf_path and n.mlp_path:
            self.first_mf = self.param("first_mf", init.lecun_normal(), (n.embedding_size, n.hidden[0]))
        if n.popularity:
            self.popular = self.param("popular", init.ones, (1,))
        if n.biases:
            self.biases = {of: self.param(f"{of}_bias", init.zeros, (count, 1)) for of, count in rows.items()}
        if n.repeats and n.history != "none":
            self.factor, self.amount = self._by_age("factor", 0.0), self._by_age("amount", FEW)
            self.habit = self.param("habit", init.constant(1 / SWIFT), (2,))  # of the item and of the user
        if n.followers:
            self.follow = self.param("follow", init.constant(-1 / SWIFT), (LATEST,))
        self.final = self.param("final", init.ones, (2,))
        self.bias = self.param("bias", init.zeros, (1,))

    def _feature_tables(self, prefix: str, features: tuple[tuple[str, int], ...]) -> dict[str, Array]:
        size = self.network.mlp_size
        init = nn.initializers.normal(size**-0.5)
        return {name: self.param(f"{prefix}_{name}", init, (max(values, 1), size)) for name, values in features}

    def _by_age(self, name: str, start: float) -> tuple[Array, ...]:
        """Weights by how many events ago, and, where there is a clock, by how long ago."""
        by_distance = self.param(f"{name}_distance", nn.initializers.constant(start), (self.network.history_length,))
        gap = (self.param(f"{name}_gap", nn.initializers.zeros, (attention.GAPS,)),) if self.network.temporal else ()
        return by_distance, *gap

    def hierarchy(self, catalogue: Catalogue, items: Array) -> Array:
        """Department and category of items, weighed by attention: [..., D_mlp]; zero for an item without any."""
        bags = {name: jnp.take(catalogue.item_features[name], items, axis=0) for name in self.levels}
        pooled = [embedding_bag(self.levels[name], ids, self.network.pooling) for name, ids in bags.items()]
        present = jnp.stack([(ids >= 0).any(-1) for ids in bags.values()], -1)
        asked = self.level_query(lookup(self.tables["item_mlp"], items))
        mixed, weights = level_attention(asked, jnp.stack(pooled, -2), present)
        self.sow("intermediates", "level_weights", weights)
        return mixed

    def when(self, minute: Array) -> Array:
        """Temporal encoding of minutes [...], projected to [..., D_mlp]."""
        return self.temporal(temporal_encoding(minute, self.network.temporal, 32, self.network.max_period))

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
            x = x + self.when(query.token_minute) + self.now_to_token(self.when(moments(query)))
        return jnp.where((query.token >= 0)[..., None], x, self.nothing_yet[None, None])

    def encode_users(self, catalogue: Catalogue, query: Query, train: bool = False) -> Any:
        """User side: `mf` [B, D_mf], `first` [B, hidden[0]], and `key`, `value`, `mask` for candidate attention."""
        reach, user = self._reach(query), self._forget(query.user, train)
        moment, context = self.context(catalogue, query, reach, train)
        side = self._user_mf(user, context) | self._user_first(catalogue, user, moment, context)
        side |= self._again(catalogue, query, reach)
        if self.network.biases:
            side["level"] = lookup(self.biases["user"], user)
        if self.network.history == "candidate":
            tokens = self.tokens(catalogue, query)
            key, value = (attention.split_heads(part(tokens), self.network.heads) for part in (self.key, self.value))
            side |= {"key": key, "value": value, "mask": query.segment >= 0}
        return side

    def _reach(self, query: Query) -> Reach:
        """What each position may look at, a mask [B, 1, L, L], and the bucket [B, L, L] of how long ago that was."""
        gap = attention.gap_bucket(moments(query), query.token_minute) if self.network.temporal else None
        return attention.causal_mask(query.segment), gap

    def context(self, catalogue: Catalogue, query: Query, reach: Reach, train: bool = False) -> tuple[Array, Array]:
        """The moment, and what causal attention makes of the past for it: both as `query.minute`, by D_mlp."""
        n = self.network
        moment = self.when(query.minute) if n.temporal else jnp.zeros((*query.minute.shape, n.mlp_size))
        if n.history != "causal":
            return moment, moment
        last = query.minute.ndim == 1
        states = self.encoder(self.tokens(catalogue, query), *reach, train, last)
        return moment, moment + (states[:, 0] if last else states)

    def _forget(self, user: Array, train: bool) -> Array:
        """The users, in training some of them as if unknown where there is a history to tell them apart."""
        share = self.network.user_dropout if train and self.network.history != "none" else 0.0
        if not share:
            return user
        return jnp.where(jax.random.bernoulli(self.make_rng("dropout"), share, user.shape), -1, user)

    def _again(self, catalogue: Catalogue, query: Query, reach: Reach) -> dict[str, Any]:
        """The items of the history, and what having had each adds: `had` and `again`, both [B, L] or [B, L, L]."""
        (mask, gap), token = reach, query.token
        if not self.network.repeats or self.network.history == "none":
            return {}
        rows, order = slice(-1 if query.minute.ndim == 1 else 0, None), jnp.arange(token.shape[1])
        known = (mask[:, 0, rows] > attention.HIDDEN) & (token >= 0)[:, None, :]
        equal = (x[:, :, None] == x[:, None, :] for x in (jnp.where(token < 0, -1 - order[None], token), query.segment))
        same = jnp.logical_and(*equal)
        later = jnp.where(jnp.tril(same, -1), order[None, :, None], len(order)).min(1)  # where the item was had again
        item, user = self._habits(catalogue, token, known, same)
        amount = _aged(jnp.multiply, [jnp.exp(SWIFT * x) for x in self.amount], gap, len(token))[:, rows]
        factor = _aged(jnp.add, [SWIFT * x for x in self.factor], gap, len(token))[:, rows]
        each = jnp.where(
            known, amount * jnp.exp(item - self._popular(catalogue, jnp.maximum(token, 0)))[:, None, :], 0.0
        )
        # Much data holds nothing twice in a history, and is spared the product.
        total = jax.lax.cond((later < len(order)).any(), lambda x: x @ same.astype(x.dtype), lambda x: x, each)
        newest = later[:, None, :] > order[None, rows, None]
        more = jnp.where(newest, jnp.log1p(total * jnp.exp(user)[..., None]), 0.0)
        again = jnp.where(known, factor + more, 0.0)
        side = {"had": jnp.where(known, token[:, None, :], self.sizes.items), "again": again}
        if self.network.followers:
            follows = self._followers(catalogue, query, known, same)
            side = {name: jnp.concatenate([x, follows[name]], -1) for name, x in side.items()}
        return side if query.minute.ndim == 2 else {name: x[:, 0] for name, x in side.items()}

    def _followers(self, catalogue: Catalogue, query: Query, known: Array, same: Array) -> dict[str, Array]:
        """What tends to follow the latest events, at the positions Q, and what it adds: as of `_again`, [B, Q, K].

        Nothing at the end of a window: what came there is no token of it, and could not be left out of the counts.
        """
        rows, length = known.shape[1:]
        place = (
            jnp.arange(length - rows, length)[:, None] - jnp.arange(LATEST)[None]
        )  # below 0: at the end, not yet known
        near = known[:, jnp.arange(rows)[:, None], place] * jnp.exp(SWIFT * self.follow)[None, None]
        if query.minute.ndim == 2:
            near *= (jnp.diff(query.segment, axis=1, append=-2) == 0)[..., None]
        follower, lift = (x[:, place] for x in lifts(catalogue, query, same.astype(jnp.float32)))
        return dict(zip(("had", "again"), joined(follower, near[..., None] * lift), strict=True))

    def _habits(self, catalogue: Catalogue, token: Array, known: Array, same: Array) -> tuple[Array, Array]:
        """How prone items [B, L] and users at each position [B, Q] are to repeat: factors of amounts, as logs.

        Of an item that is how others had it: without the user's own events, those to come among them, which would tell.
        """
        share, own, item = (catalogue.repeated + 1) / (catalogue.events + 1), same.sum(-1), jnp.maximum(token, 0)
        repeats, events = jnp.asarray(catalogue.repeats)[item] - own + 1, jnp.asarray(catalogue.popularity)[item] - own
        of_item = habit(jnp.maximum(repeats, 0), jnp.maximum(events, 0), share)
        more = jnp.stack([jnp.tril(same, -1).any(-1), token >= 0], -1).astype(jnp.float32)
        repeats, events = jnp.moveaxis(jnp.einsum("bql,blk->bqk", known.astype(jnp.float32), more), -1, 0)
        return SWIFT * self.habit[0] * of_item, SWIFT * self.habit[1] * habit(repeats, events, share)

    def _user_mf(self, user: Array, context: Array) -> dict[str, Array]:
        if not self.network.mf_path:
            return {}
        return {"mf": lookup(self.tables["user_mf"], user) + self.context_to_mf(context)}

    def _user_first(self, catalogue: Catalogue, user: Array, moment: Array, context: Array) -> dict[str, Array]:
        """The user side's share in the first layer: the bag of the user's own row and features, context and moment."""
        if not self.network.mlp_path:
            return {}
        row = lookup(self.tables["user_mlp"], user)
        for name, table in self.user_feature_tables.items():
            ids = lookup(catalogue.user_features[name] + 1, user) - 1  # unknown users have no feature
            row = row + embedding_bag(table, ids, self.network.pooling)
        mlp = self.mlp_user(row) + self.mlp_context(context)
        return {"first": self.first_mlp(mlp) + self.first_temporal(moment)}

    def encode_items(self, catalogue: Catalogue, items: Array) -> Any:
        """Item side: `mf` [..., C, D_mf], `first` [..., C, hidden[0]], `id` and `popular` [..., C], and `query` for
        candidate attention."""
        n, side = self.network, {"id": items, "popular": self._popular(catalogue, items)}
        if n.biases:
            side["popular"] += lookup(self.biases["item"], items)[..., 0]
        row = lookup(self.tables["item_mlp"], items)
        hierarchy = self.hierarchy(catalogue, items) if self.levels else jnp.zeros_like(row)
        if n.mf_path:
            side["mf"] = lookup(self.tables["item_mf"], items) + self.hierarchy_to_mf(hierarchy)
        if n.mlp_path:
            side["first"] = self.first_mlp(self.mlp_item(row)) + self.first_hierarchy(hierarchy)
        if n.history == "candidate":
            side["query"] = attention.split_heads(self.query(row + hierarchy), n.heads)
        return side

    def _popular(self, catalogue: Catalogue, items: Array) -> Array:
        """The items' share in the prior, [..., C]: what is popular is likely."""
        if not self.network.popularity:
            return jnp.zeros(items.shape)
        events = jnp.asarray(catalogue.popularity)[items]
        return self.popular[0] * (jnp.log1p(events) - jnp.log1p(catalogue.events))

    def forward_window(
        self, catalogue: Catalogue, query: Query, chosen: Array, weight: Array, train: bool = False
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
        items = self.encode_items(catalogue, jnp.arange(self.sizes.items, dtype=jnp.int32))
        side, mf = self._user_mf(user, context) | self._again(catalogue, query, reach), None
        if self.network.mf_path:
            rows = jnp.einsum("...d,dk->...d", side["mf"], self.final[0] * self.mf_output)
            none = jnp.zeros((*query.user.shape, 0))
            prior = Prior(items["popular"], side.get("had", none.astype(jnp.int32)), side.get("again", none))
            mf = rows, items["mf"], prior
        few = {name: _at(rows, chosen) for name, rows in side.items()}
        user, moment, context = _at(user[..., None], chosen)[..., 0], _at(moment, chosen), _at(context, chosen)
        pairs = self.couple(few | self._user_first(catalogue, user, moment, context), items)
        return mf, self.finish(pairs, jnp.broadcast_to(weight[..., None], (*weight.shape, self.sizes.items)), train)

    def couple(self, users: Any, items: Any) -> Any:
        """The prior [..., C, 1], the MF output `mf` [..., C, 1] and the MLP path's `first` layer [..., C, hidden[0]]."""
        n, pairs = self.network, {"prior": self._prior(users, items)}
        context = self._candidate_context(users, items) if n.history == "candidate" else None
        if n.mf_path:
            pairs["mf"] = self._couple_mf(users["mf"], items["mf"], context, self.mf_output)
        if n.mlp_path:
            user, item = pair_align(users["first"], items["first"])
            pairs["first"] = user + item
            if context is not None:
                pairs["first"] += self.first_mlp(self.mlp_context(context))
            if n.mf_path:
                pairs["first"] += self._couple_mf(users["mf"], items["mf"], context, self.first_mf)
        return pairs

    def finish(self, pairs: Any, weight: Array | None = None, train: bool = False) -> Array:
        """The dual output: [..., C]."""
        score = self.bias[0] + pairs["prior"][..., 0]
        if self.network.mf_path:
            score += self.final[0] * pairs["mf"][..., 0]
        if self.network.mlp_path:
            score += self.final[1] * self.mlp_output(self.tower(pairs["first"], weight, train))[..., 0]
        return score

    def _prior(self, users: Any, items: Any) -> Array:
        """What speaks for each pair before any embedding does: [..., C, 1]."""
        lead = users["first" if self.network.mlp_path else "mf"].shape[:-1]
        prior = jnp.broadcast_to(items["popular"], (*lead, items["popular"].shape[-1]))
        if self.network.biases:
            prior += users["level"]
        if "had" in users:
            prior += had_before(users["had"], users["again"], items["id"], self.sizes.items)
        return prior[..., None]

    def _candidate_context(self, users: Any, items: Any) -> Array:
        """What each candidate's attention finds in the history: [B, C, D_mlp]."""
        query = items["query"] if items["query"].ndim == 4 else items["query"][None]
        bias = jnp.expand_dims(self.recency, (0, 2))
        mask = attention.mask_of(users["mask"])[:, None, None, :]
        mixed, weights = attention.attend(query, users["key"], users["value"], bias, mask)
        self.sow("intermediates", "weights", weights)
        return mixed.reshape((*mixed.shape[:-2], -1))

    def _couple_mf(self, user: Array, item: Array, context: Array | None, kernel: Array) -> Array:
        """(user * item) @ kernel for every pair, [..., C, K], without the products in memory where it can be."""
        if context is not None:
            user, item = pair_align(user, item)
            return ((user + self.context_to_mf(context)) * item) @ kernel
        if kernel.shape[1] == 1:
            return pair_dot(user * kernel.reshape((1,) * (user.ndim - 1) + (-1,)), item)[..., None]
        weighed = user[..., :, None] * jnp.expand_dims(kernel, tuple(range(user.ndim - 1)))
        return jnp.einsum("cd,...dk->...ck" if item.ndim == 2 else "...cd,...dk->...ck", item, weighed)
