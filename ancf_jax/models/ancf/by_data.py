"""The settings of `ancf` that suit what is known of the data.

They are those of the presets, which were chosen on validation. The bounds below lie between the
data sets of the presets; where exactly, nothing was measured.

Three questions decide. Do people take the same again? Then what they had is a strong guess, and
training must not unlearn it. How many events has an item? Few events bear few parameters. How many
has a user? One of few events is known by the history better than by a row of its own.
"""

from typing import Any

from ancf_jax.config import Config
from ancf_jax.objective.objective import objective_of
from ancf_jax.types import Facts

WELL_KNOWN = (
    200  # events an item from which on its row is learned without much restraint
)
RARE = 50  # events an item below which its row needs much restraint
SHORT = 20  # events a user below which its own row says little
LARGE = 500_000  # events from which on twice the width and epochs pay
HISTORY_LENGTHS = (50, 100, 200)
FULL_SOFTMAX = 200_000  # items beyond which a softmax over all of them takes too long


def by_data(config: Config, known: Facts) -> dict[str, Any]:
    """Settings by dotted name, for data of which `known` is known; others stand as they are."""
    if objective_of(config.objective, items=1).predicts_values:
        return dict(_RATINGS)
    rules = _of_repeats if known.people_buy_again else _of_sequences
    settings = rules(known)
    if known.items > FULL_SOFTMAX:
        settings["objective.loss"] = "sampled_softmax"
        settings["objective.negatives"] = 1024
    return settings


_RATINGS = {
    "network.history": "bag",
    "network.history_length": 700,
    "network.user_dropout": 0.0,
    "network.mlp_path": False,
    "network.temporal": (),
    "network.embedding_size": 32,
    "network.mlp_size": 32,
    "optim.optimizer": "adam",
    "optim.learning_rate": 0.005,
    "optim.weight_decay": 1.2e-3,
    "loop.batch_size": 512,
    "epochs": 12,
}


def _of_repeats(known: Facts) -> dict[str, Any]:
    """For shops: small and restrained, unless every product is sold hundreds of times."""
    if known.events >= WELL_KNOWN * known.items:
        return {}
    return {
        "network.history_length": _history_length(known),
        "network.layers": 1,
        "network.embedding_size": 16,
        "network.mlp_size": 16,
        "network.mlp_path": False,
        "network.dropout": 0.5,
        "network.user_dropout": 0.5,
        "network.dual_positions": 1,
        "optim.learning_rate": 0.001,
        "optim.weight_decay": 20.0,
        "loop.batch_size": 4 if known.users < 5_000 else 16,
        "epochs": 2,
    }


def _of_sequences(known: Facts) -> dict[str, Any]:
    """For films, books and the like, where nothing is taken twice and what follows counts."""
    is_rare = known.events < RARE * known.items
    is_large = known.events >= LARGE and not is_rare
    return {
        "network.history_length": _history_length(known),
        "network.embedding_size": 128 if is_large else 64,
        "network.mlp_size": 128 if is_large else 64,
        "network.dropout": 0.4 if is_rare else 0.25,
        "network.user_dropout": 0.9 if known.history < SHORT else 0.5,
        "network.followers": 16,
        "network.dual_positions": 1,
        "optim.learning_rate": 0.002,
        "optim.weight_decay": 0.5 if is_rare else 0.01,
        "epochs": 20 if is_large else 8,
    }


def _history_length(known: Facts) -> int:
    """The shortest of the lengths that holds the history of nine of ten users, or the longest."""
    enough = (length for length in HISTORY_LENGTHS if length >= known.history)
    return next(enough, HISTORY_LENGTHS[-1])
