"""Top N and ranks against plain sorting in NumPy; and what is refused."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ancf_jax.errors import UserError
from ancf_jax.machine import precision, sizes
from ancf_jax.machine.parallel import device_count
from ancf_jax.ranking import Ranker
from ancf_jax.ranking.programs import top_items
from ancf_jax.types import Catalogue, EventLog, Heldout
from ancf_jax.view import Silent

USERS = 13
ITEMS = 23
RNG = np.random.default_rng(0)
SCORES = RNG.integers(-3, 4, (USERS, ITEMS)).astype(np.float32)  # few values: many ties
SEEN = [
    sorted(RNG.choice(ITEMS, number, replace=False).tolist())
    for number in [3, 0, ITEMS, ITEMS - 4, *range(1, 10)]
]
USER = np.array([0, 3, 2, -1, 1, *range(4, USERS), 0], np.int32)
MINUTE = np.arange(len(USER), dtype=np.int32)


@dataclass(frozen=True)
class ByTable:
    """Scores read off a table, plus the minute where asked: it shows which rows are which."""

    def encode_users(self, variables, log, catalogue, request):
        is_known = request.user[:, None] >= 0
        rows = variables["table"][jnp.maximum(request.user, 0)]
        rows = jnp.where(is_known, rows, 0.0)
        return rows + variables["by_minute"] * request.minute[:, None]

    def encode_items(self, variables, catalogue, items):
        return {"id": items, "twice": jnp.stack([items, items], -1)}

    def score(self, variables, users, items):
        ids = items["id"]
        if ids.ndim == 1:
            return users[:, ids]
        return jnp.take_along_axis(users, ids, axis=1)


class Wide(ByTable):
    """The same scores by way of 7 values for each."""

    def score(self, variables, users, items):
        scores = super().score(variables, users, items)
        return (scores[..., None] * jnp.ones((1, 1, 7))).max(-1)


class Recorded(Silent):
    """A view that keeps the progress."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int, int]] = []

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        self.done.append((title, done, total))


def make_log() -> EventLog:
    """No events, only what was seen."""
    nothing = jnp.zeros(1, jnp.int32)
    blank = EventLog(*[nothing] * len(EventLog._fields))
    seen_start = np.cumsum([0, *map(len, SEEN)])
    return blank._replace(
        start=jnp.zeros(USERS + 1, jnp.int32),
        seen_item=jnp.asarray(np.concatenate(SEEN), jnp.int32),
        seen_start=jnp.asarray(seen_start, jnp.int32),
    )


def variables_of(table, by_minute: float = 0.0):
    return {"table": jnp.asarray(table), "by_minute": jnp.float32(by_minute)}


def make_ranker(
    table=SCORES,
    by_minute: float = 0.0,
    block: int = 4,
    model=ByTable(),
    devices: int = 1,
) -> Ranker:
    return Ranker(
        model=model,
        variables=variables_of(table, by_minute),
        log=make_log(),
        catalogue=Catalogue({}, {}, jnp.zeros(ITEMS)),
        block=block,
        devices=devices,
    )


# Constants to set, by where they stand in the library, and arguments of `make_ranker`.
WAYS = {
    "one chunk": ({}, {}),
    "chunks of 5": (
        {
            "machine.sizes.VALUES_PER_CHUNK": 4 * 5,
            "ranking.top_k.GROUP": 5,
            "ranking.ranker.SEEN_SLOTS": 2,
        },
        {},
    ),
    "tiles of 3": (
        {
            "machine.sizes.VALUES_PER_CHUNK": 4 * 12,
            "machine.sizes.VALUES_PER_TILE": 4 * 7 * 3,
            "ranking.top_k.GROUP": 5,
            "ranking.ranker.SEEN_SLOTS": 3,
        },
        {"model": Wide()},
    ),
    "queue of an accelerator": (
        {
            "machine.sizes.backend": lambda: "gpu",
            "machine.sizes.ACCELERATOR_VALUES": 4 * 7,
        },
        {},
    ),
    "2 devices": ({}, {"block": 2, "devices": 2}),
    "4 devices": ({}, {"block": 1, "devices": 4}),
}


