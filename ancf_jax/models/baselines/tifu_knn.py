"""`tifu_knn`: what this user, and users like it, bought often and lately."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from ancf_jax.config import Config
from ancf_jax.limits import Decay, Size
from ancf_jax.models.baselines.counting import Popularity
from ancf_jax.models.baselines.shared import fold_slice
from ancf_jax.models.registry import Registration
from ancf_jax.types import Array, Catalogue, EventLog, Request, Sizes, Variables

CHUNK = 1 << 13  # entries of the sparse matrix that are multiplied at a time

# Of each event: the lowest place, and the highest, where what is sought may stand.
Bounds = tuple[jax.Array, jax.Array]


@dataclass(frozen=True)
class TifuKnnSettings:
    """The settings of `tifu_knn`."""

    groups: Size = 7
    """Groups that a user's baskets are divided into, by age."""
    within_decay: Decay = 0.9
    """How much of a basket's weight is left with every later basket of its group."""
    group_decay: Decay = 0.7
    """How much of a group's weight is left with every later group."""
    neighbours: Size = 300
    """Number of nearest users whose mean vector counts."""
    alpha: Annotated[float, Interval(ge=0, le=1)] = 0.7
    """Weight of the user's own vector; the rest is that of the neighbours' mean."""


class UserVectors(NamedTuple):
    """V [U, I] with an entry for each distinct item of each user, in coordinate form.

    Attributes:
        user: int32 [S] ascending.
        item: int32 [S] ascending within a user.
        value: float32 [S].
    """

    user: Array
    item: Array
    value: Array


@dataclass(frozen=True)
class TifuKnn(Popularity):
    """score(u, i) = alpha V[u, i] + (1 - alpha) mean of V[n, i] over the nearest users n of u

    V[u] says what u bought often and lately. The baskets of u in the log at hand, N of them, are
    divided from the latest back into groups of ceil(N / groups); the oldest group may be smaller.
    V[u, i] is the mean over the groups, and in each group over its baskets, of

    [i is in the basket] * within_decay^(later baskets of the group) * group_decay^(later groups)

    (an item that stands twice in a basket counts twice).
    The nearest users are the others with the smallest euclidean distance |V[u] - V[n]|, as far as
    they have events. A user without events, or unknown (-1), gets the items' shares of the
    known events. Nothing is fitted: new events of anybody count at once.
    Source: Hu et al. 2020, "Modeling Personalized Item Frequency Information for Next-basket
    Recommendation" (TIFU-KNN).
    """

    settings: TifuKnnSettings

    def encode_users(
        self,
        variables: Variables,
        log: EventLog,
        catalogue: Catalogue,
        request: Request,
    ) -> jax.Array:
        """Scores of the whole catalogue: float32 [B, I]."""
        alpha = self.settings.alpha
        vectors = user_vectors(log, self.settings)
        own = _rows(vectors, log.seen_start, request.user, self.sizes.items)
        distance = _distances(vectors, own, len(log.start) - 1)
        is_other = _is_other(log, request.user)
        share_of_mean = _nearest(distance, is_other, self.settings.neighbours)
        others = _of_neighbours(vectors, share_of_mean, self.sizes.items)
        scores = alpha * own + (1 - alpha) * others
        share = self.shares(variables)
        has_events = own.max(axis=1, keepdims=True) > 0
        return jnp.where(has_events, scores, share[None, :])


def user_vectors(log: EventLog, settings: TifuKnnSettings) -> UserVectors:
    """V of all users of the log."""
    pairs = len(log.seen_item)
    user = jnp.repeat(
        jnp.arange(len(log.start) - 1),
        jnp.diff(log.seen_start),
        total_repeat_length=pairs,
    )
    weight = _weights(log, settings)
    value = jnp.zeros(pairs).at[_places_of_pairs(log)].add(weight)
    return UserVectors(user, log.seen_item, value)


