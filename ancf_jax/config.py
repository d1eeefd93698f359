"""Every setting of a run: frozen dataclasses from which the command line is made.

A default stands once, here; the settings of a model stand beside the model, and what a model
needs differently from the defaults here stands with its registration (`models.registry`).
Limits stand on the fields, as `annotated_types` say them.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    TypeVar,
    get_type_hints,
)

from annotated_types import Interval

from ancf_jax.errors import UserError, nearest
from ancf_jax.limits import (
    Count,
    MetricName,
    NotNegative,
    Positive,
    Seed,
    Share,
    Size,
    check_value,
)
from ancf_jax.types import Precision

FormatName = Literal["auto", "table", "movielens", "ncf", "sequences"]
LossName = Literal[
    "mse", "log_loss", "bce", "bpr", "softmax", "sampled_softmax", "gbce"
]
SplitKind = Literal["auto", "next_basket", "leave_one_out", "ratio", "time", "given"]
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
    keep_unsold_items: bool = False
    """Rank all products of the item table that have no event, too; by default only where they are
    few (the table at most twice as long as the list of products with events)."""
    dwell_gap_cap: NotNegative = 0.0
    """Above 0: use the gap to the user's next event as dwell, no longer than this many seconds."""
    dwell_gap_drop: NotNegative = 0.0
    """Above 0: a gap of exactly this many seconds is an artefact and counts as unknown."""
    encoding: str = "utf-8"
    """Encoding of text files of any format, such as latin-1, cp1252 or shift_jis; a BOM says by
    itself that a file is in UTF-16."""
    drop_broken: bool = False
    """Leave out broken rows and count them, instead of refusing the file at the first one."""