@pytest.fixture(scope="module", params=WAYS)
def ranker(request):
    """Over one chunk; over several, the last of which overlaps; and on several devices."""
    assert device_count() == 4
    constants, arguments = WAYS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        for place, value in constants.items():
            patch.setattr(f"ancf_jax.{place}", value)
        yield make_ranker(**arguments)


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
    assert [len(items) for items, _ in blocks] == [4, 4, 4, 3]
    found, scores = (np.concatenate(column) for column in zip(*blocks, strict=True))
    assert found.shape == scores.shape == (len(USER), min(n, ITEMS))
    for user, items, own_scores in zip(USER, found, scores, strict=True):
        row = row_of(user, keep_seen)
        order = np.lexsort([np.arange(ITEMS), -row])  # ties by row number
        best = order[:n]
        expected = np.where(row[best] > -np.inf, best, -1)
        assert_array_equal(items, expected)
        assert_array_equal(own_scores, row[best])


AMONG = np.arange(ITEMS) % 3 == 1


@pytest.mark.parametrize("keep_seen", [True, False])
def test_top_n_among_some_items_is_what_sorting_these_gives(ranker, keep_seen):
    blocks = list(ranker.among(AMONG).top_n(USER, MINUTE, 5, keep_seen))
    found = np.concatenate([items for items, _ in blocks])
    for user, items in zip(USER, found, strict=True):
        row = np.where(AMONG, row_of(user, keep_seen), -np.inf)
        best = np.lexsort([np.arange(ITEMS), -row])[:5]
        assert_array_equal(items, np.where(row[best] > -np.inf, best, -1))


def test_ranks_among_some_items_count_these_alone(ranker):
    """What is not among them cannot be ranked."""
    taken = [[4, 6]] * len(USER)
    ranks, eligible = ranker.among(AMONG).ranks(heldout_of(taken), True)
    assert_array_equal(eligible, [True, False] * len(USER))
    assert_array_equal(ranks.candidates, AMONG.sum())
    greater = [
        (row_of(user, True)[AMONG] > row_of(user, True)[4]).sum() for user in USER
    ]
    assert_array_equal(ranks.greater, greater)


@pytest.mark.parametrize("keep_seen", [True, False])
def test_totals_are_over_all_eligible_items(ranker, keep_seen):
    """Minus infinity for the user who has everything; the lists are those of `top_n`."""
    blocks = list(ranker.top_n_with_totals(USER, MINUTE, 7, keep_seen))
    items, scores, totals = map(np.concatenate, zip(*blocks, strict=True))
    rows = np.stack([row_of(user, keep_seen) for user in USER])
    assert_allclose(totals, np.logaddexp.reduce(rows, axis=1), rtol=1e-6)
    plain = list(ranker.top_n(USER, MINUTE, 7, keep_seen))
    plain_items, plain_scores = map(np.concatenate, zip(*plain, strict=True))
    assert_array_equal(items, plain_items)
    assert_array_equal(scores, plain_scores)


def test_lists_are_short_rather_than_filled_up(ranker):
    """One user has everything, the other all but four."""
    users = np.array([2, 3], np.int32)
    [(found, _)] = ranker.top_n(users, MINUTE[:2], 7, False)
    assert (found >= 0).sum(1).tolist() == [0, 4]


def heldout_of(items: list[list[int]]) -> Heldout:
    item = np.concatenate(items)
    start = np.cumsum([0, *map(len, items)])
    return Heldout(
        user=USER,
        minute=MINUTE,
        item=item.astype(np.int32),
        value=np.ones(len(item), np.float32),
        start=start.astype(np.int32),
    )


@pytest.mark.parametrize("keep_seen", [True, False])
def test_ranks_are_what_counting_gives(ranker, keep_seen):
    taken = [
        RNG.choice(ITEMS, size, replace=False).tolist()
        for size in np.arange(len(USER)) % 4
    ]
    view = Recorded()
    ranks, eligible = ranker.ranks(heldout_of(taken), keep_seen, view)
    expected = []
    start = [0]
    kept = []
    for user, items in zip(USER, taken, strict=True):
        row = row_of(user, keep_seen)
        for item in items:
            score = row[item]
            is_eligible = score > -np.inf
            kept.append(is_eligible)
            if is_eligible:
                greater = (row > score).sum()
                equal = (row == score).sum() - 1
                expected.append((greater, equal, score))
        start.append(len(expected))
    found = np.stack([ranks.greater, ranks.equal, ranks.score], 1)
    assert_array_equal(found, expected)
    assert_array_equal(ranks.start, start)
    rows = np.stack([row_of(user, keep_seen) for user in USER])
    is_candidate = rows > -np.inf
    candidates = is_candidate.sum(1)
    assert_array_equal(ranks.candidates, candidates)
    assert_array_equal(eligible, kept)
    assert all(kept) == keep_seen
    assert view.done[-1] == ("ranking", len(USER), len(USER))


