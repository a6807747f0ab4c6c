"""Filters as matrices and as shifted sums, against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from restore_jax.ops.filter import correlate_valid, gaussian_weights

EPS = 1.2e-7


@pytest.mark.parametrize("std", [0.1, 0.5, 1.5, 4.0])
def test_gaussian_weights_are_symmetric_and_stochastic(std):
    """For std <= n / 3; what is left out of a column weighs 2e-8, and 12 terms of rounding."""
    weights = gaussian_weights(12, std)
    np.testing.assert_allclose(weights.sum(0), 1, atol=2e-8 + 12 * EPS)
    np.testing.assert_allclose(weights.sum(1), 1, atol=12 * EPS)
    np.testing.assert_allclose(weights, weights.T, rtol=0, atol=2e-8 + 12 * EPS)
    assert weights.min() >= 0


def test_gaussian_weights_are_scipys():
    """The blur of each unit vector; SciPy's kernel is cut at 8 std, ours at 2 n + 1 = 25 pixels."""
    with jax.enable_x64(True):
        weights = gaussian_weights(12, 1.7, jnp.float64)
    reference = scipy.ndimage.gaussian_filter1d(np.eye(12), 1.7, axis=0, mode="reflect", truncate=8.0)
    np.testing.assert_allclose(weights, reference, rtol=0, atol=1e-14)


def test_two_gaussians_make_one():
    """Variances add: a sum over samples is the integral, to 2 exp(-2 pi^2 v) with 1 / v = 1 / 1.5^2 + 1 / 2^2."""
    with jax.enable_x64(True):
        two = gaussian_weights(24, 1.5, jnp.float64) @ gaussian_weights(24, 2.0, jnp.float64)
        one = gaussian_weights(24, 2.5, jnp.float64)
    np.testing.assert_allclose(two, one, rtol=0, atol=2 * np.exp(-2 * np.pi**2 * 1.44))


def test_gaussian_weights_shrink_to_the_identity():
    np.testing.assert_array_equal(gaussian_weights(5, 0.0), np.eye(5))


@pytest.mark.parametrize("std", [0.0, 0.5, 2.0])
def test_gaussian_weights_are_differentiable_in_std(std):
    """Against a central difference, whose error is step^2 times a third derivative below 100."""
    with jax.enable_x64(True):
        entry = jax.jit(lambda s: gaussian_weights(6, s, jnp.float64)[2, 3])
        slope = jax.grad(entry)(std)
        difference = (entry(std + 1e-5) - entry(std - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=0, atol=1e-8)


@pytest.mark.parametrize("batch", [(), (2,), (2, 1)])
def test_correlate_valid_is_scipys(batch):
    """Unsymmetric taps, so that a convolution in its place would be found. Ten terms in each value."""
    taps = (0.1, 0.4, -0.3, 0.2, 0.6)
    x = np.random.default_rng(0).uniform(size=(*batch, 9, 7, 2))
    kernel = np.outer(taps, taps).reshape((1,) * len(batch) + (5, 5, 1))
    reference = scipy.signal.correlate(x, kernel, mode="valid", method="direct")
    y = correlate_valid(jnp.asarray(x, jnp.float32), taps)
    assert y.shape == (*batch, 5, 3, 2)
    np.testing.assert_allclose(y, reference, rtol=0, atol=10 * EPS * np.abs(taps).sum() ** 2)


def test_a_single_tap_scales():
    x = jnp.ones((3, 4, 1))
    np.testing.assert_array_equal(correlate_valid(x, (0.5,)), 0.25 * x)
