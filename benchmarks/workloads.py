"""Our side of every row, through what users of the library call."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow.parquet

from ancf_jax.config import Config, override
from ancf_jax.data import TEST, TRAIN, Dataset, heldout, readers
from ancf_jax.machine import sizes
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.models.registry import default_config
from ancf_jax.objective.metrics import ranking_metrics
from ancf_jax.prepared import prepare
from ancf_jax.ranking import Ranker, ranker_of
from ancf_jax.recommender import Recommender
from ancf_jax.training.loop import Trainer, trainer
from benchmarks.shop import dataset_of, read, synthetic

Work = Callable[[], dict[str, Any] | None]
Options = dict[str, str]
TRAINING = (TRAIN,)


def make_trainer(config: Config, dataset: Dataset) -> Trainer:
    """The trainer of a run with these settings."""
    return trainer(prepare(config, dataset, TRAINING))


def epochs(made: Trainer, chunks: int | None = None) -> Work:
    """One epoch per repetition, or its first `chunks` of about 20, scaled to the whole."""
    state = made.initial_state()
    number = 0

    def work() -> dict[str, Any]:
        nonlocal state, number
        begin = perf_counter()
        done = 0
        for reached, report in islice(made.epoch(state, number), chunks):
            state = reached
            done = report.done
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
    _, dataset = read(options["data"])
    return epochs(make_trainer(settings("neumf", options), dataset))


def neumf_epoch_of(options: Options) -> Work:
    """An epoch of `neumf` over a number of synthetic events."""
    users = 6_040
    items = 3_706
    shop = synthetic(int(options["events"]), users, items)
    dataset = training_of(shop["user"], shop["item"], users, items)
    return epochs(make_trainer(settings("neumf", options), dataset))


def ancf_epoch(options: Options) -> Work:
    """A part of an epoch of `ancf` by its defaults, scaled."""
    _, dataset = read(options["data"])
    made = make_trainer(settings("ancf", options), dataset)
    return epochs(made, int(options["chunks"]))


def ancf_epoch_of(options: Options) -> Work:
    """A part of an epoch of `ancf` over users with exactly `length` synthetic events.

    So no row holds padding.
    """
    users = int(options.get("users", 320))
    dataset = shop_of_size(users, 3_416, int(options["length"]))
    made = make_trainer(settings("ancf", options), dataset)
    return epochs(made, int(options["chunks"]))


def mf_step(options: Options) -> Work:
    """A step of `mf` with 2,048 positives and 2 negatives each, over tables of `rows` rows.

    It touches 8,192 rows of two tables.
    """
    rows = int(options["rows"])
    events = 2048 * int(options["steps"])
    rng = np.random.default_rng(0)
    user = np.sort(rng.integers(0, rows, events))
    item = rng.integers(0, rows, events)
    config = settings("mf", {"objective.negatives": "2", **options})
    work = epochs(make_trainer(config, training_of(user, item, rows, rows)))
    return lambda: {"seconds": work()["step"]}


def drawn_ranker(model: str, dataset: Dataset, size: int) -> Ranker:
    """A ranker of a model before training: what a parameter is does not change the time."""
    changes = {"network.embedding_size": size} if model == "mf" else {}
    config = override(default_config(model), changes)
    prepared = prepare(config, dataset, TRAINING)
    assert isinstance(prepared.model, NeuralModel)
    init = jax.jit(prepared.model.init)
    variables = init(jax.random.PRNGKey(0), prepared.catalogue)
    return ranker_of(prepared, variables)


def neumf_ranking(options: Options) -> Work:
    """The place of every user's held-out item among all items, and the metrics of them."""
    _, dataset = read(options["data"])
    ranker = drawn_ranker("neumf", dataset, 32)
    held = heldout(dataset, TEST)

    def work() -> dict[str, Any]:
        ranks, _ = ranker.ranks(held, keep_seen=False)
        return {"users": len(ranking_metrics(ranks)["ndcg@10"])}

    return work


def training_of(user: np.ndarray, item: np.ndarray, users: int, items: int) -> Dataset:
    """A dataset whose events all train."""
    part = np.full(len(user), TRAIN)
    return dataset_of(user, item, part, users, items)


def shop_of_size(users: int, items: int, per_user: int = 20) -> Dataset:
    """Users with `per_user` events each, drawn uniformly."""
    user = np.repeat(np.arange(users), per_user)
    item = np.random.default_rng(0).integers(0, items, len(user))
    return training_of(user, item, users, items)


def neumf_top_of(options: Options) -> Work:
    """Top 10 of 512 users with `neumf` over a number of items."""
    ranker = drawn_ranker("neumf", shop_of_size(512, int(options["items"])), 32)
    return top_n_of(ranker, np.arange(512, dtype=np.int32))


def top_n_of(ranker: Ranker, user: np.ndarray) -> Work:
    """Top 10 of users, seen items left out."""
    minute = np.zeros(len(user), np.int32)

    def work() -> None:
        for _ in ranker.top_n(user, minute, 10, keep_seen=False):
            pass

    return work


def mf_top_n(options: Options) -> Work:
    """Top 10 of all users with `mf` of 64 dimensions."""
    users = int(options["users"])
    ranker = drawn_ranker("mf", shop_of_size(users, int(options["items"])), 64)
    return top_n_of(ranker, np.arange(users, dtype=np.int32))


