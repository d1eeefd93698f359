"""The settings of `ancf`: its shape, a switch for each part, and what its loss implies."""

from dataclasses import dataclass, replace
from typing import Literal

from ancf_jax.config import ObjectiveConfig
from ancf_jax.errors import UserError
from ancf_jax.limits import Count, Layers, Share, Size, Widths, require_layers
from ancf_jax.objective.objective import objective_of

Granularity = Literal["hour", "weekday", "day", "month"]
History = Literal["none", "causal", "candidate", "bag"]


@dataclass(frozen=True)
class AncfSettings:
    """The shape of `ancf`, and a switch for each of its parts."""

    embedding_size: Size = 64
    """Width of user and item embeddings of the MF path."""
    mlp_size: Size = 64
    """Width of the embeddings of the MLP path."""
    hidden: Widths = (32, 16)
    """Widths of the MLP tower, first layer first."""
    dropout: Share = 0.1
    """Share of units dropped in training, in the history encoder and the MLP tower."""
    user_dropout: Share = 0.1
    """Share of the training examples that do not know whose history it is, so that the history
    is learned from and new users are served as well as others."""
    mf_path: bool = True
    """Whether the MF path contributes."""
    mlp_path: bool = True
    """Whether the MLP path contributes."""
    history: History = "causal"
    """What is made of the user's history: nothing (none), causal self-attention, candidate-aware
    attention, or the sum over the user's other events by what they say of their items (bag), as of
    SVD++; a bag learns from later events, too, so it is for values such as ratings, whose held-out
    events lie among the others."""
    history_length: Size = 50
    """Number of latest events that attention, or the bag, sees."""
    heads: Size = 4
    """Attention heads."""
    layers: Layers = 2
    """Blocks of causal self-attention."""
    repeats: bool = True
    """Whether earlier events with an item weigh by themselves: by how many they are and how long
    ago, and by how often this user repeats, and others repeat this item and those of its
    department and category."""
    followers: Count = 0
    """Number of items known to come soon after each, which weigh by themselves after it; 0 for
    none. For data where nothing repeats (with causal history and softmax)."""
    popularity: bool = True
    """Whether an item starts from how popular it is."""
    biases: bool = True
    """Whether every user and every item has a level of its own (when trained on ratings)."""
    temporal: tuple[Granularity, ...] = ("hour", "weekday", "day", "month")
    """Granularities of the temporal encoding; empty for none. Ignored where the data has no
    clock."""
    max_period: Size = 365
    """Longest period of the temporal encoding, in its own unit."""
    hierarchy: bool = True
    """Whether the item's features (department, category) are embedded, weighed by attention."""
    pooling: Literal["mean", "sum"] = "mean"
    """How the several values of one feature are pooled."""
    dual_positions: Size = 4
    """Positions of each window at which the dual output is trained by full softmax; the MF
    output is trained at all of them. More costs time in proportion to the catalogue."""

    def check(self) -> None:
        """Raises UserError where settings contradict each other."""
        require_layers(self.hidden)
        if self.mlp_size % self.heads:
            raise UserError(
                f"--network.mlp-size is {self.mlp_size}, expected a multiple of "
                f"--network.heads {self.heads}"
            )
        if not (self.mf_path or self.mlp_path):
            raise UserError(
                "--network.mf-path and --network.mlp-path are both off; switch one on"
            )


def effective(
    settings: AncfSettings, objective: ObjectiveConfig, clock: bool
) -> AncfSettings:
    """`settings` without the parts for which the loss or the data has no use.

    A bag knows no order, without which nothing is a repeat.
    A model of ratings has biases in place of popularity and repeats: how often an item is bought
    says nothing about how it is rated. A model of choices has no biases: how popular an item is
    says them already. Followers need windows and every item as a candidate: what came next can be
    left out of the counts of windows alone, and tables updated by row number the items anew.
    Without a `clock` (real times) there is no temporal encoding.
    """
    loss = objective_of(objective, items=1)
    counts_followers = settings.history == "causal" and loss.candidates == "catalogue"
    return replace(
        settings,
        biases=settings.biases and loss.predicts_values,
        popularity=settings.popularity and not loss.predicts_values,
        repeats=settings.repeats
        and settings.history not in ("none", "bag")
        and not loss.predicts_values,
        followers=settings.followers if counts_followers else 0,
        temporal=settings.temporal if clock else (),
    )
