"""Every setting of a run: frozen dataclasses from which the command line is made.

A default stands once, here. What a model needs differently stands in config.toml.
"""

import dataclasses
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, get_args

from ancf_jax.errors import UserError, nearest

ModelName = Literal[
    "ancf", "linear", "engagement", "mf", "gmf", "mlp", "neumf", "popularity", "most_bought", "ease", "ials"
]  # fmt: skip
FormatName = Literal["auto", "table", "movielens", "ncf", "sequences"]
LossName = Literal[
    "mse", "log_loss", "bce", "bpr", "softmax", "sampled_softmax", "gbce"
]
VALUE_LOSSES = (
    "mse",
    "log_loss",
)  # of a value that is known, instead of a choice among items
Granularity = Literal["hour", "weekday", "day", "month"]
CORNER_STORE = "corner-store"


@dataclass(frozen=True)
class TableConfig:
    """How the columns of a table of events are named (format `table`)."""

    user: str = "user_id"
    """Column that holds the shopper's id."""
    item: str = "item_id"
    """Column that holds the product's id, in the events and in the item table."""
    time: str = "timestamp"
    """Column of the time: unix seconds or milliseconds, or ISO 8601; may be absent."""
    rating: str = "rating"
    """Column of explicit ratings; may be absent, as may all below."""
    clicked: str = "clicked"
    """Column that says whether the shopper clicked (1/0, true/false)."""
    dwell: str = "dwell_seconds"
    """Column of the time spent on the product, in seconds."""
    hover: str = "hover_seconds"
    """Column of the time the pointer rested on the product, in seconds."""
    quantity: str = "quantity"
    """Column of the number of pieces bought."""
    event: str = "event"
    """Column of the kind of event (view, click, purchase ...)."""
    name: str = "name"
    """Column of the item table with the name that people read."""
    features: tuple[str, ...] = ("department", "category")
    """Columns of the item table used as levels of the hierarchy, widest first; several values in
    one field are separated by `|`."""
    user_features: tuple[str, ...] = ()
    """Columns of the user table used as features of the shopper."""
    items_file: str = ""
    """Item table, where it does not lie beside the events as items.csv or items.parquet."""
    users_file: str = ""
    """User table, where it does not lie beside the events as users.csv or users.parquet."""
    dwell_gap_cap: float = 0.0
    """Above 0: use the gap to the user's next event as dwell, no longer than this many seconds."""
    dwell_gap_drop: float = 0.0
    """Above 0: a gap of exactly this many seconds is an artefact and counts as unknown."""
    drop_broken: bool = False
    """Leave out broken rows and count them, instead of refusing the file at the first one."""


