"""Chunks and tiles: as large as is allowed, whole, and within the catalogue."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from ancf_jax.ranking.tiles import chunk_sizes

ITEMS = 23


def read_off(users, items):
    """Scores [B, C] that are read off a table."""
    return users[:, items["id"]]


def by_way_of_seven(users, items):
    """The same scores by way of 7 values for each."""
    return (read_off(users, items)[..., None] * jnp.ones((1, 1, 7))).max(-1)


def sizes_of(score, users: int = 2, items: int = ITEMS) -> tuple[int, int]:
    ids = jnp.arange(items)
    item_side = {"id": ids, "twice": jnp.stack([ids, ids], -1)}
    return chunk_sizes(score, jnp.zeros((users, items)), item_side, items)


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    """allowed(NAME=number) sets how much is allowed."""

    def allow(**numbers: int) -> None:
        for name, number in numbers.items():
            monkeypatch.setattr(f"ancf_jax.machine.sizes.{name}", number)

    return allow


def test_chunks_and_tiles_are_as_large_as_is_allowed(allowed):
    allowed(VALUES_PER_CHUNK=2 * 12, VALUES_PER_TILE=2 * 7 * 5)
    # The scores are the largest result: two chunks of one tile.
    assert sizes_of(read_off) == (12, 12)
    # 5 tiles of 5: 3 of them, and 3 of them again.
    assert sizes_of(by_way_of_seven) == (15, 5)
    # Two values an item are read for one score.
    assert sizes_of(read_off, users=1) == (12, 12)
    # A tile has one item at least.
    allowed(VALUES_PER_TILE=1)
    assert sizes_of(by_way_of_seven) == (12, 1)


@pytest.mark.parametrize("most", range(1, 30))
def test_chunks_are_of_whole_tiles_and_not_longer_than_the_catalogue(allowed, most):
    allowed(VALUES_PER_TILE=2 * 7 * most)
    for items in range(1, 50):
        chunk, tile = sizes_of(by_way_of_seven, items=items)
        assert chunk <= items
        assert chunk % tile == 0
        assert tile <= most