def test_candidates_of_each_user_are_scored(ranker):
    items = RNG.integers(0, ITEMS, (len(USER), 3)).astype(np.int32)
    expected = [row_of(user, True)[row] for user, row in zip(USER, items, strict=True)]
    found = ranker.candidate_scores(USER, MINUTE, items, block=4)
    assert_array_equal(found, expected)


def test_nobody_has_no_candidates():
    nobody = USER[:0]
    nothing = np.zeros((0, 3), np.int32)
    assert make_ranker().candidate_scores(nobody, nobody, nothing).shape == (0, 3)


def test_each_request_has_its_own_moment():
    ranker = make_ranker(0 * SCORES, by_minute=1.0)
    blocks = ranker.top_n(USER, MINUTE, 1, True)
    found = np.concatenate([scores for _, scores in blocks])
    assert_array_equal(found[:, 0], MINUTE)


def best_item_of_first(ranker: Ranker) -> int:
    [(items, _)] = ranker.top_n(USER[:1], MINUTE[:1], 1, True)
    return int(items[0, 0])


def test_other_variables_replace_the_old_ones_wholly():
    old = make_ranker()
    list(old.top_n(USER, MINUTE, 3, True))
    new = old.with_variables(variables_of(-SCORES))
    assert best_item_of_first(new) == np.argmin(SCORES[0])
    assert best_item_of_first(old) == np.argmax(SCORES[0])


def test_scores_that_are_no_numbers_are_refused():
    table = SCORES.copy()
    table[5, 17] = np.nan
    broken = make_ranker(table)
    held = heldout_of([[0]] * len(USER))
    candidates = np.full((len(USER), 1), 17, np.int32)
    with pytest.raises(UserError, match="NaN"):
        list(broken.top_n(USER, MINUTE, 3, True))
    with pytest.raises(UserError, match="NaN"):
        broken.ranks(held, True)
    with pytest.raises(UserError, match="NaN"):
        broken.candidate_scores(USER, MINUTE, candidates)


def test_the_memory_of_scoring_is_bounded_by_the_block(monkeypatch):
    """No array with users x items of all requests is ever made, whatever their number."""
    traced: list[tuple[int, ...]] = []
    original = ByTable.encode_users

    def spy(self, variables, log, catalogue, request):
        traced.append(request.user.shape)
        return original(self, variables, log, catalogue, request)

    monkeypatch.setattr(ByTable, "encode_users", spy)
    ranker = make_ranker()
    list(ranker.top_n(USER, MINUTE, 3, False))
    ranker.ranks(heldout_of([[0]] * len(USER)), False)
    assert traced == [(4,), (4,)]  # traced once each, for a block


class ByProduct(ByTable):
    """The same scores as products with the rows of the unit matrix."""

    def score(self, variables, users, items):
        rows = jax.nn.one_hot(items["id"], ITEMS)
        return users @ rows.T


def test_products_of_a_ranking_are_float32_on_accelerators(monkeypatch):
    """There JAX's own choice is a faster product of fewer bits, which would change ranks."""
    monkeypatch.setattr(precision, "backend", lambda: "gpu")
    ranker = make_ranker(model=ByProduct())
    program = ranker._program(top_items, 0, 3, False)
    user = np.zeros(4, np.int32)
    text = program.lower(ranker._tables, user, user).as_text()
    assert re.findall(r"precision = \[(\w+, \w+)\]", text) == ["HIGHEST, HIGHEST"]


def test_lists_are_not_computed_far_ahead_of_a_slow_consumer():
    computed: list[int] = []

    class Watched(ByTable):
        def encode_users(self, variables, log, catalogue, request):
            jax.debug.callback(lambda: computed.append(1))
            return super().encode_users(variables, log, catalogue, request)

    users = np.zeros(60, np.int32)
    ahead = sizes.BLOCKS_AT_ONCE + sizes.WAITING_BLOCKS
    lists = make_ranker(block=1, model=Watched()).top_n(users, users, 3, True)
    for taken, _ in enumerate(islice(lists, 5), start=1):
        time.sleep(0.2)  # in which all would be computed
        assert len(computed) <= taken + ahead
    jax.effects_barrier()
    assert len(computed) >= 5, "blocks are counted"
