"""A model with the data that it learns from: made once, handed to all that needs it."""

from dataclasses import dataclass

from ancf_jax import data
from ancf_jax.config import Config
from ancf_jax.data import Dataset
from ancf_jax.models.protocol import FittedModel, NeuralModel
from ancf_jax.models.registry import build
from ancf_jax.types import Catalogue, EventLog


@dataclass(frozen=True)
class Prepared:
    """A model with its data, on the host; whoever computes with them lays them on devices.

    Attributes:
        config: the resolved settings.
        dataset: all events, and the parts they belong to.
        model: the model, sized for the data.
        log: the events that the model may see (NumPy columns).
        catalogue: what is known of items and users besides (NumPy arrays).
    """

    config: Config
    dataset: Dataset
    model: NeuralModel | FittedModel
    log: EventLog
    catalogue: Catalogue


def prepare(config: Config, dataset: Dataset, parts: tuple[int, ...]) -> Prepared:
    """The model of `config` with the events of `parts` of the dataset.

    Raises:
        UserError: no such model is registered.
    """
    model = build(config, data.sizes(dataset), dataset.interactions.clock)
    followers = model.followers if isinstance(model, NeuralModel) else 0
    return Prepared(
        config=config,
        dataset=dataset,
        model=model,
        log=data.event_log(dataset, parts),
        catalogue=data.catalogue(dataset, parts, followers),
    )
