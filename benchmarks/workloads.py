"""Our side of every row, through what users of the library call."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Config, default_config, override
from ancf_jax.data import dataset as data
from ancf_jax.data.dataset import Dataset
from ancf_jax.data.interactions import TEST, TRAIN
from ancf_jax.objective.metrics import ranking_metrics
from ancf_jax.ranking import Ranker
from ancf_jax.recommender import Recommender
from ancf_jax.runs import build_model, make_ranker
from ancf_jax.training.loop import Trainer, trainer
from benchmarks.shop import dataset_of, read, synthetic

Work = Callable[[], dict[str, Any] | None]
Options = dict[str, str]
TRAINING = (TRAIN,)


def make_trainer(config: Config, dataset: Dataset) -> Trainer:
    """The trainer of a run with these settings."""
    return trainer(
        config,
        build_model(config, dataset),
        data.event_log(dataset, TRAINING),
        data.catalogue(dataset),
    )


def epochs(made: Trainer, chunks: int | None = None) -> Work:
    """One epoch per repetition, or its first `chunks` (of about 20) with the time scaled to the whole."""
    state, number = made.initial_state(), 0

    def work() -> dict[str, Any]:
        nonlocal state, number
        begin, done = perf_counter(), 0
        for reached, step in islice(made.epoch(state, number), chunks):
            state, done = reached, step.done
        jax.block_until_ready(state)
        number += 1
        taken = perf_counter() - begin
        return {
            "seconds": taken * made.steps_per_epoch / done,
            "step": taken / done,
            "steps": made.steps_per_epoch,
        }

    return work


def settings(model: str, options: Options) -> Config:
    """Defaults of a model, with those options that are settings (their names hold a dot)."""
    changes = {
        name: int(value) if value.isdigit() else value
        for name, value in options.items()
        if "." in name
    }
    return override(default_config(model), changes)


def neumf_epoch(options: Options) -> Work:
    """An epoch of `neumf` by its defaults."""
    return epochs(make_trainer(settings("neumf", options), read(options["data"])[1]))


def neumf_epoch_of(options: Options) -> Work:
    """An epoch of `neumf` over a number of synthetic events."""
    shop = synthetic(int(options["events"]), 6_040, 3_706)
    dataset = dataset_of(
        shop["user"], shop["item"], np.full(len(shop["user"]), TRAIN), 6_040, 3_706
    )
    return epochs(make_trainer(settings("neumf", options), dataset))


def ancf_epoch(options: Options) -> Work:
    """A part of an epoch of `ancf` by its defaults, scaled."""
    made = make_trainer(settings("ancf", options), read(options["data"])[1])
    return epochs(made, int(options["chunks"]))


def ancf_epoch_of(options: Options) -> Work:
    """A part of an epoch of `ancf` over users with exactly `length` synthetic events, so that no row holds padding."""
    users, length = 320, int(options["length"])
    dataset = shop_of_size(users, 3_416, length)
    return epochs(
        make_trainer(settings("ancf", options), dataset), int(options["chunks"])
    )


def mf_step(options: Options) -> Work:
    """A step of `mf`: 2,048 positives with 2 negatives each touch 8,192 rows of two tables of `rows` rows."""
    rows, steps = int(options["rows"]), int(options["steps"])
    rng = np.random.default_rng(0)
    user, item = (
        np.sort(rng.integers(0, rows, 2048 * steps)),
        rng.integers(0, rows, 2048 * steps),
    )
    made = make_trainer(
        settings("mf", {"objective.negatives": "2"} | options),
        dataset_of(user, item, np.full(len(user), TRAIN), rows, rows),
    )
    work = epochs(made)
    return lambda: {"seconds": work()["step"]}


def drawn_ranker(model: str, dataset: Dataset, size: int) -> Ranker:
    """A ranker of a model as it is before training: what a parameter is does not change the time."""
    changes = {"network.embedding_size": size} if model == "mf" else {}
    config = override(default_config(model), changes)
    built = build_model(config, dataset)
    ranker = make_ranker(dataset, built, {}, TRAINING)
    return ranker.with_variables(
        jax.jit(built.init)(jax.random.PRNGKey(0), ranker.catalogue)
    )


def neumf_ranking(options: Options) -> Work:
    """The place of every user's held-out item among all items, and the metrics of them."""
    dataset = read(options["data"])[1]
    ranker, held = drawn_ranker("neumf", dataset, 32), data.heldout(dataset, TEST)
    return lambda: {
        "users": len(ranking_metrics(ranker.ranks(held, keep_seen=False)[0])["ndcg@10"])
    }


