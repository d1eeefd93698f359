"""How much is worked on at a time: CPUs by their caches, accelerators by their memory."""

from __future__ import annotations

import math

import pytest

from ancf_jax.machine import sizes


@pytest.fixture
def accelerator(monkeypatch):
    """accelerator(bytes) makes the backend a GPU of that memory."""

    def be(memory: float) -> None:
        monkeypatch.setattr(sizes, "backend", lambda: "gpu")
        monkeypatch.setattr(sizes, "memory_of_device", lambda: memory)

    return be


def test_softmax_rows_hold_a_number_of_scores(accelerator):
    assert sizes.softmax_rows(3416) == 613  # 2**21 scores
    assert sizes.softmax_rows(10**6) == 32
    accelerator(math.inf)
    assert sizes.softmax_rows(3416) == 4911  # 2**24 scores


def test_an_accelerator_meets_all_queries_at_once(accelerator):
    assert sizes.query_rows(200) == 64
    accelerator(math.inf)
    assert sizes.query_rows(200) == 200


@pytest.mark.parametrize(
    ("memory", "values"),
    [
        (math.inf, 2**28),
        (80 * 2**30, 2**28),
        (16 * 2**30, 2**26),
        (2.5 * 2**30, 10485760),
    ],
)
def test_a_ranking_takes_a_64th_of_an_accelerator_at_most(accelerator, memory, values):
    accelerator(memory)
    assert sizes.values_per_tile() == values
    assert sizes.values_per_chunk() == values
    assert sizes.values_held() == values


def test_accelerators_take_many_users_in_queues_and_cpus_few_by_threads(accelerator):
    assert (sizes.users_per_block(), sizes.blocks_at_once(1)) == (96, 4)
    assert sizes.small_blocks() == (1, 8, 32)
    assert sizes.ranks_by_threads()
    accelerator(math.inf)
    assert (sizes.users_per_block(), sizes.blocks_at_once(1)) == (4096, 2)
    assert sizes.blocks_at_once(2) == 1
    assert sizes.small_blocks() == (1, 32, 512)
    assert not sizes.ranks_by_threads()
