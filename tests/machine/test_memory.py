"""How much memory there is, and which errors say that it did not suffice."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import pytest

from ancf_jax.machine import memory
from ancf_jax.machine.memory import (
    is_out_of_memory,
    memory_of_device,
    memory_of_host,
)


def test_the_tightest_limit_counts(tmp_path, monkeypatch):
    whole = memory_of_host()
    assert whole > 2**28
    word = tmp_path / "word"
    word.write_text("max\n")
    number = tmp_path / "number"
    number.write_text("1000003\n")
    absent = tmp_path / "absent"
    monkeypatch.setattr(memory, "GROUP_LIMITS", (word, absent))
    assert memory_of_host() >= whole
    monkeypatch.setattr(memory, "GROUP_LIMITS", (word, number, absent))
    assert memory_of_host() == 1_000_003


def test_processors_share_the_memory_of_their_host():
    assert memory_of_device() == memory_of_host() / jax.local_device_count()


class Accelerator:
    platform = "gpu"

    def __init__(self, stats: dict[str, int] | None):
        self.stats = stats

    def memory_stats(self) -> dict[str, int] | None:
        return self.stats


@pytest.mark.parametrize(
    ("stats", "expected"),
    [({"bytes_limit": 10007}, 10007), ({}, math.inf), (None, math.inf)],
)
def test_an_accelerator_says_how_much_it_has(monkeypatch, stats, expected):
    monkeypatch.setattr(jax, "local_devices", lambda: [Accelerator(stats)])
    assert memory_of_device() == expected


def test_a_device_that_is_full_is_told_from_other_errors():
    with pytest.raises(jax.errors.JaxRuntimeError) as full:
        jnp.zeros((2**30, 2**30), jnp.uint8).block_until_ready()
    assert is_out_of_memory(full.value)
    words = "INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory"
    assert is_out_of_memory(jax.errors.JaxRuntimeError(words))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(jax.errors.JaxRuntimeError("INTERNAL: no such thing"))
    assert not is_out_of_memory(RuntimeError("out of memory"))
