"""One per-device training step, and the program that runs many of them on the device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ancf_jax.config import VALUE_LOSSES, ObjectiveConfig
from ancf_jax.data.histories import batch_of_events, batch_of_windows
from ancf_jax.data.negatives import draw_uniform, first_unseen
from ancf_jax.models.protocol import Groups, NeuralModel
from ancf_jax.modules.heads import AXIS
from ancf_jax.objective import losses
from ancf_jax.training.parallel import local_share, over_devices
from ancf_jax.training.tables import World, kinds_of, pack, places, small_world, unpack
from ancf_jax.types import Array, Batch, Catalogue, EventLog, TrainState

Loss = tuple[
    Array, tuple[tuple[Array, Array], Any]
]  # the sum to minimise; loss sum and weight; batch statistics
Drawn = tuple[
    Batch, Groups, Array, Array
]  # the batch, its candidates, their weight, and two keys
Stepped = tuple[TrainState, Array, Array]  # the new state; loss sum and weight


def make_batch(model: NeuralModel, log: EventLog, event: Array) -> Batch:
    """The batch of examples by the model's unit: event numbers [B], or [B, L] rows of windows; -1 is padding."""
    return (
        batch_of_windows(log, event)
        if model.unit == "window"
        else batch_of_events(log, event, model.history_length)
    )


def draw_negatives(
    model: NeuralModel,
    objective: ObjectiveConfig,
    log: EventLog,
    batch: Batch,
    most_seen: int,
    key: Array,
    share: bool,
) -> tuple[Groups, Array]:
    """The candidates of a batch, positives first, and the weight [..., C] of every candidate, [..., 1] for one of all.

    A window batch shares its negatives, which do not count where they are the positive itself; an
    event has its own, none of which its user has in the log (`most_seen` items at most). With `share` the draw
    is made for the batch of all devices and each takes its share, so it does not depend on their number.
    """
    positive, items, ones = (
        batch.positive[..., None],
        model.sizes.items,
        jnp.ones((*batch.positive.shape, 1)),
    )
    if objective.loss in VALUE_LOSSES:
        return (positive,), ones
    if objective.loss == "softmax":
        return (jnp.arange(items, dtype=jnp.int32),), ones
    if model.unit == "window":
        shared = draw_uniform(key, (objective.negatives,), items)
        other = shared.reshape((1,) * batch.positive.ndim + (-1,)) != positive
        return (positive, shared), jnp.concatenate(
            [ones, other.astype(jnp.float32)], -1
        )
    keys, rows = jax.random.split(key), batch.query.user.shape[0]
    drawn = _of_all_devices(
        lambda rows: draw_uniform(keys[0], (rows, objective.negatives), items),
        rows,
        share,
    )
    again = (
        drawn + draw_uniform(keys[1], (), items)
    ) % items  # a second try for those that are seen
    drawn, weight = first_unseen(log, batch.row, jnp.stack([drawn, again]), most_seen)
    return (jnp.concatenate([positive, drawn], -1),), jnp.concatenate(
        [ones, weight], -1
    )


def _of_all_devices(draw: Callable[[int], Array], rows: int, share: bool) -> Array:
    """draw(rows); with `share` this device's rows of what is drawn for all, so that their number does not matter."""
    return local_share(draw(rows * jax.lax.axis_size(AXIS))) if share else draw(rows)


def example_loss(
    objective: ObjectiveConfig, batch: Batch, scores: Array, weight: Array, items: int
) -> Array:
    """Loss of every example, shaped as `batch.positive`, from scores [..., C] of its candidates."""
    if objective.loss in VALUE_LOSSES:
        return losses.value_loss(objective)(scores[..., 0], batch.value)
    if objective.loss == "softmax":
        return losses.softmax(scores, batch.positive)
    return losses.ranking_loss(objective, items)(scores, weight[..., 1:])


def dual_positions(weight: Array, count: int, key: Array, share: bool) -> Array:
    """`count` random positions int32 [B, P] of each window [B, L], those of weight 0 last.

    With `share` the draw does not depend on the number of devices.
    """
    rows, length = weight.shape
    noise = _of_all_devices(
        lambda rows: jax.random.uniform(key, (rows, length)), rows, share
    )
    return jax.lax.top_k(noise + weight, min(count, length))[1]


def window_loss(
    world: World, objective: ObjectiveConfig, variables: Any, weight: Array, keys: Array
) -> Loss:
    """Full softmax of both outputs of `ancf`: the dual output at a few positions, the MF output at all.

    Every position counts alike in the sum, so that the few do not drown the many in noise. The dual output alone
    is reported.
    """
    model, catalogue, batch, *_ = world
    chosen = dual_positions(batch.weight, objective.dual_positions, keys[0], share=True)
    positive, weight = (
        jnp.take_along_axis(x, chosen, axis=1) for x in (batch.positive, batch.weight)
    )
    (mf, dual), stats = model.train(
        variables, keys[1], "forward_window", catalogue, batch.query, chosen, weight
    )
    dual_sum = (losses.softmax(dual, positive) * weight).sum()
    mf_sum = (
        0.0
        if mf is None
        else losses.product_softmax(mf[0], mf[1], mf[2], batch.positive, batch.weight)
    )
    return dual_sum + mf_sum, ((dual_sum, weight.sum()), stats)


