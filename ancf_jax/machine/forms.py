"""Formulas in two forms: the plain one, and one that is faster on some backend.

The rest of the library calls them by the names of the mathematics and does not know which form
runs. It is chosen while a function is traced: a faster form on the backends that it was measured
on, the plain one everywhere else, so on GPUs and TPUs. Both forms have the same values but for
rounding, and both are made of operations that JAX differentiates and batches by itself: grad,
jvp, vmap and checkpoint work through either.

All times were measured on two CPU cores with the options of `machine.compile`.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import update_wrapper
from typing import Generic, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from ancf_jax.machine.devices import backend
from ancf_jax.types import Array

P = ParamSpec("P")
R = TypeVar("R")

_plain_only = jax.make_user_context(False)


def plain() -> AbstractContextManager[None]:
    """A context in which the plain form of every formula runs, whatever the backend.

    It is for tests and ablations, and holds in the thread that enters it. Functions that `jax.jit`
    has compiled outside of it are compiled anew within it.
    """
    return _plain_only(True)


class Formula(Generic[P, R]):
    """A function with other forms of itself for some backends; see `formula`.

    Attributes:
        plain: the form that says what the function is.
        faster: the other forms, by backend.
    """

    def __init__(self, plain: Callable[P, R]) -> None:
        self.plain = plain
        self.faster: dict[str, Callable[P, R]] = {}
        update_wrapper(self, plain)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of the form that suits the backend."""
        if _plain_only.value:
            return self.plain(*args, **kwargs)
        form = self.faster.get(backend(), self.plain)
        return form(*args, **kwargs)

    def faster_on(self, backend: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorator of the form that runs on a backend instead of the plain one."""

        def register(form: Callable[P, R]) -> Callable[P, R]:
            self.faster[backend] = form
            return form

        return register


def formula(plain: Callable[P, R]) -> Formula[P, R]:
    """Decorator of a plain form, to which `faster_on` adds forms for backends."""
    return Formula(plain)


@formula
def matmul(x: Array, kernel: Array) -> Array:
    """x @ kernel for x [..., D] and a kernel [D, K]: [..., K]."""
    return x @ kernel


@matmul.faster_on("cpu")
def _matmul_of_rows(x: Array, kernel: Array) -> Array:
    """Over flat rows [N, D], with the gradient of a narrowing kernel made transposed.

    XLA takes twice as long for the same product, forward and back, with more than one axis of
    rows. The gradient of a kernel of 32 x 16 from 2,050 rows takes 97 us as x.T @ g and 23 us as
    (g.T @ x).T, which is what JAX derives from a product with kernel.T. The barrier keeps XLA from
    turning both back.
    """
    rows = x.reshape(-1, x.shape[-1])
    if kernel.shape[0] > kernel.shape[1]:
        kernel = jax.lax.optimization_barrier(kernel.T).T
    product = rows @ kernel
    return product.reshape(*x.shape[:-1], kernel.shape[1])


@formula
def lookup_parts(table: Array, ids: Array, cuts: tuple[int, ...]) -> list[Array]:
    """Rows of `table` [V, D] at `ids` [...], cut into groups of columns; zeros for id -1.

    Args:
        table: [V, D].
        ids: int32 [...].
        cuts: the columns that groups begin with, but for the first group.

    Returns:
        [..., cuts[0]], [..., cuts[1] - cuts[0]] to [..., D - cuts[-1]].
    """
    at = jnp.asarray(table).at[ids]
    rows = at.get(mode="fill", fill_value=0, wrap_negative_indices=False)
    return list(jnp.split(rows, cuts, axis=-1))


@lookup_parts.faster_on("cpu")
def _lookup_each_part(table: Array, ids: Array, cuts: tuple[int, ...]) -> list[Array]:
    """Each part gathered from the table by itself, and its gradient scattered there.

    Cutting rows, and joining their gradients, takes 5 % of a NeuMF epoch in batches of 410.
    """
    table = jnp.asarray(table)
    # A missing id is the row behind the table: writing nothing far from it takes half a
    # microsecond, and row -1 a tenth longer than this one.
    flat = jnp.where(ids < 0, len(table), ids).ravel()
    begins = (0, *cuts)
    ends = (*cuts, table.shape[1])
    parts = []
    for begin, end in zip(begins, ends, strict=True):
        part = _columns_of_rows(table, flat, begin, end)
        parts.append(part.reshape(*ids.shape, end - begin))
    return parts


def _columns_of_rows(table: Array, ids: Array, begin: int, end: int) -> Array:
    """table[ids, begin:end] for ids [N], zeros beyond the table: [N, end - begin]."""
    place = jnp.stack([ids, jnp.full_like(ids, begin)], axis=-1)
    dimensions = jax.lax.GatherDimensionNumbers(
        offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0, 1)
    )
    size = (1, end - begin)
    return jax.lax.gather(table, place, dimensions, size, mode="fill", fill_value=0)


@formula
def repeat(x: Array, count: int) -> Array:
    """x [...] for each of `count` rows: [count, ...]. Its gradient is the sum over the rows."""
    return jnp.broadcast_to(x[None], (count, *x.shape))


@repeat.faster_on("cpu")
def _repeat_by_product(x: Array, count: int) -> Array:
    """As a product with ones, so that the gradient is one, too.

    It sums [batch, items, width] in 1.2 ms where XLA's sum takes 22 ms: a sixth of an `ancf` step
    of 32 x 200.
    """
    return jnp.einsum("n,...->n...", jnp.ones(count, x.dtype), x)


@formula
def relu_at_inference(x: Array) -> Array:
    """max(x, 0)."""
    return jax.nn.relu(x)


@relu_at_inference.faster_on("cpu")
def _relu_by_absolute_value(x: Array) -> Array:
    """The same for finite x, but for a gradient of 1/2 at 0.

    XLA makes scalar code of max(x, 0) for rows of 16: 4 % of a ranking.
    """
    return (x + jnp.abs(x)) * 0.5


@formula
def scale_columns(x: Array, scale: Array) -> Array:
    """x [..., D] with each column multiplied by its `scale` [D]."""
    return x * scale.reshape((1,) * (x.ndim - 1) + scale.shape)


@scale_columns.faster_on("cpu")
def _scale_by_diagonal(x: Array, scale: Array) -> Array:
    """A product with a diagonal matrix is made once.

    A multiplication is made again in the gradient of every item: 3 % of a NeuMF epoch.
    """
    return x @ jnp.diag(scale)


@formula
def pair_products(users: Array, items: Array, kernel: Array) -> Array:
    """(user * item) @ kernel of every pair: [B, D], [C, D] and [D, K] to [B, C, K]."""
    weighted = users[:, :, None] * kernel[None]
    return jnp.einsum("cd,bdk->bck", items, weighted)


@pair_products.faster_on("cpu")
def _pair_products_by_column(users: Array, items: Array, kernel: Array) -> Array:
    """With weighted users [B, K, D]: XLA would turn [B, D, K] round for every tile of items."""
    weighted = users[:, None, :] * kernel.T[None]
    return jnp.einsum("cd,bkd->bck", items, weighted)


@formula
def made_once(x: Array) -> Array:
    """x itself, which many operations use and which is cheap to compute."""
    return x


@made_once.faster_on("cpu")
def _made_behind_barrier(x: Array) -> Array:
    """Kept in memory. XLA makes a mask again wherever it is used otherwise."""
    return jax.lax.optimization_barrier(x)


@formula
def boost_of_items(boosted_item: Array, boost: Array, items: Array, size: int) -> Array:
    """sum over l of boost_l where boosted_item_l is the candidate: [..., C].

    Args:
        boosted_item: int32 [..., L]; `size` stands for none.
        boost: float32 [..., L].
        items: int32 candidates below `size`: [C] for all, or [..., C] of their own.
        size: number of items.
    """
    candidates = jnp.broadcast_to(items, (*boost.shape[:-1], items.shape[-1]))
    is_candidate = boosted_item[..., :, None] == candidates[..., None, :]
    return jnp.where(is_candidate, boost[..., :, None], 0).sum(-2)


@boost_of_items.faster_on("cpu")
def _boost_by_scatter(
    boosted_item: Array, boost: Array, items: Array, size: int
) -> Array:
    """Candidates of all by scattering: L additions a row instead of L C comparisons."""
    if items.ndim > 1:
        return boost_of_items.plain(boosted_item, boost, items, size)
    count = len(items)
    # Of an item that stands among the candidates twice, one column is added to and both read.
    column_of_item = jnp.full(size + 1, count).at[items].set(jnp.arange(count))
    rows = math.prod(boost.shape[:-1])
    flat = boost.reshape(rows, boost.shape[-1])
    column = column_of_item[boosted_item].reshape(flat.shape)
    row = jnp.arange(rows)[:, None]
    total = jnp.zeros((rows, count), boost.dtype)
    total = total.at[row, column].add(flat, mode="drop")
    return total[:, column_of_item[items]].reshape(*boost.shape[:-1], count)


@formula
def count_true(flags: Array) -> Array:
    """How many flags of the last axis are true: bool [..., C] to int32 [...]."""
    return flags.sum(-1, dtype=jnp.int32)


@count_true.faster_on("cpu")
def _count_by_product(flags: Array) -> Array:
    """As a product with ones, which is faster than XLA's sum. float32 counts exactly up to 2^24."""
    ones = jnp.ones(flags.shape[-1])
    return (flags.astype(jnp.float32) @ ones).astype(jnp.int32)


@formula
def adam_direction(mean: Array, square: Array, step: Array) -> Array:
    """m^ / (sqrt(v^) + 1e-8) with m^ = m / (1 - 0.9^t) and v^ = v / (1 - 0.999^t).

    Args:
        mean: m, the running mean of the gradient.
        square: v, the running mean of its square.
        step: t, from 1.
    """
    corrected_mean = mean / (1 - 0.9**step)
    corrected_square = square / (1 - 0.999**step)
    return corrected_mean / (jnp.sqrt(corrected_square) + 1e-8)


@adam_direction.faster_on("cpu")
def _adam_direction_by_one_division(mean: Array, square: Array, step: Array) -> Array:
    """c m / (sqrt(v) + r 1e-8) with r = sqrt(1 - 0.999^t) and c = r / (1 - 0.9^t).

    The end of section 2 of the paper. The plain form divides every element twice more: 8 % of a
    NeuMF epoch in batches of 410.
    """
    root = jnp.sqrt(1 - 0.999**step)
    rate = root / (1 - 0.9**step)
    return rate * mean / (jnp.sqrt(square) + root * 1e-8)
