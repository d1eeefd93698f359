"""The four systems, the NCF family and the baselines, all behind `protocol.Model`."""

from __future__ import annotations

import dataclasses

from ancf_jax.config import BASELINES, Config
from ancf_jax.models.ancf import Ancf
from ancf_jax.models.baselines import baseline
from ancf_jax.models.engagement import Engagement
from ancf_jax.models.linear import Linear
from ancf_jax.models.neumf import MatrixFactorisation, NeuMF
from ancf_jax.models.protocol import Model, NeuralModel
from ancf_jax.types import Sizes


def build(config: Config, sizes: Sizes, clock: bool, max_events: int) -> Model:
    """The model that `config` names.

    Args:
        clock: whether times are real; without a clock there is no temporal encoding.
        max_events: most events that one user has in any log (baselines read whole histories).
    """
    if config.model in BASELINES:
        return baseline(config, sizes, max_events)
    if config.model == "ancf":
        network = config.network if clock else dataclasses.replace(config.network, temporal=())
        unit = "window" if network.history == "causal" else "event"
        length = 1 if network.history == "none" else network.history_length
        return NeuralModel(Ancf(network, sizes), unit, history_length=length)
    net = config.network
    if config.model == "linear":
        return NeuralModel(Linear(sizes, net.embedding_size), link="identity")
    if config.model == "engagement":
        return NeuralModel(Engagement(sizes, net.embedding_size, net.hidden, net.dropout))
    if config.model == "mf":
        return NeuralModel(MatrixFactorisation(sizes, net.embedding_size))
    parts = {"gmf": config.model != "mlp", "mlp": config.model != "gmf"}
    return NeuralModel(NeuMF(sizes, net.embedding_size, net.mlp_size, net.hidden, net.dropout, **parts))
