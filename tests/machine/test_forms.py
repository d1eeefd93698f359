"""Formulas in two forms: the plain form against the faster one, and the switch between them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ancf_jax
from ancf_jax.machine import forms

LIBRARY = Path(ancf_jax.__file__).parent
RNG = np.random.default_rng(0)


def drawn(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.normal(size=shape).astype(np.float32))


class Case(NamedTuple):
    """A formula as a function of the floats that it is differentiated by.

    The faster form can be asked for on any backend, the plain one by `forms.plain()`.
    """

    formula: forms.Formula
    arguments: tuple[jax.Array, ...]
    call: Callable[..., jax.Array]

    def with_form(self, form: Callable) -> Callable[..., jax.Array]:
        return lambda *arguments: self.call(form, *arguments)

    @property
    def plain(self) -> Callable[..., jax.Array]:
        return self.with_form(self.formula.plain)

    @property
    def fast(self) -> Callable[..., jax.Array]:
        (form,) = self.formula.faster.values()
        return self.with_form(form)


IDS = jnp.array([[2, -1, 6, 2, 0], [5, 5, 2, -1, 3]])
BOOSTED = jnp.array([[3, 5, 3, 7, 0], [7, 7, 1, 0, 6], [2, 2, 2, 2, 2]])
SHARED = jnp.array([3, 1, 3, 6, 0, 2, 5])  # item 3 twice
OWN = jnp.array([[3, 1, 3], [6, 0, 2], [5, 2, 1]])


def parts(cuts: tuple[int, ...]) -> Callable[..., jax.Array]:
    """Parts weighed by their place, so that no two may be mistaken for one another."""

    def call(form, table):
        found = form(table, IDS, cuts)
        assert len(found) == len(cuts) + 1
        return jnp.concatenate(
            [(place + 1) * part for place, part in enumerate(found)], axis=-1
        )

    return call


def boosts(items: jax.Array) -> Callable[..., jax.Array]:
    return lambda form, boost: form(BOOSTED, boost, items, 7)


CASES = {
    "matmul, narrowing": Case(
        forms.matmul, (drawn(7, 11), drawn(11, 3)), lambda form, *a: form(*a)
    ),
    "matmul, widening": Case(
        forms.matmul, (drawn(7, 3), drawn(3, 11)), lambda form, *a: form(*a)
    ),
    "matmul, of many axes": Case(
        forms.matmul, (drawn(2, 7, 5, 11), drawn(11, 3)), lambda form, *a: form(*a)
    ),
    "matmul, of one row": Case(
        forms.matmul, (drawn(11), drawn(11, 3)), lambda form, *a: form(*a)
    ),
    "matmul, of no rows": Case(
        forms.matmul, (drawn(2, 0, 11), drawn(11, 3)), lambda form, *a: form(*a)
    ),
    "lookup, whole": Case(forms.lookup_parts, (drawn(7, 5),), parts(())),
    "lookup, two parts": Case(forms.lookup_parts, (drawn(7, 5),), parts((2,))),
    "lookup, empty parts": Case(forms.lookup_parts, (drawn(7, 5),), parts((0, 3, 5))),
    "repeat": Case(forms.repeat, (drawn(5, 3),), lambda form, x: form(x, 7)),
    "relu at inference": Case(
        forms.relu_at_inference, (drawn(7, 5),), lambda form, x: form(x)
    ),
    "repeat of a single number": Case(
        forms.repeat, (drawn(),), lambda form, x: form(x, 7)
    ),
    "scale one row": Case(
        forms.scale_columns, (drawn(5), drawn(5)), lambda form, *a: form(*a)
    ),
    "scale columns": Case(
        forms.scale_columns, (drawn(2, 7, 5), drawn(5)), lambda form, *a: form(*a)
    ),
    "pair products": Case(
        forms.pair_products,
        (drawn(7, 5), drawn(11, 5), drawn(5, 3)),
        lambda form, *a: form(*a),
    ),
    "made once": Case(forms.made_once, (drawn(7, 5),), lambda form, x: form(x)),
    "boost of shared items": Case(forms.boost_of_items, (drawn(3, 5),), boosts(SHARED)),
    "boosts of a single history": Case(
        forms.boost_of_items,
        (drawn(5),),
        lambda form, boost: form(BOOSTED[1], boost, SHARED, 7),
    ),
    "no boosts": Case(
        forms.boost_of_items,
        (drawn(3, 0),),
        lambda form, boost: form(BOOSTED[:, :0], boost, SHARED, 7),
    ),
    "boosts of no histories": Case(
        forms.boost_of_items,
        (drawn(0, 5),),
        lambda form, boost: form(BOOSTED[:0], boost, SHARED, 7),
    ),
    "boost of own items": Case(forms.boost_of_items, (drawn(3, 5),), boosts(OWN)),
    "count": Case(
        forms.count_true,
        (drawn(7, 5),),
        lambda form, x: x[:, 0] * form(x > 0).astype(x.dtype),
    ),
    "direction of Adam": Case(
        forms.adam_direction,
        (drawn(7, 5), jnp.abs(drawn(7, 5)) + 0.1),
        lambda form, mean, square: form(mean, square, jnp.int32(3)),
    ),
}

TRANSFORMATIONS = {
    "none": lambda f: f,
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "vmap": lambda f: lambda *a: jax.vmap(f)(*(jnp.stack([x, 2 * x]) for x in a)),
    "vmap over the first": lambda f: (
        lambda x, *a: jax.vmap(f, (0, *[None] * len(a)))(jnp.stack([x, 2 * x, -x]), *a)
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def assert_same(found, expected) -> None:
    for one, other in zip(
        jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_every_formula_has_a_case():
    named = vars(forms).values()
    every = {id(value) for value in named if isinstance(value, forms.Formula)}
    assert {id(case.formula) for case in CASES.values()} == every


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_both_forms_have_the_same_values_and_gradients(case, name):
    transformed = TRANSFORMATIONS[name]
    plain = transformed(case.plain)
    fast = transformed(case.fast)
    expected, pull_plain = jax.vjp(plain, *case.arguments)
    found, pull_fast = jax.vjp(fast, *case.arguments)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert_same(found, expected)
    above = drawn(*expected.shape)
    assert_same(pull_fast(above), pull_plain(above))


def test_both_forms_have_the_same_tangents_forward_and_over_reverse(case):
    tangents = tuple(drawn(*x.shape) for x in case.arguments)

    def pushed(f):
        return jax.jvp(f, case.arguments, tangents)

    def gradient(f):
        every = tuple(range(len(tangents)))
        return jax.grad(lambda *a: (f(*a) ** 3).sum(), every)

    assert_same(pushed(case.fast), pushed(case.plain))
    assert_same(pushed(gradient(case.fast)), pushed(gradient(case.plain)))


def test_rows_keep_their_whole_numbers():
    table = jnp.arange(35, dtype=jnp.int32).reshape(7, 5)
    for form in (forms.lookup_parts.plain, *forms.lookup_parts.faster.values()):
        left, right = form(table, jnp.array([1, -1]), (2,))
        assert left.dtype == right.dtype == jnp.int32
        np.testing.assert_array_equal(left, [[5, 6], [0, 0]])
        np.testing.assert_array_equal(right, [[7, 8, 9], [0, 0, 0]])


@pytest.mark.parametrize("shape", [(3, 4, 1000), (5, 1), (2, 0), (7,)])
def test_counting_is_what_numpy_gives(shape):
    rng = np.random.default_rng(0)
    flags = rng.random(shape) < rng.random((*shape[:-1], 1))
    for form in (forms.count_true.plain, *forms.count_true.faster.values()):
        found = form(flags)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, flags.sum(-1))


def test_a_formula_is_its_faster_form_on_its_backend_and_plain_in_the_context(case):
    if jax.default_backend() not in case.formula.faster:
        pytest.skip("no faster form on this backend")
    trace = jax.make_jaxpr(case.with_form(case.formula))
    faster = trace(*case.arguments)
    with forms.plain():
        plain = trace(*case.arguments)
    assert str(faster) == str(jax.make_jaxpr(case.fast)(*case.arguments))
    assert str(plain) == str(jax.make_jaxpr(case.plain)(*case.arguments))


@pytest.mark.parametrize("room", ["modules", "models", "machine"])
def test_no_derivative_is_written_by_hand(room):
    sources = list((LIBRARY / room).rglob("*.py"))
    assert sources
    for path in sources:
        source = path.read_text(encoding="utf-8")
        assert "custom_vjp" not in source
        assert "custom_jvp" not in source


def named_formula() -> forms.Formula[[jax.Array], str]:
    """A formula that says which form ran."""

    @forms.formula
    def name(x: jax.Array) -> str:
        """The name."""
        return "plain"

    @name.faster_on(jax.default_backend())
    def _fast_name(x: jax.Array) -> str:
        return "fast"

    return name


def test_the_faster_form_runs_on_its_backend_alone():
    name = named_formula()
    assert name(jnp.zeros(())) == "fast"
    name.faster["another backend"] = name.faster.pop(jax.default_backend())
    assert name(jnp.zeros(())) == "plain"


def test_a_formula_is_documented_as_its_plain_form():
    name = named_formula()
    assert name.__name__ == "name"
    assert name.__doc__ == "The name."


def test_the_context_makes_plain_forms_run_and_restores_what_it_found():
    name = named_formula()
    x = jnp.zeros(())
    with forms.plain():
        assert name(x) == "plain"
        with forms.plain():
            assert name(x) == "plain"
        assert name(x) == "plain"
    assert name(x) == "fast"
    with pytest.raises(ZeroDivisionError), forms.plain():
        raise ZeroDivisionError
    assert name(x) == "fast"


def test_the_context_holds_in_its_own_thread():
    name = named_formula()
    found = []
    with forms.plain():
        other = threading.Thread(target=lambda: found.append(name(jnp.zeros(()))))
        other.start()
        other.join()
    assert found == ["fast"]


def test_the_context_reaches_functions_that_were_compiled_outside():
    name = named_formula()
    count = jax.jit(lambda x: x + len(name(x)))
    x = jnp.zeros(())
    assert count(x) == len("fast")
    with forms.plain():
        assert count(x) == len("plain")
    assert count(x) == len("fast")