def candidate_loss(
    world: World, objective: ObjectiveConfig, variables: Any, weight: Array, keys: Array
) -> Loss:
    """The loss over each example's candidates, which have `weight` [..., C] or [..., 1]."""
    model, catalogue, batch, groups, items, _ = world
    count = sum(group.shape[-1] for group in groups)
    pair_weight = jnp.broadcast_to(
        weight * batch.weight[..., None], (*batch.weight.shape, count)
    )
    scores, stats = model.train(
        variables, keys[1], "forward", catalogue, batch.query, groups, pair_weight
    )
    loss = (example_loss(objective, batch, scores, weight, items) * batch.weight).sum()
    return loss, ((loss, batch.weight.sum()), stats)


@dataclass(frozen=True)
class Step:
    """One step on a device's share of the examples.

    Attributes:
        most_seen: most distinct items that one user has in the log.
        kinds: which tables, of "user" and "item", are updated by row; see `tables`.
        divided: whether each device holds a share of the rows of these tables, instead of all.
    """

    model: NeuralModel
    objective: ObjectiveConfig
    optimizer: optax.GradientTransformation
    most_seen: int
    kinds: tuple[str, ...] = ()
    divided: bool = False

    def draw(self, log: EventLog, examples: Array, key: Array, number: Array) -> Drawn:
        """What step `number` learns from this device's examples [b]; its randomness depends on `key` and the number."""
        draw_key, dropout_key = jax.random.split(jax.random.fold_in(key, number))
        keys = jnp.stack(
            [draw_key, jax.random.fold_in(dropout_key, jax.lax.axis_index(AXIS))]
        )
        batch = make_batch(self.model, log, examples)
        if self.model.dual and self.objective.loss == "softmax":
            return batch, (), batch.weight, keys
        return (
            batch,
            *draw_negatives(
                self.model, self.objective, log, batch, self.most_seen, draw_key, True
            ),
            keys,
        )

    def __call__(
        self, state: TrainState, catalogue: Catalogue, drawn: Drawn
    ) -> Stepped:
        """The state after what was drawn for this device, and the loss sum and weight of all devices.

        The loss is a local sum over the weight of all devices, and gradients are summed over them, which is
        exact for padded and unequal shards.
        """
        model, objective, (batch, groups, weight, keys) = (
            self.model,
            self.objective,
            drawn,
        )
        loss_of = candidate_loss if groups else window_loss
        world = small_world(model, self.kinds, catalogue, batch, groups)

        kinds, total = (
            kinds_of(model, self.kinds, state),
            over_devices(batch.weight.sum()),
        )

        def share(params: Any) -> Loss:
            loss, aside = loss_of(
                world,
                objective,
                {"params": params, "batch_stats": state.batch_stats},
                weight,
                keys,
            )
            return loss / jnp.maximum(total, 1.0), aside

        at = {
            kind: places(rows, len(state.rows[kind]), self.divided)
            for kind, rows in world.rows.items()
        }
        rows = jax.tree.map(
            lambda x, i: x.at[i].get(mode="fill", fill_value=0), state.rows, at
        )
        params, moments = unpack(kinds, (state.params, state.opt_state), rows)
        if self.divided:
            params = jax.tree.map(
                lambda kind, x: jax.lax.psum(x, AXIS) if kind else x, kinds[0], params
            )
        (_, (reported, batch_stats)), grads = jax.value_and_grad(share, has_aux=True)(
            params
        )
        (loss, total_weight), grads = over_devices((reported, grads))
        updates, moments = self.optimizer.update(grads, moments, params)
        (params, opt_state), rows = pack(
            kinds, (optax.apply_updates(params, updates), moments)
        )
        rows = jax.tree.map(
            lambda x, i, y: x.at[i].set(y, mode="drop", unique_indices=True),
            state.rows,
            at,
            rows,
        )
        return (
            TrainState(state.step + 1, params, batch_stats, opt_state, rows),
            loss,
            total_weight,
        )

    def run(
        self,
        state: TrainState,
        examples: Array,
        count: Array,
        log: EventLog,
        catalogue: Catalogue,
        key: Array,
    ) -> Stepped:
        """The first `count` of the steps `examples` [S, b], on the device; one program, whatever the count."""
        # Drawn for all at once, for the drawing of one batch is too little work for a device.
        drawn = jax.vmap(self.draw, (None, 0, None, 0))(
            log, examples, key, state.step + jnp.arange(len(examples))
        )

        def body(row: Array, carry: Stepped) -> Stepped:
            state, loss, weight = self(
                carry[0], catalogue, jax.tree.map(lambda x: x[row], drawn)
            )
            return state, carry[1] + loss, carry[2] + weight

        return jax.lax.fori_loop(0, count, body, (state, jnp.zeros(()), jnp.zeros(())))
