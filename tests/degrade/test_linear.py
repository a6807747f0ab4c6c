"""The algebra of operators, against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Operator
from restore_jax.degrade.linear import Compose, Identity, Separable, compose
from restore_jax.degrade.mask import Mask

SHAPE = (6, 5, 2)
EPS = 1.2e-7

solve = jax.jit(lambda a, r, reg: a.solve(r, reg))


def separable(seed, p, q, h=SHAPE[0], w=SHAPE[1], c=SHAPE[2]):
    """Uniform weights, rows summing to 1 as those of blurs and resampling do."""
    draw = np.random.default_rng(seed)
    rows, cols = draw.uniform(size=(p, h)), draw.uniform(size=(q, w))
    rows, cols = rows / rows.sum(1, keepdims=True), cols / cols.sum(1, keepdims=True)
    return Separable(in_shape=(h, w, c), rows=jnp.asarray(rows, jnp.float32), cols=jnp.asarray(cols, jnp.float32))


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(9).uniform(size=SHAPE), jnp.float32)


@pytest.fixture
def mask():
    return Mask(in_shape=SHAPE, mask=jnp.asarray(np.arange(30).reshape(6, 5, 1) % 3 > 0, jnp.float32))


def same(a, b, n):
    """Values up to 1, from weights that sum to 1: n eps for sums of n terms in all."""
    np.testing.assert_allclose(a, b, rtol=0, atol=n * EPS)


def test_identity(x):
    one = Identity(in_shape=SHAPE)
    np.testing.assert_array_equal(one(x), x)
    np.testing.assert_array_equal(one.adjoint(x), x)
    np.testing.assert_array_equal(one.solve(x, 3.0), x / 4)


def test_separable_is_the_kronecker_product(x):
    a = separable(0, 4, 3)
    matrix = np.kron(np.asarray(a.rows, np.float64), np.asarray(a.cols, np.float64))
    same(a(x), (matrix @ np.asarray(x, np.float64).reshape(30, 2)).reshape(4, 3, 2), 11)


def test_separable_solve_is_that_of_the_matrix():
    """In float64, by numpy: `(A A^T + reg)^-1 r`, condition number < 1.1 / reg = 110."""
    with jax.enable_x64(True):
        a = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), separable(0, 4, 3))
        r = np.random.default_rng(1).normal(size=(4, 3, 2))
        matrix = np.kron(a.rows, a.cols)
        reference = np.linalg.solve(matrix @ matrix.T + 0.01 * np.eye(12), r.reshape(12, 2)).reshape(r.shape)
        np.testing.assert_allclose(solve(a, jnp.asarray(r), 0.01), reference, rtol=0, atol=110 * 12 * 2.3e-16 * 100 * 3)


def test_separable_solve_gives_up_what_is_not_there():
    """A rank-1 operator: its pseudo-inverse is numpy's, and nothing is blown up."""
    with jax.enable_x64(True):
        a = Separable(in_shape=SHAPE, rows=jnp.full((4, 6), 1 / 6), cols=jnp.eye(5)[:3])
        y = np.random.default_rng(2).normal(size=(4, 3, 2))
        reference = np.linalg.pinv(np.kron(a.rows, a.cols)) @ y.reshape(12, 2)
        x = a.adjoint(solve(a, jnp.asarray(y), 0.0))
        # A^+ has norm sqrt(6) / 2 < 2: 12 terms of rounding in values up to 4
        np.testing.assert_allclose(x, reference.reshape(SHAPE), rtol=0, atol=2 * 12 * 4 * 2.3e-16)


def test_identity_composes_away(mask):
    one = Identity(in_shape=SHAPE)
    assert compose(one, mask) is mask
    assert compose(mask, one) is mask
    assert compose(one, one) == one


def test_separables_stay_separable(x):
    inner, outer = separable(3, 4, 5), separable(4, 2, 3, h=4, w=5)
    short, long = compose(outer, inner), Compose(in_shape=SHAPE, outer=outer, inner=inner)
    assert isinstance(short, Separable)
    assert short.in_shape == SHAPE
    same(short(x), long(x), 6 + 5 + 4 + 5)
    y = jnp.ones((2, 3, 2))
    same(short.adjoint(y), long.adjoint(y), 6 + 5 + 4 + 5)


def test_others_compose_in_order(x, mask):
    blur = separable(5, 6, 5)
    holes_last, holes_first = compose(mask, blur), compose(blur, mask)
    same(holes_last(x), mask(blur(x)), 0)
    same(holes_first(x), blur(mask(x)), 0)
    assert float(jnp.abs(holes_last(x) - holes_first(x)).max()) > 0.1


def test_adjoint_is_reversed(x, mask):
    blur = separable(5, 6, 5)
    same(compose(mask, blur).adjoint(x), blur.adjoint(mask.adjoint(x)), 0)
    by_transpose = Operator.adjoint(compose(mask, blur), x)
    # columns of uniform weights need not sum to 1: at most 6 * 5 weights below 1, of which each row shares 1
    np.testing.assert_allclose(compose(mask, blur).adjoint(x), by_transpose, rtol=11 * EPS)


def test_composition_is_associative(x, mask):
    a, b = separable(6, 6, 5), separable(7, 3, 5)
    same(compose(compose(b, mask), a)(x), compose(b, compose(mask, a))(x), 22)
    same(compose(compose(b, a), mask)(x), compose(b, compose(a, mask))(x), 22)
