"""The exact best of many scores, in two stages where that is faster."""

import jax
import jax.numpy as jnp

from ancf_jax.types import Array

GROUP = 64  # neighbours of which the best stands for all in the first stage


def best_of(scores: Array, n: int) -> tuple[Array, Array, Array]:
    """The n best scores of every row and where they stand; of equals the first comes first.

    Args:
        scores: float32 [B, C].
        n: at most C.

    Returns:
        The scores float32 [B, n], best first; their places int32 [B, n]; and whether any score
        of the row is NaN: [B].
    """
    _, count = scores.shape
    groups = count // GROUP
    if groups < 4 * n:
        best, place = jax.lax.top_k(scores, n)
        is_nan = jnp.isnan(scores).any(1)
        return best, place, is_nan
    return _best_by_groups(scores, n, groups)


def _best_by_groups(scores: Array, n: int, groups: int) -> tuple[Array, Array, Array]:
    """`best_of` by way of the n groups of neighbours with the best maxima, of equals the first.

    It is exact: if one of the n best stood in another group, each of the n chosen groups would
    hold a member that comes before it.
    """
    in_groups = groups * GROUP
    members = scores[:, :in_groups]
    members = members.reshape(-1, groups, GROUP)
    rest = scores[:, in_groups:]  # too few for a group
    maxima = members.max(2)
    _, chosen = jax.lax.top_k(maxima, n)
    chosen = jnp.sort(chosen, axis=1)  # ascending, so that equals stay in their order

    chosen_group = chosen[:, :, None]
    finalists = jnp.take_along_axis(members, chosen_group, axis=1)
    finalists = finalists.reshape(-1, n * GROUP)
    candidates = jnp.concatenate([finalists, rest], 1)
    best, at = jax.lax.top_k(candidates, n)
    place = _place_in_row(at, chosen, in_groups)

    is_nan = jnp.isnan(maxima).any(1)
    is_nan |= jnp.isnan(rest).any(1)
    return best, place, is_nan


def _place_in_row(at: Array, chosen: Array, in_groups: int) -> Array:
    """Where in its row a score stands that is number `at` of the finalists and the rest.

    Args:
        at: int32 [B, n].
        chosen: int32 [B, n] the groups that the finalists are the members of.
        in_groups: how many scores of a row are in groups.
    """
    _, n = chosen.shape
    number = jnp.minimum(at // GROUP, n - 1)
    group = jnp.take_along_axis(chosen, number, axis=1)
    place_in_group = group * GROUP + at % GROUP
    place_in_rest = at - n * GROUP + in_groups
    is_finalist = at < n * GROUP
    return jnp.where(is_finalist, place_in_group, place_in_rest)