def _weights(log: EventLog, settings: TifuKnnSettings) -> Array:
    """What each event adds to the vector of its user: float32 [N]."""
    ago, baskets = _baskets_ago(log)
    group_size = -(-baskets // settings.groups)
    groups = -(-baskets // group_size)
    group = ago // group_size
    ago_in_group = ago % group_size
    older = baskets - group * group_size
    baskets_of_group = jnp.minimum(group_size, older)
    decay_in_group = settings.within_decay**ago_in_group
    decay_of_group = settings.group_decay**group
    return decay_in_group * decay_of_group / (groups * baskets_of_group)


def _baskets_ago(log: EventLog) -> tuple[Array, Array]:
    """How many baskets ago each event was, and how many its user has: int32 [N] each."""
    number = jnp.arange(len(log.item))
    if log.basket_place is not None:
        number = jnp.cumsum(log.basket_place == 0)
    oldest = number[log.start[log.user]]
    latest = number[log.start[log.user + 1] - 1]
    return latest - number, latest - oldest + 1


def _places_of_pairs(log: EventLog) -> jax.Array:
    """Where the user and item of each event stand in `seen_item`: int32 [N], by bisection."""

    def is_open(bounds: Bounds) -> jax.Array:
        low, high = bounds
        return jnp.any(low < high)

    def halve(bounds: Bounds) -> Bounds:
        low, high = bounds
        middle = (low + high) // 2
        is_below = log.seen_item[middle] < log.item
        low = jnp.where(is_below, middle + 1, low)
        high = jnp.where(is_below, high, middle)
        return low, high

    first = jnp.asarray(log.seen_start[log.user])
    last = jnp.asarray(log.seen_start[log.user + 1]) - 1
    place, _ = jax.lax.while_loop(is_open, halve, (first, last))
    return place


def _rows(vectors: UserVectors, start: Array, user: Array, items: int) -> jax.Array:
    """The rows of V of users [B], 0 for -1: float32 [B, I]."""
    places = jnp.arange(len(vectors.item))

    def visit(row: jax.Array, place: Array) -> jax.Array:
        item = jnp.where(place < 0, items, vectors.item[place])
        return row.at[item].add(vectors.value[place], mode="drop")

    def of_one(user: Array) -> jax.Array:
        return fold_slice(visit, jnp.zeros(items), (places, start), user)

    return jnp.asarray(jax.vmap(of_one)(user))


def _distances(vectors: UserVectors, rows: jax.Array, users: int) -> jax.Array:
    """|V[n] - x|^2 = |V[n]|^2 + |x|^2 - 2 <V[n], x> of every user n and row x: [U, B]."""
    square_of_row = jnp.square(rows).sum(1)
    square_of_value = jnp.square(vectors.value)
    square_of_user = jnp.zeros(users).at[vectors.user].add(square_of_value)
    entries = (vectors.user, vectors.item, vectors.value)
    product = _product(entries, rows.T, users)
    return square_of_user[:, None] + square_of_row[None, :] - 2 * product


def _is_other(log: EventLog, user: Array) -> jax.Array:
    """Whether a user of the log has events and is not the one of users [B]: bool [U, B]."""
    has_events = jnp.diff(log.start) > 0
    number = jnp.arange(len(has_events))
    is_own = number[:, None] == user[None, :]
    return has_events[:, None] & ~is_own


def _nearest(distance: jax.Array, is_other: jax.Array, neighbours: int) -> jax.Array:
    """1 / K for the K nearest of the others, 0 for the rest: float32 [U, B]."""
    users, batch = distance.shape
    closeness = jnp.where(is_other, -distance, -jnp.inf)
    best, user = jax.lax.top_k(closeness.T, min(neighbours, users))
    is_neighbour = best > -jnp.inf
    found = is_neighbour.sum(1, keepdims=True)
    share = is_neighbour / jnp.maximum(found, 1)
    column = jnp.arange(batch)[:, None]
    return jnp.zeros((users, batch)).at[user, column].set(share)


def _of_neighbours(vectors: UserVectors, share: jax.Array, items: int) -> jax.Array:
    """sum_n share[n, b] V[n]: float32 [B, I], from shares [U, B]."""
    entries = (vectors.item, vectors.user, vectors.value)
    return _product(entries, share, items).T


def _product(
    entries: tuple[Array, Array, Array], table: jax.Array, rows: int
) -> jax.Array:
    """The product [rows, B] of a sparse matrix [rows, columns] and `table` [columns, B].

    A chunk of the sparse matrix at a time, so that memory does not grow with its entries.

    Args:
        entries: row, column and value [S] of each entry of the sparse matrix.
        table: the dense matrix.
        rows: number of rows of the sparse matrix.
    """
    row, column, value = entries
    count = len(value)

    def one_chunk(number: jax.Array, sums: jax.Array) -> jax.Array:
        place = number * CHUNK + jnp.arange(CHUNK)
        target = jnp.where(place < count, row[place], rows)
        of_column = table[column[place]]
        products = value[place][:, None] * of_column
        return sums.at[target].add(products, mode="drop")

    chunks = -(-count // CHUNK)
    nothing = jnp.zeros((rows, table.shape[1]))
    return jax.lax.fori_loop(0, chunks, one_chunk, nothing)


def build(config: Config, sizes: Sizes, clock: bool) -> TifuKnn:
    """`tifu_knn` by its settings."""
    return TifuKnn(sizes, config.network)


TIFU_KNN = Registration("tifu_knn", TifuKnnSettings, build, {"epochs": 0}, fitted=True)
