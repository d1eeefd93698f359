"""The losses that a step minimises: over drawn candidates, or over the catalogue by windows."""

from operator import itemgetter
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.machine.sizes import softmax_rows
from ancf_jax.models.protocol import CandidateGroups, NeuralModel
from ancf_jax.objective import losses
from ancf_jax.objective.objective import Objective
from ancf_jax.training.dense import Reported, StepLoss
from ancf_jax.types import Array, Batch, Catalogue, Variables


class Examples(NamedTuple):
    """What one device learns from in a step.

    Attributes:
        batch: the events and what was known before them.
        candidates: the items that are scored; none where `positions` are given.
        weight: [..., C] of every candidate, or [..., 1] for all of an example.
        positions: int32 [B, P] the positions of windows at which a dual model scores the whole
            catalogue by both outputs; None for other models and losses.
        key: of the randomness in the model, dropout.
    """

    batch: Batch
    candidates: CandidateGroups
    weight: Array
    positions: Array | None
    key: Array


class World(NamedTuple):
    """All that a loss is computed from besides the variables.

    Attributes:
        model: the model, whose sizes fit the catalogue.
        catalogue: what is known of items and users.
        examples: what is learned from, by row numbers of the catalogue.
    """

    model: NeuralModel
    catalogue: Catalogue
    examples: Examples


def step_loss(objective: Objective, world: World, variables: Variables) -> StepLoss:
    """The loss of this device's examples: the sum over the members of a model.

    Members learn from the same examples, each with a dropout of its own. What is reported is their
    mean.
    """
    members = world.model.members
    if members == 1:
        return member_loss(objective, world, variables)

    # One after the other, for a loop on the device would keep copies of all that gradients need.
    keys = jax.random.split(jnp.asarray(world.examples.key), members)
    found = []
    for number, key in enumerate(keys):
        own = jax.tree.map(itemgetter(number), variables)
        examples = world.examples._replace(key=key)
        own_world = world._replace(examples=examples)
        found.append(member_loss(objective, own_world, own))
    loss = sum(of_member.loss for of_member in found)
    beside = jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
    reported = jax.tree.map(lambda x: x.mean(0), beside.reported)
    return StepLoss(jnp.asarray(loss), found[0].weight, reported, beside.batch_stats)


def member_loss(objective: Objective, world: World, variables: Variables) -> StepLoss:
    """The loss of one member, by windows where positions were drawn for the examples."""
    positions = world.examples.positions
    if positions is None:
        return candidate_loss(objective, world, variables)
    return window_loss(positions, world, variables)


def candidate_loss(
    objective: Objective, world: World, variables: Variables
) -> StepLoss:
    """The loss of each example's positive among its candidates."""
    model, catalogue, examples = world
    batch = examples.batch
    count = sum(group.shape[-1] for group in examples.candidates)
    pair_weight = jnp.broadcast_to(
        examples.weight * batch.weight[..., None], (*batch.weight.shape, count)
    )
    scores, batch_stats = model.train(
        variables,
        examples.key,
        "forward",
        catalogue,
        batch.request,
        examples.candidates,
        pair_weight,
    )
    per_example = objective.per_example(batch, scores, examples.weight)
    loss = (per_example * batch.weight).sum()
    weight = batch.weight.sum()
    return StepLoss(loss, weight, Reported(loss, weight), batch_stats)


def window_loss(positions: Array, world: World, variables: Variables) -> StepLoss:
    """Full softmax of both outputs of a dual model: dual at a few positions, MF at all.

    Every position counts alike in the sum, so that the few do not drown the many in noise. The
    dual output alone is reported.

    Args:
        positions: int32 [B, P] at which the dual output is scored.
        world: what the loss is computed from.
        variables: of the model.
    """
    model, catalogue, examples = world
    batch = examples.batch
    positive = jnp.take_along_axis(batch.positive, positions, axis=1)
    weight = jnp.take_along_axis(batch.weight, positions, axis=1)
    (mf, dual), batch_stats = model.train(
        variables,
        examples.key,
        "forward_window",
        catalogue,
        batch.request,
        positions,
        weight,
    )
    dual_loss = (losses.softmax(dual, positive) * weight).sum()
    loss = dual_loss
    if mf is not None:
        rows, item_rows, prior = mf
        loss = dual_loss + losses.product_softmax(
            rows,
            item_rows,
            prior,
            batch.positive,
            batch.weight,
            chunk_rows=softmax_rows(len(item_rows)),
        )
    reported = Reported(dual_loss, weight.sum())
    return StepLoss(loss, batch.weight.sum(), reported, batch_stats)