@dataclass(frozen=True)
class SplitConfig:
    """Which events train, validate and test."""

    kind: Literal["auto", "leave_one_out", "ratio", "time", "given"] = "auto"
    """`leave_one_out`: each user's last event tests, the one before validates; `ratio`: a random
    share; `time`: the latest share of all events; `given`: as the files say; `auto`: given where
    the files say so, else ratio for ratings and for engagement, and leave_one_out for the rest."""
    validation: float = 0.1
    """Share of the events that validate (ratio, time); with 0, of every kind, they train, and the last epoch is kept."""
    test: float = 0.1
    """Share of the events that test (ratio, time)."""
    fold: str = ""
    """Fold of the files that fixes the test events, e.g. u1 for u1.base and u1.test."""
    events: tuple[str, ...] = ()
    """Kinds of event that count, e.g. purchase; empty for all. The others are left out."""
    duplicates: Literal["keep", "first", "last"] = "keep"
    """What becomes of several events of one user with one item: all are kept, or one."""
    min_user_events: int = 1
    """Users with fewer events are left out."""
    min_item_events: int = 1
    """Items with fewer events are left out."""


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of a neural model, and a switch for each part of `ancf`."""

    embedding_size: int = 64
    """Width of user and item embeddings (of the MF path in `ancf`)."""
    mlp_size: int = 64
    """Width of the embeddings of the MLP path."""
    hidden: tuple[int, ...] = (32, 16)
    """Widths of the MLP tower, first layer first."""
    dropout: float = 0.1
    """Share of units dropped in training, in the history encoder and the MLP tower."""
    user_dropout: float = 0.1
    """Share of the training examples that do not know whose history it is, so that the history is learned from and
    new users are served as well as others (ancf with history)."""
    mf_path: bool = True
    """Whether the MF path contributes (ancf)."""
    mlp_path: bool = True
    """Whether the MLP path contributes (ancf)."""
    history: Literal["none", "causal", "candidate"] = "causal"
    """Attention over the user's history: none, causal self-attention, or candidate-aware (ancf)."""
    history_length: int = 50
    """Number of latest events that attention sees."""
    heads: int = 4
    """Attention heads."""
    layers: int = 2
    """Blocks of causal self-attention."""
    repeats: bool = True
    """Whether having had an item weighs by itself: by how many events and how much time ago, and how often this user
    had things again, and others this item and such of its department and category (ancf)."""
    followers: int = 0
    """Number of items known to come soon after each, which weigh by themselves after it; 0 for none. For data where
    nothing is had twice (ancf with causal history and softmax)."""
    popularity: bool = True
    """Whether an item starts from how popular it is (ancf)."""
    biases: bool = True
    """Whether every user and every item has a level of its own (ancf trained on ratings)."""
    temporal: tuple[Granularity, ...] = ("hour", "weekday", "day", "month")
    """Granularities of the temporal encoding; empty for none. Ignored where the data has no clock."""
    max_period: int = 365
    """Longest period of the temporal encoding, in its own unit."""
    hierarchy: bool = True
    """Whether the item's features (department, category) are embedded, weighed by attention (ancf)."""
    pooling: Literal["mean", "sum"] = "mean"
    """How the several values of one feature are pooled."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """What training minimises."""

    loss: LossName = "softmax"
    """mse (ratings), log_loss (scores in [0, 1]), or a ranking loss over the positive and negatives."""
    negatives: int = 256
    """Negatives drawn per step (shared by a window batch) or per example (models without windows)."""
    dual_positions: int = 4
    """Positions of each window at which `ancf` trains its dual output by full softmax; its MF output is
    trained at all of them. More costs time in proportion to the catalogue."""
    gbce_calibration: float = 0.75
    """t of gBCE: 0 is plain BCE, 1 removes the bias of sampling altogether."""


@dataclass(frozen=True)
class OptimConfig:
    """How parameters move."""

    optimizer: Literal["sgd", "adam", "adamw", "adagrad", "row_adagrad"] = "adamw"
    """Optax optimiser; row_adagrad keeps one figure per row of a matrix instead of one per entry."""
    learning_rate: float = 0.003
    """Peak learning rate."""
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    """How the learning rate decays to a hundredth of its peak over the run."""
    warmup_share: float = 0.05
    """Share of all steps in which the learning rate rises from 0 (not for constant)."""
    weight_decay: float = 0.01
    """Decoupled weight decay (adamw), or L2 penalty times learning rate (others)."""
    clip: float = 1.0
    """Largest global norm of the gradient; 0 for no limit."""


@dataclass(frozen=True)
class LoopConfig:
    """How training runs and when it stops."""

    batch_size: int = 16
    """Examples per step over all devices: windows for causal history, else events."""
    patience: int = 5
    """Epochs without a better validation metric before training stops; 0 never stops early."""
    metric: str = "auto"
    """Validation metric that chooses the best checkpoint: ndcg@10, hit_rate@10, loss, rmse, auc ...;
    auto takes ndcg@10 for ranking losses, auc for log_loss and loss for mse; last keeps the last epoch."""
    validation_users: int = 10_000
    """At most this many users, drawn once by seed, are ranked for the validation metric."""
    spread: Literal["pmap", "shard_map"] = "pmap"
    """How a step is spread over the local devices."""
    tables: Literal["auto", "dense", "sparse", "divided"] = "auto"
    """How tables of users and items are updated: whole (dense), or by the rows that a step touches (sparse), also
    with the rows divided among the devices; auto updates by row the tables much longer than a step touches."""
    stream: int = 0
    """About how many events a device holds at a time, for data that no device can hold; 0 for all."""
    distributed: bool = False
    """Train together with other processes that run the same command (several hosts)."""
    checkpoint_every: int = 1
    """Epochs between checkpoints."""


@dataclass(frozen=True)
class BaselineConfig:
    """Settings of the baselines with a closed form or alternating solution."""

    ease_l2: float = 1000.0
    """L2 penalty of `ease`."""
    ials_size: int = 128
    """Width of the factors of `ials`."""
    ials_l2: float = 0.006
    """L2 penalty of `ials`, scaled by frequency."""
    ials_unobserved: float = 0.2
    """Weight of unobserved pairs of `ials`."""
    ials_sweeps: int = 8
    """Alternations of `ials`."""


@dataclass(frozen=True)
class Config:
    """A whole run; saved with it, so that everything later can be opened from the run alone."""

    data: str = CORNER_STORE
    """File or folder of events; corner-store is the built-in simulated shop."""
    format: FormatName = "auto"
    """How the files are laid out; detected from them by default."""
    model: ModelName = "ancf"
    """Which system to train."""
    run: str = ""
    """Folder of the run: checkpoints, curves, vocabularies; runs/DATA-MODEL by default."""
    epochs: int = 10
    """Passes over the training events."""
    seed: int = 0
    """Seed of everything random; the same seed gives the same run."""
    keep_seen: bool | None = None
    """Whether items that the user already had may be recommended and count as hits (repeat buying);
    by default only in the built-in corner store, where people buy again."""
    table: TableConfig = field(default_factory=TableConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    baseline: BaselineConfig = field(default_factory=BaselineConfig)


BASELINES = ("popularity", "most_bought", "ease", "ials")
MODEL_DEFAULTS = tomllib.loads(
    resources.files("ancf_jax").joinpath("config.toml").read_text("utf-8")
)


def default_config(model: str) -> Config:
    """The defaults of one model; raises UserError for an unknown name."""
    if model not in (known := get_args(ModelName)):
        raise UserError(
            f'there is no model "{model}"{nearest(model, known)}; choose one of {", ".join(known)}'
        )
    family = (
        {}
        if model == "ancf"
        else MODEL_DEFAULTS["baselines" if model in BASELINES else "ncf_family"]
    )
    return override(
        Config(model=model), _from_text(family | MODEL_DEFAULTS.get(model, {}))
    )  # type: ignore[arg-type]


def override(config: Any, changes: dict[str, Any]) -> Any:
    """`config` with fields replaced by dotted name, e.g. {"optim.clip": 1.0}; UserError for an unknown one."""
    known = [f.name for f in dataclasses.fields(config)]
    for name, value in changes.items():
        head, _, rest = name.partition(".")
        if head not in known:
            raise UserError(
                f'there is no setting "{head}"{nearest(head, known)}; choose one of {", ".join(known)}'
            )
        child = override(getattr(config, head), {rest: value}) if rest else value
        config = dataclasses.replace(config, **{head: child})
    return config


def flatten(config: Config) -> dict[str, Any]:
    """All fields by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        flat |= (
            {f"{name}.{field}": v for field, v in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return flat


def to_json(config: Config) -> str:
    """The resolved settings as JSON text, by dotted name."""
    return json.dumps(flatten(config), indent=2)


def from_json(text: str) -> Config:
    """The settings written by `to_json`; unknown keys raise UserError."""
    return override(Config(), _from_text(json.loads(text)))


def _from_text(flat: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON and TOML give them, whose lists are our tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in flat.items()
    }


LIMITS: dict[str, tuple[Callable[[float], bool], str]] = {
    "0 or more": (lambda x: x >= 0, """epochs seed objective.negatives optim.weight_decay optim.clip loop.patience
        network.followers loop.stream table.dwell_gap_cap table.dwell_gap_drop"""),
    "1 or more": (lambda x: x >= 1, """loop.batch_size loop.checkpoint_every loop.validation_users
        objective.dual_positions network.embedding_size network.mlp_size network.hidden network.heads network.layers
        network.history_length network.max_period baseline.ials_size baseline.ials_sweeps"""),
    "above 0": (lambda x: x > 0, "optim.learning_rate baseline.ease_l2 baseline.ials_l2 baseline.ials_unobserved"),
    "from 0 to 1": (lambda x: 0 <= x <= 1, "objective.gbce_calibration"),
    "from 0 to below 1": (lambda x: 0 <= x < 1, """network.dropout network.user_dropout optim.warmup_share
        split.validation"""),
    "above 0 and below 1": (lambda x: 0 < x < 1, "split.test"),
}  # fmt: skip


def validate(config: Config) -> None:
    """Raises UserError where settings are out of range or contradict each other."""
    flat, network = flatten(config), config.network
    for expected, (fine, names) in LIMITS.items():
        for name in names.split():
            found = flat[name]
            if not all(map(fine, found if isinstance(found, tuple) else (found,))):
                raise UserError(
                    f"--{name.replace('_', '-')} is {found}, expected {expected}"
                )
    if not network.hidden:
        raise UserError(
            "--network.hidden is empty, expected the widths of the MLP tower, such as 32 16"
        )
    if network.mlp_size % (heads := network.heads):
        raise UserError(
            f"--network.mlp-size is {network.mlp_size}, expected a multiple of --network.heads {heads}"
        )
    if not (network.mf_path or network.mlp_path):
        raise UserError(
            "--network.mf-path and --network.mlp-path are both off; switch one on"
        )
