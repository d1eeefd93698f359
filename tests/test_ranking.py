"""Top N and ranks against plain sorting in NumPy; and what is refused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax import ranking
from ancf_jax.errors import UserError
from ancf_jax.ranking import Ranker, best_of
from ancf_jax.training.parallel import device_count, everywhere
from ancf_jax.types import Catalogue, EventLog, Heldout

USERS, ITEMS = 13, 23
RNG = np.random.default_rng(0)
SCORES = RNG.integers(-3, 4, (USERS, ITEMS)).astype(np.float32)  # few values: many ties
SEEN = [
    sorted(RNG.choice(ITEMS, size, replace=False).tolist())
    for size in [3, 0, ITEMS, ITEMS - 4, *range(1, 10)]
]
USER = np.array([0, 3, 2, -1, 1, *range(4, USERS), 0], np.int32)
MINUTE = np.arange(len(USER), dtype=np.int32)


@dataclass(frozen=True)
class ByTable:
    """Scores read off a table, plus the minute of the query where asked: it shows which rows are which."""

    def encode_users(self, variables, log, catalogue, query):
        rows = jnp.where(
            query.user[:, None] >= 0,
            variables["table"][jnp.maximum(query.user, 0)],
            0.0,
        )
        return rows + variables["by_minute"] * query.minute[:, None]

    def encode_items(self, variables, catalogue, items):
        return {"id": items, "twice": jnp.stack([items, items], -1)}

    def score(self, variables, users, items):
        ids = items["id"]
        return (
            users[:, ids] if ids.ndim == 1 else jnp.take_along_axis(users, ids, axis=1)
        )


class Wide(ByTable):
    """The same scores by way of 7 values for each."""

    def score(self, variables, users, items):
        return (
            super().score(variables, users, items)[..., None] * jnp.ones((1, 1, 7))
        ).max(-1)


def make_ranker(table=SCORES, by_minute: float = 0.0, block: int = 4) -> Ranker:
    log = EventLog(*[jnp.zeros(1, jnp.int32)] * len(EventLog._fields))._replace(
        start=jnp.zeros(USERS + 1, jnp.int32),
        seen_item=jnp.asarray(np.concatenate(SEEN), jnp.int32),
        seen_start=jnp.asarray(np.cumsum([0, *map(len, SEEN)]), jnp.int32),
    )
    variables = {"table": jnp.asarray(table), "by_minute": jnp.float32(by_minute)}
    return Ranker(ByTable(), variables, log, Catalogue({}, {}, jnp.zeros(ITEMS)), block)


WAYS = {
    "one chunk": {},
    "chunks of 5": {"VALUES_PER_CHUNK": 4 * 5, "GROUP": 5, "SEEN_SLOTS": 2},
    "tiles of 3": {
        "VALUES_PER_CHUNK": 4 * 12,
        "VALUES_PER_TILE": 4 * 7 * 3,
        "GROUP": 5,
        "SEEN_SLOTS": 3,
    },
    "4 devices": {},
}


@pytest.fixture(scope="module", params=WAYS)
def ranker(request):
    """Over one chunk of items; over several, the last of which overlaps the one before; and on several devices."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in WAYS[request.param].items():
            patch.setattr(ranking, name, value)
        if request.param != "4 devices":
            yield dataclasses.replace(
                make_ranker(), model=Wide() if "tiles" in request.param else ByTable()
            )
        else:
            assert device_count() == 4
            yield dataclasses.replace(make_ranker(block=1), placement=everywhere())


def row_of(user: int, keep_seen: bool) -> np.ndarray:
    """Scores of a user's eligible items, -inf for the others."""
    row = SCORES[user].astype(np.float64) if user >= 0 else np.zeros(ITEMS)
    if user >= 0 and not keep_seen:
        row[SEEN[user]] = -np.inf
    return row


