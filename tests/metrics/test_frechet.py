"""Distances between sets, by closed forms."""

import inspect

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from restore_jax.metrics.frechet import fid, frechet_distance, kid, lite0_features
from restore_jax.nets.efficientnet import MISSING, installed

EPS = 1.2e-7
REFUSAL = (ValueError, jaxtyping.TypeCheckError)  # where shapes are checked at run time, as in tests, that is first


def test_diagonal_gaussians():
    """`|m|^2 + sum (sqrt(a_i) - sqrt(b_i))^2`; the roundings of 20 numbers, times what cancels."""
    a, b, m = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.0]), np.array([1.0, -2.0, 0.5])
    expected = m @ m + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    arrays = [jnp.asarray(v, jnp.float32) for v in (m, np.diag(a), 0 * m, np.diag(b))]
    np.testing.assert_allclose(frechet_distance(*arrays), expected, rtol=50 * EPS)
    slope = jax.grad(frechet_distance)(*arrays)
    np.testing.assert_allclose(slope, 2 * m, rtol=4 * EPS)
    with pytest.raises(REFUSAL, match=r"frechet_distance wants means \[d\] and covariances|Type-check error"):
        inspect.unwrap(frechet_distance)(jnp.zeros(3), jnp.eye(3), jnp.zeros(3), jnp.eye(2))


@pytest.mark.parametrize("n", [4, 40])
def test_fid_of_moved_and_equal_sets(n):
    """Fewer pictures than features, and more. A shift counts alone; the order of rows does not.

    What is left of 0 is rounding of the two traces, each about 8: some tens of eps of them.
    """
    a = jnp.asarray(np.random.default_rng(n).normal(size=(n, 8)), jnp.float32)
    np.testing.assert_allclose(fid(a, a[::-1]), 0.0, atol=16 * 50 * EPS)
    np.testing.assert_allclose(fid(a, a + 0.5), 8 * 0.25, atol=16 * 50 * EPS)
    mean = jnp.mean(a, axis=0, keepdims=True)
    expected = float(jnp.sum(jnp.var(a, axis=0, ddof=1)))  # (2 - 1)^2 tr cov
    np.testing.assert_allclose(fid(mean + 2 * (a - mean), a), expected, rtol=100 * EPS * 9)


def test_kid_of_four_numbers():
    """d = 1, a = (0, 2), b = (1, -1): within a, 1; within b, 0; across, ((1 + 1 + 27 - 1) / 4)."""
    a, b = jnp.asarray([[0.0], [2.0]]), jnp.asarray([[1.0], [-1.0]])
    np.testing.assert_allclose(kid(a, b), 1.0 + 0.0 - 2 * 28 / 4, rtol=4 * EPS)


def test_kid_is_unbiased():
    """Both sets from one distribution, 200 times: the mean is 0 within four standard errors."""
    draws = jnp.asarray(np.random.default_rng(0).normal(size=(200, 2, 10, 4)), jnp.float32)
    values = np.asarray(jax.jit(jax.vmap(lambda pair: kid(pair[0], pair[1])))(draws))
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(200)
    assert (values < 0).any()


@pytest.mark.parametrize("distance", [fid, kid])
def test_sets_that_do_not_compare_are_refused(distance):
    for a, b in ((jnp.zeros((3, 4)), jnp.zeros((3, 5))), (jnp.zeros((1, 4)), jnp.zeros((3, 4)))):
        with pytest.raises(REFUSAL, match=r"compares two sets of features \[n, d\], n >= 2, of one d|Type-check error"):
            inspect.unwrap(distance)(a, b)


@pytest.mark.skipif(not installed(), reason=MISSING)
def test_features_of_pictures():
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 32, 32, 1)), jnp.float32)
    rows = lite0_features(x)
    assert rows.shape == (2, 320)
    np.testing.assert_allclose(rows[1], lite0_features(jnp.repeat(x[1], 3, -1)), rtol=1e-4, atol=1e-5)
