"""`ancf`, the flagship: one file for each part of its formula, composed in `model`."""

from ancf_jax.config import Config
from ancf_jax.models.ancf.by_data import by_data
from ancf_jax.models.ancf.config import AncfSettings, effective
from ancf_jax.models.ancf.model import Ancf
from ancf_jax.models.protocol import NeuralModel
from ancf_jax.models.registry import Registration
from ancf_jax.types import Sizes


def build(config: Config, sizes: Sizes, clock: bool, **parts: object) -> NeuralModel:
    """`ancf` by its settings; `parts` such as `context=MyContext` take the place of its own."""
    settings = effective(config.network, config.objective, clock)
    by_windows = settings.history == "causal"
    return NeuralModel(
        module=Ancf(sizes, settings, **parts),  # pyrefly: ignore
        unit="window" if by_windows else "event",
        both_sides=settings.history == "bag",
        history_length=0 if settings.history == "none" else settings.history_length,
        followers=settings.followers,
        dual=by_windows and settings.mlp_path,
        dual_positions=settings.dual_positions,
    )


ANCF = Registration("ancf", AncfSettings, build, by_data=by_data)
