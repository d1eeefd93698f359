"""The table of what is compared: our work, and the peers that do the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.turns import Task


@dataclass(frozen=True)
class Comparison:
    """One piece of work that we and some peers do in turn."""

    name: str
    text: str
    ours: Task
    peers: tuple[Task, ...] = field(default=())
    figures: tuple[str, ...] = ()  # further figures of ours that the row shows
    repeats: int = 5


def ours(function: str, name: str = "ours", **options: Any) -> Task:
    """A task of workloads.py; two underscores in an option's name stand for a dot."""
    return Task(
        name,
        "workloads",
        function,
        {key.replace("__", "."): value for key, value in options.items()},
    )


def peer(name: str, place: str, **options: Any) -> Task:
    """A task of a module in peers/, given as module.function."""
    module, function = place.split(".")
    return Task(name, f"peers.{module}", function, options, peer=True)


def neumf(files: str) -> list[Comparison]:
    """Training and ranking with NeuMF."""
    data = f"{files}/neumf.npz"
    return [
        neumf_epoch(data, 2048),
        neumf_epoch(data, 410),
        neumf_ranking(data),
    ]


def neumf_epoch(data: str, batch: int) -> Comparison:
    """An epoch with so many positives a batch."""
    text = "NeuMF epoch, 4 negatives, 32 + 32 dims, MLP 64-32-16"
    forms = {
        "eager": "PyTorch",
        "compiled": "PyTorch, compiled",
        "sparse": "PyTorch, sparse gradients",
    }
    torch = [
        peer(name, "torch_neumf.epoch", data=data, form=form, batch=batch)
        for form, name in forms.items()
    ]
    recbole = peer("RecBole", "recbole_neumf.epoch", data=data, batch=batch)
    return Comparison(
        f"neumf-epoch-{batch}",
        f"{text}, {batch:,} positives ({5 * batch:,} pairs) a batch",
        ours("neumf_epoch", data=data, loop__batch_size=batch, optim__weight_decay=0),
        (recbole, *torch),
    )


def neumf_ranking(data: str) -> Comparison:
    """The ranking of every user."""
    place = "recbole_neumf.ranking"
    return Comparison(
        "neumf-ranking",
        "exact full ranking of all users with NeuMF",
        ours("neumf_ranking", data=data),
        (
            peer("RecBole", place, data=data),
            peer("RecBole, 18 users a batch", place, data=data, eval_batch_size=65536),
            peer(
                "PyTorch, 16 users a block", "torch_neumf.ranking", data=data, block=16
            ),
        ),
    )


def ancf(files: str, quick: bool) -> list[Comparison]:
    """Training of `ancf` beside SASRec of the same width, layers, heads and history."""
    return [ancf_epoch(f"{files}/ancf.npz", batch, quick) for batch in (32, 128)]


def ancf_epoch(data: str, batch: int, quick: bool) -> Comparison:
    """A part of an epoch with so many rows of 200 events a batch."""
    ancf = ours(
        "ancf_epoch",
        data=data,
        chunks=1 if quick else 3,
        network__history_length=200,
        loop__batch_size=batch,
        network__dual_positions=1,
    )
    sasrec = {
        "data": data,
        "batch": batch,
        "steps": 2 if quick else 960 // batch,
        "length": 200,
        "width": 64,
        "heads": 4,
        "layers": 2,
        "dropout": 0.1,
    }
    forms = {"eager": "PyTorch SASRec", "compiled": "PyTorch SASRec, compiled"}
    peers = [
        peer(name, "torch_sasrec.epoch", form=form, **sasrec)
        for form, name in forms.items()
    ]
    return Comparison(
        f"ancf-epoch-{batch}",
        "ancf epoch (a part, scaled): latest 200 events of each user, width 64, 2 layers, "
        f"4 heads, every event scored against all items; {batch} rows of 200 a batch "
        "(ours packed, a peer's one user each)",
        ancf,
        tuple(peers),
        ("step", "steps"),
        repeats=3,
    )


def mf_step(rows: int, tables: str, optimizer: str = "adam", steps: int = 40) -> Task:
    """A step of `mf` over tables of so many rows."""
    settings = {"loop__tables": tables, "optim__optimizer": optimizer}
    return ours(
        "mf_step",
        f"ours, {tables}, {optimizer}, {rows:,} rows",
        rows=rows,
        steps=steps,
        **settings,
    )