def shop_of_size(users: int, items: int, per_user: int = 20) -> Dataset:
    """Users with `per_user` events each, drawn uniformly."""
    user = np.repeat(np.arange(users), per_user)
    item = np.random.default_rng(0).integers(0, items, len(user))
    return dataset_of(user, item, np.full(len(user), TRAIN), users, items)


def neumf_top_of(options: Options) -> Work:
    """Top 10 of 512 users with `neumf` over a number of items."""
    ranker = drawn_ranker("neumf", shop_of_size(512, int(options["items"])), 32)
    return top_n_of(ranker, np.arange(512, dtype=np.int32))


def top_n_of(ranker: Ranker, user: np.ndarray) -> Work:
    """Top 10 of users, seen items left out."""

    def work() -> None:
        for _ in ranker.top_n(user, np.zeros(len(user), np.int32), 10, keep_seen=False):
            pass

    return work


def mf_top_n(options: Options) -> Work:
    """Top 10 of all users with `mf` of 64 dimensions."""
    users, items = int(options["users"]), int(options["items"])
    return top_n_of(
        drawn_ranker("mf", shop_of_size(users, items), 64),
        np.arange(users, dtype=np.int32),
    )


def one_user(options: Options) -> Work:
    """Requests for one user's top 10, each timed alone, to a recommender that is loaded and warm."""
    dataset = shop_of_size(1_000, int(options["items"]))
    recommender = Recommender(
        default_config("mf"), dataset, drawn_ranker("mf", dataset, 64)
    )

    def work() -> dict[str, float]:
        taken = []
        for call in range(int(options["calls"])):
            begin = perf_counter()
            recommender.recommend([str(call * 7 % 1_000)], n=10)
            taken.append(perf_counter() - begin)
        return {
            "seconds": float(np.median(taken)),
            "p99": float(np.quantile(taken, 0.99)),
        }

    return work


def product(options: Options) -> Work:
    """The product of a matrix [items, 64] and a vector: what one user's scores take at least."""
    table = np.random.default_rng(0).random((int(options["items"]), 64), np.float32)
    vector = table[0].copy()
    times, table_there = jax.jit(jnp.matmul), jnp.asarray(table)
    by_numpy, by_jax = (
        (lambda: table @ vector),
        (lambda: times(table_there, vector).block_until_ready()),
    )
    best = {"numpy": by_numpy, "jax": by_jax}[options["by"]]

    def work() -> dict[str, float]:
        taken = []
        for _ in range(int(options["calls"])):
            begin = perf_counter()
            best()
            taken.append(perf_counter() - begin)
        return {
            "seconds": float(np.median(taken)),
            "p99": float(np.quantile(taken, 0.99)),
        }

    return work


def rank_memory(options: Options) -> Work:
    """Top 10 of the first `asked` of many users, how far resident memory rose above what lay there before, and the
    time for all users at this pace."""
    users, asked = int(options["users"]), int(options["asked"])
    ranker = drawn_ranker(
        "mf", shop_of_size(users, int(options["items"]), per_user=5), 64
    )
    jax.block_until_ready((ranker.variables, ranker.item_side))
    work = top_n_of(ranker, np.arange(asked, dtype=np.int32))
    Path("/proc/self/clear_refs").write_text(
        "5", encoding="ascii"
    )  # the peak counts from here
    before = status_mib("VmRSS")

    def measured() -> dict[str, float]:
        begin = perf_counter()
        work()
        minutes = (perf_counter() - begin) / asked * users / 60
        growth = status_mib("VmHWM") - before
        return {
            "growth in MiB": growth,
            "memory before in MiB": before,
            "all users in minutes": minutes,
        }

    return measured


def status_mib(name: str) -> float:
    """VmRSS (resident memory) or VmHWM (its peak) of this process; Linux alone tells."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
