"""The nouns: an operator of which only `__call__` is written, and the conventions on keys and shapes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from restore_jax.core import Observation, Operator, normal, per_image, pinv, prox, split

SHAPE = (3, 4, 2)


@struct.dataclass
class Dense(Operator):
    """A matrix, and nothing else known of it."""

    matrix: Any

    def __call__(self, x):
        return (self.matrix @ x.reshape(-1)).reshape(-1, 1, 1)


@pytest.fixture(scope="module")
def matrix():
    """10 observations of 24 numbers: singular values from 1 to 1/3, so that `A A^T` has condition number 9."""
    u, _, vt = np.linalg.svd(np.random.default_rng(0).normal(size=(10, 24)), full_matrices=False)
    return u * np.linspace(1, 1 / 3, 10) @ vt


@pytest.fixture
def dense(matrix):
    return Dense(in_shape=SHAPE, matrix=jnp.asarray(matrix, jnp.float32))


@pytest.fixture
def y():
    return np.random.default_rng(1).normal(size=(10, 1, 1))


# What the base class makes of `__call__`. Conjugate gradients stop at a residual of 1e-6 |y|, |y| < 4; the inverse of
# the worst direction is 9, that of its square root 3; float32 adds 24 eps of as much: 4e-6 * 9 + 24 * 1.2e-7 * 9 * 4.
TOLERANCE = 4e-6 * 9 + 24 * 1.2e-7 * 9 * 4


def test_call_must_be_written():
    with pytest.raises(TypeError, match="Operator does not define __call__, the one method an Operator must have"):
        Operator(in_shape=SHAPE)(jnp.zeros(SHAPE))


def test_adjoint_is_the_transpose(dense, matrix, y):
    expected = (matrix.T @ y.ravel()).reshape(SHAPE)
    np.testing.assert_allclose(dense.adjoint(jnp.asarray(y, jnp.float32)), expected, rtol=0, atol=10 * 1.2e-7 * 4)
    with jax.enable_x64(True):
        exact = Dense(in_shape=SHAPE, matrix=jnp.asarray(matrix)).adjoint(jnp.asarray(y))
    np.testing.assert_allclose(exact, expected, rtol=0, atol=10 * 2.3e-16 * 4)


@pytest.mark.parametrize("reg", [0.0, 0.1, 10.0])
def test_solve_is_numpys(dense, matrix, y, reg):
    expected = np.linalg.solve(matrix @ matrix.T + reg * np.eye(10), y.ravel())
    np.testing.assert_allclose(dense.solve(jnp.asarray(y, jnp.float32), reg).ravel(), expected, rtol=0, atol=TOLERANCE)


def test_solve_takes_a_reg_for_each_number(dense, matrix, y):
    reg = np.linspace(0.1, 2, 10)
    expected = np.linalg.solve(matrix @ matrix.T + np.diag(reg), y.ravel())
    solved = dense.solve(jnp.asarray(y, jnp.float32), jnp.asarray(reg.reshape(y.shape), jnp.float32))
    np.testing.assert_allclose(solved.ravel(), expected, rtol=0, atol=TOLERANCE)


def test_pinv_is_numpys(dense, matrix, y):
    expected = (np.linalg.pinv(matrix) @ y.ravel()).reshape(SHAPE)
    np.testing.assert_allclose(pinv(dense, jnp.asarray(y, jnp.float32)), expected, rtol=0, atol=TOLERANCE)


def test_prox_is_the_least_squares_of_the_stacked_system(dense, matrix, y):
    """`|A x - y|^2 + rho |x - z|^2 = |[A; sqrt(rho) I] x - [y; sqrt(rho) z]|^2`, by numpy's lstsq."""
    z = np.random.default_rng(2).normal(size=SHAPE)
    stacked = np.concatenate([matrix, np.sqrt(0.3) * np.eye(24)])
    expected, *_ = np.linalg.lstsq(stacked, np.concatenate([y.ravel(), np.sqrt(0.3) * z.ravel()]), rcond=None)
    found = prox(dense, jnp.asarray(z, jnp.float32), jnp.asarray(y, jnp.float32), 0.3)
    np.testing.assert_allclose(found, expected.reshape(SHAPE), rtol=0, atol=TOLERANCE)