def tables(quick: bool) -> list[Comparison]:
    """Row-sparse against dense steps, and what ten million rows cost against ten thousand."""
    text = (
        "step of mf, 32 dims, 8,192 rows touched, two tables of {:,} rows, row-sparse"
    )
    sizes = (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000)
    found = [
        Comparison(
            f"table-{rows}",
            text.format(rows),
            mf_step(rows, "sparse"),
            (mf_step(rows, "dense"),),
        )
        for rows in sizes
    ]
    largest = 100_000 if quick else 10_000_000
    growth = [
        Comparison(
            f"table-growth-{optimizer}",
            f"{text.format(largest)}, {optimizer}",
            mf_step(largest, "sparse", optimizer, 200),
            (mf_step(10_000, "sparse", optimizer, 200),),
        )
        for optimizer in ("adam", "row_adagrad", "sgd")
    ]
    return [*found, *growth]


def lists() -> list[Comparison]:
    """Top 10 of 6,040 users on the path of matrix factorisation."""
    return [
        Comparison(
            f"mf-lists-{items}",
            f"top 10 of 6,040 users over {items:,} items, 64 dims, seen items left out",
            ours("mf_top_n", users=6_040, items=items),
            (peer("implicit", "implicit_mf.top_n", users=6_040, items=items),),
            repeats=3,
        )
        for items in (3_706, 100_000)
    ]


def one_user(quick: bool) -> list[Comparison]:
    """A single request, beside the product of matrix and vector that it cannot do without."""
    calls = 30 if quick else 300
    return [one_user_of(items, calls) for items in (10_000, 100_000, 1_000_000)]


def one_user_of(items: int, calls: int) -> Comparison:
    """A single request over so many items."""
    by = {"numpy": "NumPy", "jax": "JAX"}
    products = [
        ours(
            "product",
            f"{name} matrix-vector product",
            items=items,
            calls=calls,
            by=library,
        )
        for library, name in by.items()
    ]
    return Comparison(
        f"one-user-{items}",
        f"one user's top 10 over {items:,} items, mf of 64 dims, {calls} calls, p50",
        ours("one_user", items=items, calls=calls),
        tuple(products),
        ("p99",),
        repeats=3,
    )


def memory(quick: bool) -> list[Comparison]:
    """Peak memory of ranking a slice of very many users, at two sizes of the slice."""
    users, items = (10_000, 10_000) if quick else (1_000_000, 100_000)
    text = f"mf lists of a slice of {users:,} users over {items:,} items, 64 dims: "
    slices = (512, 2_048) if quick else (2_048, 8_192)
    return [
        Comparison(
            f"memory-{asked}",
            f"{text}{asked:,} users",
            ours("rank_memory", users=users, items=items, asked=asked),
            figures=("growth in MiB", "memory before in MiB", "all users in minutes"),
            repeats=1,
        )
        for asked in slices
    ]


def scoring(quick: bool) -> list[Comparison]:
    """Peak memory of lists for all users, beside its bound."""
    users, items = (2_000, 5_000) if quick else (200_000, 50_000)
    return [
        Comparison(
            "scoring-memory",
            f"mf lists of {users:,} users over {items:,} items, 64 dims",
            ours("scoring_memory", users=users, items=items),
            figures=("growth in MiB", "bound in MiB", "memory before in MiB"),
            repeats=1,
        )
    ]


def reading(quick: bool) -> list[Comparison]:
    """Time and memory of reading Parquet, beside those of plain readers."""
    events = 20_000 if quick else 2_000_000
    return [
        Comparison(
            f"reading-{ids}-{by}",
            f"reading {events:,} events from Parquet, ids are {ids}, by {by}",
            ours("reading", events=events, ids=ids, by=by),
            figures=("growth in MiB", "file in MiB"),
        )
        for ids in ("numbers", "sorted", "texts")
        for by in ("ours", "pyarrow", "pandas")
    ]


def all_rows(files: str, quick: bool) -> list[Comparison]:
    """Every comparison, in the order of the table."""
    return [
        *neumf(files),
        *ancf(files, quick),
        *tables(quick),
        *lists(),
        *one_user(quick),
        *memory(quick),
        *scoring(quick),
        *reading(quick),
    ]