@dataclass(frozen=True)
class SplitConfig:
    """Which events train, validate and test."""

    kind: SplitKind = "auto"
    """`next_basket`: each user's last basket tests, the one before validates; `leave_one_out`: each
    user's last event tests, with the rest of its basket known; `ratio`: a random share; `time`: the
    latest share of all events, by whole baskets; `given`: as the files say; `auto`: given where the
    files say so, ratio for ratings and for engagement, next_basket where most events share their
    moment with the one before, and leave_one_out for the rest."""
    basket_minutes: NotNegative = 0.0
    """An event at most so many minutes after the user's event before is in its basket (next_basket,
    time); with 0, events of one moment are."""
    validation: Share = 0.1
    """Share of the events that validate (ratio, time); with 0, whatever the kind, they train, and
    the last epoch is kept."""
    test: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    """Share of the events that test (ratio, time)."""
    fold: str = ""
    """Fold of the files that fixes the test events, e.g. u1 for u1.base and u1.test."""
    events: tuple[str, ...] = ()
    """Kinds of event that count, e.g. purchase; empty for all. The others are left out."""
    duplicates: Literal["keep", "first", "last"] = "keep"
    """What becomes of several events of one user with one item: all are kept, or one."""
    min_user_events: Size = 1
    """Users with fewer events are left out."""
    min_item_events: Size = 1
    """Items with fewer events are left out."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """What training minimises."""

    loss: LossName = "softmax"
    """mse (ratings), log_loss (scores in [0, 1]), or a ranking loss over the positive and
    negatives."""
    label: Literal["rating", "engagement"] = "rating"
    """What an event says of how much the item was liked: its rating (1 where there is none), or
    the engagement score of its hover time, dwell time and click."""
    negatives: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 256
    """Negatives drawn per step (shared by a window batch) or per example (models without
    windows)."""
    gbce_calibration: Annotated[float, Interval(ge=0, le=1)] = 0.75
    """t of gBCE: 0 is plain BCE, 1 removes the bias of sampling altogether."""


@dataclass(frozen=True)
class OptimConfig:
    """How parameters move."""

    optimizer: Literal["sgd", "adam", "adamw", "adagrad", "row_adagrad"] = "adamw"
    """Optax optimiser; row_adagrad keeps one figure per row of a matrix instead of one per
    entry."""
    learning_rate: Positive = 0.003
    """Peak learning rate."""
    schedule: Literal["constant", "cosine", "linear"] = "cosine"
    """How the learning rate decays to a hundredth of its peak over the run."""
    warmup_share: Share = 0.05
    """Share of all steps in which the learning rate rises from 0 (not for constant)."""
    weight_decay: NotNegative = 0.01
    """Decoupled weight decay (adamw), or L2 penalty times learning rate (others)."""
    clip: NotNegative = 1.0
    """Largest global norm of the gradient; 0 for no limit."""


@dataclass(frozen=True)
class LoopConfig:
    """How training runs and when it stops."""

    batch_size: Size = 16
    """Examples per step over all devices: windows for causal history, else events."""
    members: Size = 1
    """Parameter sets that are trained side by side, each from a first draw of its own; a score is
    the mean of theirs. Time and memory grow with their number."""
    patience: Count = 5
    """Epochs without a better validation metric before training stops; 0 never stops early."""
    metric: MetricName = "auto"
    """Validation metric that chooses the best checkpoint; auto takes ndcg@10 for ranking losses,
    auc for log_loss and loss for mse; last keeps the last epoch."""
    validation_users: Size = 10_000
    """At most this many users, drawn once by seed, are ranked for the validation metric."""
    precision: Precision = "tf32"
    """How training multiplies: float32; tf32, the fast form of it that GPUs and TPUs have; or
    bfloat16 in encoder, tower and softmax, for large models on such devices. CPUs know float32
    alone and make bfloat16 slowly."""
    spread: Literal["pmap", "shard_map"] = "pmap"
    """How a step is spread over the local devices."""
    tables: Literal["auto", "dense", "sparse", "divided"] = "auto"
    """How tables of users and items are updated: whole (dense), or by the rows that a step touches
    (sparse), also with the rows divided among the devices; auto updates by row the tables much
    longer than a step touches."""
    stream: Count = 0
    """About how many events a device holds at a time, for data that no device can hold; 0 for
    all."""
    distributed: bool = False
    """Train together with other processes that run the same command (several hosts)."""
    checkpoint_every: Size = 1
    """Epochs between checkpoints."""


@dataclass(frozen=True)
class NoSettings:
    """The settings of a model that has none."""


Network = TypeVar("Network")


@dataclass(frozen=True)
class Config(Generic[Network]):
    """A whole run; saved with it, so that everything later can be opened from the run alone."""

    data: str = CORNER_STORE
    """File or folder of events; corner-store is the built-in simulated shop."""
    format: FormatName = "auto"
    """How the files are laid out; detected from them by default."""
    model: str = "ancf"
    """Which system to train."""
    run: str = ""
    """Folder of the run: checkpoints, curves, vocabularies; runs/DATA-MODEL by default."""
    epochs: Count = 10
    """Passes over the training events."""
    seed: Seed = 0
    """Seed of everything random; the same seed gives the same run."""
    keep_seen: bool | None = None
    """Whether items that the user already had may be recommended and count as hits (repeat
    buying); by default where at least 5 % of the training events repeat an earlier one."""
    network: Network = field(default_factory=NoSettings)  # pyrefly: ignore
    """The settings of the model itself; each model brings its own."""
    table: TableConfig = field(default_factory=TableConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


def override(config: Any, changes: dict[str, Any]) -> Any:
    """`config` with fields replaced by dotted name, e.g. {"optim.clip": 1.0}.

    Raises:
        UserError: there is no such setting.
    """
    known = [field.name for field in dataclasses.fields(config)]
    for name, value in changes.items():
        group, _, rest = name.partition(".")
        if group not in known:
            choices = f"choose one of {', '.join(known)}" if known else "it has none"
            raise UserError(
                f'there is no setting "{group}"{nearest(group, known)}; {choices}'
            )
        if rest:
            value = override(getattr(config, group), {rest: value})
        config = dataclasses.replace(config, **{group: value})
    return config


def flatten(config: Any) -> dict[str, Any]:
    """All fields by dotted name."""
    return {name: value for name, value, _ in _fields_of(config)}


def _fields_of(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted name, value and type of every field, those of nested dataclasses included."""
    hints = get_type_hints(type(config), include_extras=True)
    for each in dataclasses.fields(config):
        value = getattr(config, each.name)
        if dataclasses.is_dataclass(value):
            yield from _fields_of(value, f"{prefix}{each.name}.")
        else:
            yield prefix + each.name, value, hints[each.name]


def as_flag(name: str, value: Any) -> list[str]:
    """The words of the command line that give a setting, by dotted name, its value."""
    dashed = name.replace("_", "-")
    if value is False:
        group, dot, field_name = dashed.rpartition(".")
        return [f"--{group}{dot}no-{field_name}"]
    if value is True:
        return [f"--{dashed}"]
    values = value if isinstance(value, tuple) else (value,)
    return [f"--{dashed}", *map(str, values)]


def to_json(config: Config) -> str:
    """The resolved settings as JSON text, by dotted name."""
    return json.dumps(flatten(config), indent=2)


def from_text(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them, whose lists are our tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in flat.items()
    }


def validate(config: Config) -> None:
    """Checks type and limits of every field, then what the model's settings demand together.

    Raises:
        UserError: a setting is of another type or out of range, or settings contradict each other.
    """
    for name, value, hint in _fields_of(config):
        check_value(f"--{name.replace('_', '-')}", value, hint)
    check = getattr(config.network, "check", None)
    if check is not None:
        check()
