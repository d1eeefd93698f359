"""Shared fixtures; also the strict settings that every test runs under."""

from __future__ import annotations

import functools
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import numpy as np
import pytest
from hypothesis import settings

from ancf_jax import cli
from ancf_jax.config import Config, flatten, override
from ancf_jax.models.registry import default_config

# Compiling takes most of the time of these tests. What is compiled alike is shared, with the other
# workers of pytest-xdist and with processes that tests start, too.
if "PYTEST_XDIST_WORKER" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="compiled-for-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_numpy_rank_promotion", "raise")

# The same examples every time, few and without a deadline, for other work may share the machine.
settings.register_profile(
    "repeatable", derandomize=True, max_examples=40, deadline=None
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/data with real data is absent")
    return folder


@pytest.fixture(scope="session")
def planted_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of 13 shoppers and 23 products on disk, with every signal and one plain rule to be learned.

    Shoppers of even number like products of even number, the odd ones the odd; nine events in ten
    follow the rule, and each takes the next product of its kind. Ratings, clicks and seconds tell the
    same story. The last product was never bought; product p05 stands in two categories, p07 in none.
    """
    folder = tmp_path_factory.mktemp("a planted shop")
    rng = np.random.default_rng(0)
    rows = [
        "user_id,item_id,timestamp,rating,clicked,dwell_seconds,hover_seconds,event"
    ]
    for user in range(13):
        item = int(rng.integers(0, 22))
        for event in range(5 + 7 * user % 11):
            item = (item + 2) % 22 if rng.random() < 0.9 else (item + 1) % 22
            likes = item % 2 == user % 2
            rating = 4 + rng.integers(0, 2) if likes else 1 + rng.integers(0, 2)
            dwell, hover = (
                rng.lognormal(3.0 if likes else 1.0, 0.3),
                rng.lognormal(1.0 if likes else 0.0, 0.3),
            )
            kind = ("view", "click", "purchase")[rng.integers(0, 3)]
            time = 1_700_000_000 + 86_400 * event + 3_600 * int(rng.integers(0, 12))
            rows.append(
                f"u{user:02d},p{item:02d},{time},{rating},{int(likes)},{dwell:.2f},{hover:.2f},{kind}"
            )
    (folder / "interactions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    categories = ["even" if item % 2 == 0 else "odd" for item in range(23)]
    categories[5], categories[7] = "odd|even", ""
    products = [
        f"p{item:02d},product {item},{'abc'[item % 3]},{name}"
        for item, name in enumerate(categories)
    ]
    (folder / "items.csv").write_text(
        "\n".join(["item_id,name,department,category", *products]), encoding="utf-8"
    )
    shoppers = [f"u{user:02d},{'old' if user < 5 else ''}" for user in range(13)]
    (folder / "users.csv").write_text(
        "\n".join(["user_id,segment", *shoppers]), encoding="utf-8"
    )
    return folder


def _small(model: str, data: Path, **changes: Any) -> Config:
    """Settings of a model small enough for tests; dots in the names of changes are written `__`."""
    small = {
        "data": str(data),
        "epochs": 3,
        "table.user_features": ("segment",),
        "split.kind": "leave_one_out",
        "keep_seen": False,
        "network.embedding_size": 5,
        "network.mlp_size": 6,
        "network.hidden": (7, 3),
        "network.history_length": 5,
        "network.heads": 2,
        "network.layers": 1,
        "loop.batch_size": 16,
        "loop.patience": 0,
        "optim.learning_rate": 0.02,
        "network.size": 3,
        "network.sweeps": 3,
    }
    config = default_config(model)
    known = flatten(config)
    config = override(config, {name: x for name, x in small.items() if name in known})
    if config.objective.negatives:
        config = override(config, {"objective.negatives": 7})
    return override(
        config, {name.replace("__", "."): value for name, value in changes.items()}
    )


@pytest.fixture(scope="session")
def tiny(planted_shop: Path) -> Callable[..., Config]:
    """tiny(model, **changes): settings for tests, on the planted shop."""
    return functools.partial(_small, data=planted_shop)


@pytest.fixture
def leave(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """leave(script, *argv): the exit code, standard output and standard error of a whole call."""

    def run(name: str, *argv: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, argv)])
        capsys.readouterr()
        code = 0
        try:
            cli.run(import_module(name).main)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


@pytest.fixture
def small_files() -> Iterator[Callable[[bool], None]]:
    """A switch after which no file can grow beyond 4 kB, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda on: resource.setrlimit(
        resource.RLIMIT_FSIZE, (4096 if on else soft, hard)
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