@pytest.mark.parametrize("keep_seen", [True, False])
@pytest.mark.parametrize("n", [7, 99])
def test_top_n_is_what_sorting_gives(ranker, n, keep_seen):
    blocks = list(ranker.top_n(USER, MINUTE, n, keep_seen))
    assert [len(ids) for ids, _ in blocks] == [4, 4, 4, 3]
    found, scores = (np.concatenate(column) for column in zip(*blocks, strict=True))
    assert found.shape == scores.shape == (len(USER), min(n, ITEMS))
    for place, user in enumerate(USER):
        row = row_of(user, keep_seen)
        best = np.lexsort([np.arange(ITEMS), -row])[:n]  # ties by row number
        eligible = row[best] > -np.inf
        np.testing.assert_array_equal(found[place], np.where(eligible, best, -1))
        np.testing.assert_array_equal(scores[place], row[best])


def test_lists_are_short_rather_than_filled_up(ranker):
    [(found, _)] = ranker.top_n(np.array([2, 3], np.int32), MINUTE[:2], 7, False)
    assert (found >= 0).sum(1).tolist() == [
        0,
        4,
    ]  # who has everything, and who has all but four


@pytest.mark.parametrize("width", [3, 4, 29, 40, 41, 97])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_selection_in_two_stages_is_what_sorting_gives(monkeypatch, n, width):
    """Few values, so that ties run within groups, across them and into the rest; rows of -inf alone; infinities."""
    monkeypatch.setattr(ranking, "GROUP", 3)
    rng = np.random.default_rng(width)
    for values in (2, 5, 1000):
        scores = rng.integers(0, values, (53, width)).astype(np.float32)
        scores[rng.random(scores.shape) < rng.random((53, 1))] = -np.inf
        scores[3], scores[4, -1] = -np.inf, np.inf
        best, place, broken = jax.jit(best_of, static_argnums=1)(scores, n)
        expected = np.argsort(-scores, axis=1, kind="stable")[:, :n]
        np.testing.assert_array_equal(place, expected)
        np.testing.assert_array_equal(
            best, np.take_along_axis(scores, expected, axis=1)
        )
        assert not broken.any()


@pytest.mark.parametrize("column", [0, 50, 99])
@pytest.mark.parametrize(
    "nan", [np.float32(np.nan), -np.float32(np.nan)], ids=["+", "-"]
)
def test_a_score_that_is_no_number_is_seen_wherever_it_stands(monkeypatch, column, nan):
    monkeypatch.setattr(ranking, "GROUP", 3)
    scores = np.zeros((5, 100), np.float32)
    scores[2, column] = nan
    assert best_of(jnp.asarray(scores), 2)[2].tolist() == [
        False,
        False,
        True,
        False,
        False,
    ]


def test_chunks_and_tiles_are_as_large_as_is_allowed(monkeypatch):
    monkeypatch.setattr(ranking, "VALUES_PER_CHUNK", 2 * 12)
    monkeypatch.setattr(ranking, "VALUES_PER_TILE", 2 * 7 * 5)
    one = make_ranker()
    side = jnp.zeros((2, ITEMS)), one.item_side
    assert one._sizes(one.variables, *side) == (
        12,
        12,
    )  # the scores are the widest: two chunks of one tile
    wide = dataclasses.replace(one, model=Wide())
    assert wide._sizes(one.variables, *side) == (
        15,
        5,
    )  # 5 tiles of 5: 3 of them, and 3 of them again
    monkeypatch.setattr(ranking, "VALUES_PER_TILE", 1)
    assert wide._sizes(one.variables, *side) == (12, 1)  # a tile has one item at least
    alone = (
        jnp.zeros((1, ITEMS)),
        one.item_side,
    )  # two values an item are read for one score
    assert one._sizes(one.variables, *alone) == (12, 12)


@pytest.mark.parametrize("most", range(1, 30))
def test_chunks_are_of_whole_tiles_and_not_longer_than_the_catalogue(monkeypatch, most):
    monkeypatch.setattr(ranking, "VALUES_PER_TILE", 2 * 7 * most)
    one = dataclasses.replace(make_ranker(), model=Wide())
    for items in range(1, 50):
        part = dataclasses.replace(one, catalogue=Catalogue({}, {}, jnp.zeros(items)))
        width, size = part._sizes(one.variables, jnp.zeros((2, items)), part.item_side)
        assert width <= items
        assert width % size == 0
        assert size <= most