def one_user(options: Options) -> Work:
    """Requests for one user's top 10, each timed alone, to a recommender that is warm."""
    users = 1_000
    dataset = shop_of_size(users, int(options["items"]))
    ranker = drawn_ranker("mf", dataset, 64)
    recommender = Recommender(default_config("mf"), dataset, ranker)

    def call(number: int) -> None:
        recommender.recommend([str(number * 7 % users)], n=10)

    return timed_calls(call, int(options["calls"]))


def product(options: Options) -> Work:
    """The product of a matrix [items, 64] and a vector, without which no user has scores."""
    table = np.random.default_rng(0).random((int(options["items"]), 64), np.float32)
    vector = table[0].copy()
    on_device = jnp.asarray(table)
    multiply = jax.jit(jnp.matmul)

    def by_numpy(_: int) -> None:
        table @ vector

    def by_jax(_: int) -> None:
        multiply(on_device, vector).block_until_ready()

    call = {"numpy": by_numpy, "jax": by_jax}[options["by"]]
    return timed_calls(call, int(options["calls"]))


def timed_calls(call: Callable[[int], None], calls: int) -> Work:
    """The median time of calls, numbered from 0, and the time that one in a hundred exceeds."""

    def work() -> dict[str, float]:
        taken = []
        for number in range(calls):
            begin = perf_counter()
            call(number)
            taken.append(perf_counter() - begin)
        return {
            "seconds": float(np.median(taken)),
            "p99": float(np.quantile(taken, 0.99)),
        }

    return work


def rank_memory(options: Options) -> Work:
    """Top 10 of the first `asked` of many users: memory, and the time for all at this pace.

    The growth is how far resident memory rose above what lay there before.
    """
    users = int(options["users"])
    asked = int(options["asked"])
    shop = shop_of_size(users, int(options["items"]), per_user=5)
    ranker = drawn_ranker("mf", shop, 64)
    jax.block_until_ready((ranker.variables, ranker.item_side))
    work = top_n_of(ranker, np.arange(asked, dtype=np.int32))
    count_peak_from_here()
    before = status_mib("VmRSS")

    def measured() -> dict[str, float]:
        begin = perf_counter()
        work()
        per_user = (perf_counter() - begin) / asked
        return {
            "growth in MiB": status_mib("VmHWM") - before,
            "memory before in MiB": before,
            "all users in minutes": per_user * users / 60,
        }

    return measured


def scoring_memory(options: Options) -> Work:
    """Top 10 of all users as `recommend.py` makes them: memory, and what it is to stay below."""
    users = int(options["users"])
    shop = shop_of_size(users, int(options["items"]))
    ranker = drawn_ranker("mf", shop, 64)
    recommender = Recommender(default_config("mf"), shop, ranker)
    asked = recommender.users_of(["all"])
    recommender.warm_up()  # the compiler's memory is not that of scoring
    count_peak_from_here()
    before = status_mib("VmRSS")

    def work() -> dict[str, float]:
        for _ in recommender.recommend_blocks(asked, 10, None, None):
            pass
        return {
            "growth in MiB": status_mib("VmHWM") - before,
            "bound in MiB": block_bound(),
            "memory before in MiB": before,
        }

    return work


def block_bound() -> float:
    """MiB that scoring may take beside parameters and data: a block's chunk, in a few forms.

    Its scores, those with seen items hidden, their order and the best so far, of all blocks that
    are at work at a time; and the tables of lists.
    """
    forms = 4
    values = forms * sizes.BLOCKS_AT_ONCE * sizes.VALUES_PER_CHUNK
    tables = 32
    return values * np.float32().nbytes / 2**20 + tables


def reading(options: Options) -> Work:
    """Reading a Parquet file as pandas writes it: time, and memory beside the size of the file."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "events.parquet"
    # Written elsewhere, for memory that this process once had would not count again.
    writer = multiprocessing.get_context("spawn").Process(
        target=write_events, args=(path, options["ids"], int(options["events"]))
    )
    writer.start()
    writer.join()
    config = override(default_config("mf"), {"data": str(path)})
    by: dict[str, Callable[[], Any]] = {
        "ours": lambda: readers.read(config),
        "pyarrow": lambda: pyarrow.parquet.read_table(path),
        "pandas": lambda: pd.read_parquet(path),
    }
    read = by[options["by"]]
    count_peak_from_here()
    before = status_mib("VmRSS")
    first: list[float] = []  # later ones find memory of earlier ones

    def work() -> dict[str, float]:
        assert folder  # it goes with the last that holds it
        read()
        first.append(status_mib("VmHWM") - before)
        return {
            "growth in MiB": first[0],
            "file in MiB": path.stat().st_size / 2**20,
        }

    return work


def write_events(path: Path, ids: str, events: int) -> None:
    """Events of many users and fewer items, whose ids are `numbers`, `sorted` ones or `texts`."""
    rng = np.random.default_rng(0)
    user = rng.integers(0, 100_000, events)
    if ids == "sorted":
        user = np.sort(user)
    table = pd.DataFrame({"user_id": user, "item_id": rng.zipf(1.3, events) % 20_000})
    if ids == "texts":
        table["user_id"] = "u" + table["user_id"].astype(str)
        table["item_id"] = "p" + table["item_id"].astype(str)
    table["timestamp"] = 1_600_000_000 + rng.integers(0, 50_000_000, events)
    table.to_parquet(path, index=False)


def count_peak_from_here() -> None:
    """Forgets the peak of resident memory so far; on Linux alone."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def status_mib(name: str) -> float:
    """VmRSS (resident memory) or VmHWM (its peak) of this process; Linux alone tells."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith(name))
    return int(line.split()[1]) / 1024
