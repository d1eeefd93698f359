"""The four systems, the NCF family and the baselines, all behind `protocol.Model`."""

import dataclasses

from ancf_jax.config import BASELINES, VALUE_LOSSES, Config, override
from ancf_jax.models.ancf import Ancf
from ancf_jax.models.baselines import MostBought, Popularity
from ancf_jax.models.ease import Ease
from ancf_jax.models.engagement import Engagement
from ancf_jax.models.ials import Ials
from ancf_jax.models.linear import Linear
from ancf_jax.models.neumf import MatrixFactorisation, NeuMF
from ancf_jax.models.protocol import Baseline, NeuralModel
from ancf_jax.types import Sizes


def build(config: Config, sizes: Sizes, clock: bool) -> NeuralModel | Baseline:
    """The model that `config` names; without a `clock` (real times) there is no temporal encoding."""
    if config.model in BASELINES:
        return _baseline(config, sizes)
    if config.model == "ancf":
        network = (
            config.network
            if clock
            else dataclasses.replace(config.network, temporal=())
        )
        window = network.history == "causal"
        # How often something is had says nothing about how it is rated, and its level is known where it is popular.
        # What came next can be left out of windows alone, and tables updated by row would number followers anew.
        value = config.objective.loss in VALUE_LOSSES
        past = network.history != "none"
        parts = {
            "repeats": past and not value,
            "popularity": not value,
            "biases": value,
        }
        parts["followers"] = window and config.objective.loss == "softmax"
        network = override(
            network, {name: on and getattr(network, name) for name, on in parts.items()}
        )
        length = 0 if network.history == "none" else network.history_length
        link = "identity" if config.objective.loss == "mse" else "sigmoid"
        kind = (
            "window" if window else "event",
            link,
            length,
            network.followers,
            window and network.mlp_path,
        )
        return NeuralModel(Ancf(sizes, network), *kind)
    net = config.network
    if config.model == "linear":
        return NeuralModel(Linear(sizes, net.embedding_size), link="identity")
    if config.model == "engagement":
        return NeuralModel(
            Engagement(sizes, net.embedding_size, net.hidden, net.dropout)
        )
    if config.model == "mf":
        return NeuralModel(MatrixFactorisation(sizes, net.embedding_size))
    parts = {"gmf": config.model != "mlp", "mlp": config.model != "gmf"}
    return NeuralModel(
        NeuMF(sizes, net.embedding_size, net.mlp_size, net.hidden, net.dropout, **parts)
    )


def _baseline(config: Config, sizes: Sizes) -> Baseline:
    b = config.baseline
    ials = Ials(sizes, b.ials_size, b.ials_l2, b.ials_unobserved, b.ials_sweeps)
    known = {
        "popularity": Popularity(sizes),
        "most_bought": MostBought(sizes),
        "ease": Ease(sizes, b.ease_l2),
    }
    return (known | {"ials": ials})[config.model]
