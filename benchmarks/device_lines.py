"""What `benchmarks/device.py` measures: the ceilings of a device, and work of this library."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.machine.precision import products_in
from benchmarks import shop, workloads

Options = dict[str, str]
Prepare = Callable[[Options], Callable[[], Any]]

GIB = 2**30


@dataclass(frozen=True)
class Line:
    """One row of the table.

    Attributes:
        name: for people.
        prepare: makes the work.
        options: what it is given, as texts.
        flops: operations of the work; 0 where nobody counted.
        moved: bytes that have to be read and written at least; 0 likewise.
        unit: what the work is one of: an epoch, a ranking ...
    """

    name: str
    prepare: Prepare
    options: Options = field(default_factory=dict)
    flops: float = 0.0
    moved: float = 0.0
    unit: str = ""


def product(options: Options) -> Callable[[], None]:
    """A square product in one precision."""
    size = int(options["size"])
    precision = options["precision"]
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    matrix = jnp.ones((size, size), dtype)
    multiply = jax.jit(products_in(precision, jnp.matmul))  # pyrefly: ignore

    def work() -> None:
        multiply(matrix, matrix).block_until_ready()

    return work


def copy(options: Options) -> Callable[[], None]:
    """Every number of an array read and written once."""
    array = jnp.ones(int(options["bytes"]) // 4)
    add_one = jax.jit(lambda x: x + 1)

    def work() -> None:
        add_one(array).block_until_ready()

    return work


def neumf_ranking(options: Options) -> Callable[[], Any]:
    """`workloads.neumf_ranking` over made events."""
    users = int(options["users"])
    items = int(options["items"])
    made = shop.synthetic(int(options["events"]), users, items)
    return _over(made, workloads.neumf_ranking, options)


def of_peer(module: str, options: Options) -> Callable[[], Any]:
    """The epoch of a peer in PyTorch over made events."""
    epoch = import_module(f"benchmarks.peers.{module}").epoch
    made = shop.synthetic(
        int(options["events"]), int(options["users"]), int(options["items"])
    )
    if "length" in options:
        made = shop.latest(made, int(options["length"]))
    return _over(made, epoch, options)


def _over(
    made: dict[str, Any], prepare: Prepare, options: Options
) -> Callable[[], Any]:
    """The work over made events, which it reads from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.npz"
        np.savez(path, **made)
        return prepare({**options, "data": str(path)})


def ceilings(share: int) -> list[Line]:
    """Products in each precision, and a copy; sizes divided by `share` for a smoke test."""
    size = 8192 // share
    amount = GIB // share
    products = [
        Line(
            f"product {precision}",
            product,
            {"size": str(size), "precision": precision},
            flops=2.0 * size**3,
            unit="product",
        )
        for precision in ("float32", "tf32", "bfloat16")
    ]
    moved = Line("copy", copy, {"bytes": str(amount)}, moved=2.0 * amount, unit="copy")
    return [*products, moved]


def texts(**options: object) -> Options:
    """Options as texts; `__` in a name is a dot."""
    return {name.replace("__", "."): str(value) for name, value in options.items()}


def trainings(share: int) -> list[Line]:
    """Epochs of `neumf`, `mf` by row, and `ancf` in two precisions."""
    events = 886_000 // share
    found = [
        Line(
            f"neumf, batches of {batch:,}",
            workloads.neumf_epoch_of,
            texts(events=events, loop__batch_size=batch),
            unit="epoch",
        )
        for batch in (2048, 32768)
    ]
    rows = 10_000_000 // share
    found.append(
        Line(
            f"mf by row, {rows:,} rows",
            workloads.mf_step,
            texts(rows=rows, steps=50, loop__tables="sparse", loop__batch_size=2048),
            unit="step",
        )
    )
    return found + [_ancf_epoch(share, precision) for precision in ("tf32", "bfloat16")]


def _ancf_epoch(share: int, precision: str) -> Line:
    """Users with 165 events each, as MovieLens 1M has on average."""
    options = texts(
        users=6_040 // share,
        length=165,
        chunks=20,
        loop__batch_size=128,
        loop__precision=precision,
        network__history_length=200,
        network__embedding_size=64,
        network__mlp_size=64,
        network__dual_positions=1,
    )
    name = f"ancf 128 x 200, width 64, {precision}"
    return Line(name, workloads.ancf_epoch_of, options, unit="epoch")


def rankings(share: int) -> list[Line]:
    """Exact ranks and lists, and single requests."""
    users = 6_040 // share
    items = 3_706
    many = 100_000 // share
    pairs = users * items
    neumf = Line(
        f"neumf, ranks of {users:,} x {items:,}",
        neumf_ranking,
        texts(users=users, items=items, events=980_000 // share),
        flops=2.0 * pairs * (64 * 32 + 32 * 16 + 16 + 32),
        moved=4.0 * pairs,
        unit="ranking",
    )
    mf = Line(
        f"mf, top 10 of {users:,} x {many:,}",
        workloads.mf_top_n,
        texts(users=users, items=many),
        flops=2.0 * users * many * 64,
        moved=2 * 4.0 * users * many,
        unit="ranking",
    )
    one = Line(
        f"mf, one user of {many:,} items",
        workloads.one_user,
        texts(items=many, calls=200 // share + 1),
        flops=2.0 * many * 64,
        moved=4.0 * many * 64,
        unit="request",
    )
    return [neumf, mf, one]


def peers(share: int) -> list[Line]:
    """NeuMF and SASRec in PyTorch, over the same events."""
    neumf = texts(events=886_000 // share, users=6_040, items=3_706, batch=2048)
    sasrec = texts(
        events=996_600 // share,
        users=6_040 // share,
        items=3_416,
        batch=128,
        steps=1000,
        length=200,
        width=64,
        heads=2,
        layers=2,
        dropout=0.2,
    )
    forms = ("eager", "compiled", "bfloat16")
    return [
        *(_peer("torch_neumf", "NeuMF", neumf, form) for form in forms[:2]),
        *(_peer("torch_sasrec", "SASRec", sasrec, form) for form in forms),
    ]


def _peer(module: str, name: str, options: Options, form: str) -> Line:
    prepare = partial(of_peer, module)
    return Line(
        f"PyTorch {name}, {form}", prepare, {**options, "form": form}, unit="epoch"
    )


def all_lines(share: int = 1) -> list[Line]:
    """Every line, the ceilings first; sizes divided by `share`."""
    return [*ceilings(share), *trainings(share), *rankings(share), *peers(share)]