def heldout_of(items: list[list[int]]) -> Heldout:
    return Heldout(
        user=USER,
        minute=MINUTE,
        item=np.concatenate(items).astype(np.int32),
        value=np.ones(sum(map(len, items)), np.float32),
        start=np.cumsum([0, *map(len, items)]).astype(np.int32),
    )


@pytest.mark.parametrize("keep_seen", [True, False])
def test_ranks_are_what_counting_gives(ranker, keep_seen):
    taken = [
        RNG.choice(ITEMS, size, replace=False).tolist()
        for size in np.arange(len(USER)) % 4
    ]
    done: list[tuple[int, int]] = []
    ranks, eligible = ranker.ranks(
        heldout_of(taken), keep_seen, lambda *progress: done.append(progress)
    )
    expected, start = [], [0]
    for user, items in zip(USER, taken, strict=True):
        row = row_of(user, keep_seen)
        expected += [
            ((row > row[i]).sum(), (row == row[i]).sum() - 1, row[i])
            for i in items
            if row[i] > -np.inf
        ]
        start.append(len(expected))
    np.testing.assert_array_equal(
        np.stack([ranks.greater, ranks.equal, ranks.score], 1), expected
    )
    np.testing.assert_array_equal(ranks.start, start)
    np.testing.assert_array_equal(
        ranks.candidates, [(row_of(user, keep_seen) > -np.inf).sum() for user in USER]
    )
    kept = [
        row_of(user, keep_seen)[i] > -np.inf
        for user, items in zip(USER, taken, strict=True)
        for i in items
    ]
    np.testing.assert_array_equal(eligible, kept)
    assert all(kept) == keep_seen
    assert done[-1] == (len(USER), len(USER))


def test_candidates_of_each_user_are_scored(ranker):
    items = RNG.integers(0, ITEMS, (len(USER), 3)).astype(np.int32)
    expected = [row_of(user, True)[row] for user, row in zip(USER, items, strict=True)]
    np.testing.assert_array_equal(
        ranker.candidate_scores(USER, MINUTE, items, block=4), expected
    )


def test_each_query_has_its_own_moment():
    found = np.concatenate(
        [
            scores
            for _, scores in make_ranker(0 * SCORES, by_minute=1.0).top_n(
                USER, MINUTE, 1, True
            )
        ]
    )
    np.testing.assert_array_equal(found[:, 0], MINUTE)


def test_other_variables_replace_the_old_ones_wholly():
    old = make_ranker()
    list(old.top_n(USER, MINUTE, 3, True))
    new = old.with_variables(
        {"table": jnp.asarray(-SCORES), "by_minute": jnp.float32(0)}
    )
    best = np.concatenate([ids for ids, _ in new.top_n(USER[:1], MINUTE[:1], 1, True)])
    assert best[0, 0] == np.argmin(SCORES[0])
    assert next(iter(old.top_n(USER[:1], MINUTE[:1], 1, True)))[0][0, 0] == np.argmax(
        SCORES[0]
    )


def test_scores_that_are_no_numbers_are_refused():
    table = SCORES.copy()
    table[5, 17] = np.nan
    broken, held = make_ranker(table), heldout_of([[0]] * len(USER))
    for ask in (
        lambda: list(broken.top_n(USER, MINUTE, 3, True)),
        lambda: broken.ranks(held, True),
        lambda: broken.candidate_scores(
            USER, MINUTE, np.full((len(USER), 1), 17, np.int32)
        ),
    ):
        with pytest.raises(UserError, match="NaN"):
            ask()


def test_the_memory_of_scoring_is_bounded_by_the_block(monkeypatch):
    """No array with users x items of all queries is ever made, whatever their number."""
    seen: list[tuple[int, ...]] = []
    original = ByTable.encode_users

    def spy(self, variables, log, catalogue, query):
        seen.append(query.user.shape)
        return original(self, variables, log, catalogue, query)

    monkeypatch.setattr(ByTable, "encode_users", spy)
    ranker = make_ranker()
    list(ranker.top_n(USER, MINUTE, 3, False))
    ranker.ranks(heldout_of([[0]] * len(USER)), False)
    assert seen == [(4,), (4,)]  # traced once each, for a block