def test_an_operator_is_a_pytree_with_a_static_shape(dense):
    assert len(jax.tree.leaves(dense)) == 1
    assert jax.tree.map(lambda leaf: 2 * leaf, dense).in_shape == SHAPE


# Observations


class TestShapeOfX:
    def test_is_that_of_y_where_nothing_else_is_known(self):
        assert Observation(y=jnp.zeros((2, 6, 5, 3))).x_shape == (2, 6, 5, 3)

    def test_is_that_of_the_operators_input(self):
        operator = Dense(in_shape=(12, 10, 3), matrix=None)
        assert Observation(y=jnp.zeros((6, 5, 3)), operator=operator).x_shape == (12, 10, 3)
        assert Observation(y=jnp.zeros((2, 6, 5, 3)), operator=operator).x_shape == (2, 12, 10, 3)
        assert Observation(y=jnp.zeros((4, 2, 6, 5, 3)), operator=operator).x_shape == (4, 2, 12, 10, 3)

    def test_is_that_of_the_image_first(self):
        operator = Dense(in_shape=(12, 10, 3), matrix=None)
        obs = Observation(y=jnp.zeros((2, 6, 5, 1)), operator=operator, cond={"image": jnp.zeros((2, 24, 20, 3))})
        assert obs.x_shape == (2, 24, 20, 3)


def test_conditions_are_added():
    before = Observation(y=jnp.zeros(1), cond={"a": jnp.zeros(1), "b": jnp.zeros(2)})
    after = before.with_cond(b=jnp.ones(3), c=jnp.ones(4))
    assert {name: value.shape for name, value in after.cond.items()} == {"a": (1,), "b": (3,), "c": (4,)}
    assert set(before.cond) == {"a", "b"}


# Keys and noise levels: one for all, or one for each


@pytest.mark.parametrize(("sigma", "shape"), [(0.5, ()), (np.ones(2), (2, 1, 1, 1)), (np.ones((2, 4)), (2, 4, 1, 1))])
def test_per_image_broadcasts(sigma, shape):
    x = jnp.zeros((2, 4, 5, 3), jnp.float16)
    levels = per_image(sigma if isinstance(sigma, float) else jnp.asarray(sigma), x)
    assert levels.shape == shape
    assert levels.dtype == x.dtype
    assert (levels * x).shape == x.shape


def test_one_key_draws_one_standard_normal(key):
    """Mean 0 +- 1 / sqrt(m), variance 1 +- sqrt(2 / m), within five of them."""
    n = np.asarray(normal(key, (64, 48, 3)), np.float64)
    assert n.shape == (64, 48, 3)
    assert abs(n.mean()) < 5 / np.sqrt(n.size)
    assert abs(n.var() - 1) < 5 * np.sqrt(2 / n.size)


def test_each_key_draws_as_if_alone(key):
    batch = (2, 3)
    keys = jax.random.split(key, batch)
    together = normal(keys, (*batch, 4, 5, 3))
    assert together.shape == (*batch, 4, 5, 3)
    for where in np.ndindex(batch):
        np.testing.assert_array_equal(together[where], normal(keys[where], (4, 5, 3)))
    pictures = together.reshape(-1, 60)
    assert len(np.unique(pictures, axis=0)) == len(pictures)


def test_normal_has_the_dtype_it_is_asked_for(key):
    assert normal(key, (2,), jnp.bfloat16).dtype == jnp.bfloat16
    assert normal(jax.random.split(key), (2, 3), jnp.bfloat16).dtype == jnp.bfloat16


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_split_makes_keys_along_a_new_first_axis(key, batch):
    n = 4
    keys = jax.random.split(key, batch) if batch else key
    parts = split(keys, n)
    assert parts.shape == (n, *batch)
    for where in np.ndindex(batch):
        alone = jax.random.key_data(split(keys[where], n))
        np.testing.assert_array_equal(jax.random.key_data(parts)[(slice(None), *where)], alone)
    numbers = jax.random.key_data(parts).reshape(-1, 2)
    assert len(np.unique(numbers, axis=0)) == len(numbers)
