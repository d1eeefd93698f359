"""What is compiled for devices that are not there: every training step, every ranking program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax import data
from ancf_jax.config import Config, LossName, override
from ancf_jax.data import TRAIN, Dataset
from ancf_jax.machine.parallel import device_count, laid_shapes, lay
from ancf_jax.models.ancf.config import History
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.models.registry import default_config, names, registered
from ancf_jax.objective.objective import objective_of
from ancf_jax.prepared import Prepared, prepare
from ancf_jax.ranking import programs
from ancf_jax.ranking.ranker import SEEN_SLOTS, Ranker
from ancf_jax.ranking.scan import Tables
from ancf_jax.training.loop import trainer
from ancf_jax.types import Precision
from benchmarks.workloads import shop_of_size

TABLES = ("dense", "sparse", "divided")
LIST = 16  # lists of up to so many items share a program
STEP = "step"
OF_WHOLE_CATALOGUE = ("top_items", "count_ranks")
OF_FEW = ("score_candidates", "encode_items")


@dataclass(frozen=True)
class Line:
    """One program.

    Attributes:
        name: for people, and for `--only`.
        model: by its registered name.
        program: "step", or a program of ranking.
        changes: to the settings, by dotted name.
        shop: the data, a key of `SHOPS`.
    """

    name: str
    model: str
    program: str = STEP
    changes: dict[str, Any] = field(default_factory=dict)
    shop: str = "store"


def _store(config: Config) -> Dataset:
    return data.build(config)


def _films(_: Config) -> Dataset:
    """As many items as MovieLens 1M has for sequences, and histories of 200 events."""
    return shop_of_size(320, 3_416, 200)


def _rows(count: int) -> Callable[[Config], Dataset]:
    return lambda _: shop_of_size(count, count, 2)


SHOPS: dict[str, Callable[[Config], Dataset]] = {
    "store": _store,
    "films": _films,
    "100,000 rows": _rows(100_000),
    "400,000 rows": _rows(400_000),
}
SMALL = {
    "network.embedding_size": 16,
    "network.mlp_size": 16,
    "network.layers": 1,
    "network.history_length": 20,
}


def all_lines() -> list[Line]:
    """Every line, in the order of the table."""
    return [
        *step_lines(),
        *table_lines(),
        *ancf_lines(),
        *ranking_lines(),
    ]


def small_lines() -> list[Line]:
    """A handful that is compiled in a minute."""
    small = Line("step ancf, small", "ancf", changes=SMALL)
    few = {
        "step mf, divided",
        "step neumf, sparse",
        "rank mf, top_items",
        "rank neumf, count_ranks",
    }
    return [small, *(line for line in all_lines() if line.name in few)]


def trained() -> list[str]:
    """The models that train by steps."""
    return [name for name in names() if not registered(name).fitted]


def step_lines() -> list[Line]:
    """The step of every model, by every way to update its tables."""
    return [
        Line(f"step {model}, {tables}", model, changes={"loop.tables": tables})
        for model in trained()
        for tables in TABLES
    ]


def table_lines() -> list[Line]:
    """Steps over tables of two lengths: what devices tell each other is to be the same."""
    return [
        Line(
            f"step mf, {tables}, {shop}",
            "mf",
            changes={"loop.tables": tables, "loop.batch_size": 2048},
            shop=shop,
        )
        for tables in TABLES
        for shop in ("100,000 rows", "400,000 rows")
    ]


def ancf_lines() -> list[Line]:
    """The step of the flagship with each of its parts on or off."""
    flagship = {"network.history_length": 200, "loop.batch_size": 128}
    found = [Line("step ancf, 128 x 200", "ancf", changes=flagship, shop="films")]
    variants: dict[str, dict[str, Any]] = {
        "followers": {"network.followers": 16},
        "no repeats": {"network.repeats": False},
        "no time": {"network.temporal": ()},
        "no hierarchy": {"network.hierarchy": False},
        "no popularity": {"network.popularity": False},
        "no mf path": {"network.mf_path": False},
        "no mlp path": {"network.mlp_path": False},
        "2 members": {"loop.members": 2},
        "baskets": {"split.kind": "next_basket", "split.basket_minutes": 60.0},
        "streamed": {"loop.stream": 20_000},
        "shard_map": {"loop.spread": "shard_map"},
        "drawn, divided": {
            "loop.tables": "divided",
            "objective.loss": "sampled_softmax",
        },
    }
    for history in get_args(History):
        variants[f"history {history}"] = {"network.history": history}
    for loss in get_args(LossName):
        variants[f"loss {loss}"] = {"objective.loss": loss}
    for precision in get_args(Precision):
        variants[f"precision {precision}"] = {"loop.precision": precision}
    variants["bag of ratings"] = {"network.history": "bag", "objective.loss": "mse"}
    for name, changes in variants.items():
        found.append(Line(f"step ancf, {name}", "ancf", changes={**SMALL, **changes}))
    return found


def ranking_lines() -> list[Line]:
    """The programs that rank: over the catalogue for every model, of few items for trained ones."""
    found = []
    for model in names():
        kinds = OF_WHOLE_CATALOGUE
        if model in trained():
            kinds += OF_FEW
        found += [Line(f"rank {model}, {kind}", model, kind) for kind in kinds]
    return found


def config_of(line: Line) -> Config:
    """The settings of a line; values to be learned are engagement, which every shop here has."""
    config = override(default_config(line.model), line.changes)
    if objective_of(config.objective, items=1).predicts_values:
        return override(config, {"objective.label": "engagement"})
    return config


def lowered(line: Line) -> jax.stages.Lowered:
    """The program of a line for the devices at hand, as the compiler gets it."""
    config = config_of(line)
    prepared = prepare(config, SHOPS[line.shop](config), (TRAIN,))
    if line.program == STEP:
        return trainer(prepared).lowered()
    return _lowered_ranking(line.program, prepared)


def _lowered_ranking(name: str, prepared: Prepared) -> jax.stages.Lowered:
    """A program of `Ranker`, for blocks of the size that it uses, split over all devices."""
    devices = device_count()
    tables = _tables(prepared, devices)
    ranker = Ranker(
        prepared.model, tables.variables, tables.log, tables.catalogue, devices=devices
    )
    if name == "encode_items":
        every_item = np.arange(tables.items, dtype=np.int32)
        encode = ranker._encode
        return encode.lower(tables.variables, tables.catalogue, every_item)
    user = np.zeros(ranker.block_sizes(ranker.block)[-1], np.int32)
    slots = min(SEEN_SLOTS, int(np.diff(prepared.log.seen_start).max()))
    fixed: tuple[Any, ...] = ()
    columns: tuple[np.ndarray, ...] = ()
    if name == "top_items":
        fixed = (slots, min(LIST, tables.items), False)
    elif name == "count_ranks":
        fixed = (slots,)
        columns = (user[:, None],)
    else:
        columns = (np.zeros((len(user), 100), np.int32),)
    program = ranker._program(getattr(programs, name), *fixed)
    return jax.jit(program).lower(tables, user, user, *columns)


def _tables(prepared: Prepared, devices: int) -> Tables:
    """What a ranking reads, as shapes."""
    model = prepared.model
    log, catalogue = lay((prepared.log, prepared.catalogue), devices=devices)
    if isinstance(model, NeuralModel):
        key = jax.random.PRNGKey(0)
        variables = jax.eval_shape(model.init, key, prepared.catalogue)
    else:
        variables = model.shapes()
    every_item = jnp.arange(len(prepared.catalogue.popularity), dtype=jnp.int32)
    item_side = jax.eval_shape(
        model.encode_items, variables, prepared.catalogue, every_item
    )
    variables, item_side = laid_shapes((variables, item_side), devices=devices)
    return Tables(variables, log, catalogue, item_side)
