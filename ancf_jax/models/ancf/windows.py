"""Training over windows: every item is scored, by the MF output everywhere, by both at a few."""

from typing import Any

import jax
import jax.numpy as jnp

from ancf_jax.models.ancf.sides import ItemSide, UserState, at_positions
from ancf_jax.types import Array, Catalogue, Request, SparsePrior

MfScores = tuple[Array, Array, SparsePrior]


def given(found: Any) -> Any:
    """What another path found: it is read, and not moved by the loss at hand."""
    return jax.lax.stop_gradient(found)


def score_window(
    module: Any,
    catalogue: Catalogue,
    request: Request,
    chosen: Array,
    weight: Array,
    train: bool,
) -> tuple[MfScores | None, Array]:
    """See `Ancf.forward_window`, whose `module` this is."""
    state = module.read(catalogue, request, train)
    every_item = jnp.arange(module.sizes.items, dtype=jnp.int32)
    items = module.encode_items(catalogue, every_item, apart=module.settings.mf_path)
    few = at_positions(state, chosen)
    every_pair = (*weight.shape, module.sizes.items)
    pair_weight = jnp.broadcast_to(weight[..., None], every_pair)
    if items.mf is None:
        pairs = module.couple(module.user_side(catalogue, few), items)
        return None, module.finish(pairs, pair_weight, train)
    rows = module.head.mf_only(module.user_factors(state)).astype(module.dtype)
    prior = SparsePrior(items.prior, state.boost.item, state.boost.amount)
    pairs = _pairs_apart(module, catalogue, few, items)
    item_rows = items.mf.astype(module.dtype)
    return (rows, item_rows, prior), module.finish(pairs, pair_weight, train)


def _pairs_apart(
    module: Any, catalogue: Catalogue, state: UserState, items: ItemSide
) -> Any:
    """Pairs of which the MLP path's own part alone is moved.

    What it shares with the MF path, and what that and the prior say, is given to it: so it learns
    what they leave to be said, and they learn as well as without it.
    """
    given_state = given(state)
    given_state = given_state._replace(taken=state.taken)
    users = module.user_side(catalogue, given_state)
    users = users._replace(mf=given(users.mf))
    items = items._replace(mf=given(items.mf))
    pairs = module.couple(users, items)
    by_others = pairs.prior + module.head.mf_part(jnp.asarray(pairs.mf_output))
    return pairs._replace(prior=given(by_others), mf_output=None)
