"""Gaussian blur against SciPy's, and what a blur must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from restore_jax.degrade.blur import GaussianBlur

H, W = 16, 12


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(H, W, 3))


@pytest.mark.parametrize("std", [0.3, 1.2, 2.0, W / 3])
def test_equals_scipy(key, x, std):
    """SciPy's "reflect" repeats the edge, as we do; its kernel is cut at 8 std, beyond double precision.

    We leave out images from 2 n + 1 on: exp(-(2 n + 1)^2 / 2 std^2) of a kernel whose sum is 2.5 std, and
    those behind weigh less than as much again.
    """
    left_out = sum(2 * np.exp(-((2 * n + 1) ** 2) / (2 * std**2)) / (2.5 * std) for n in (H, W))
    with jax.enable_x64(True):
        y = GaussianBlur(std=std)(key, jnp.asarray(x)).y
    reference = scipy.ndimage.gaussian_filter(x, (std, std, 0), mode="reflect", truncate=8.0)
    np.testing.assert_allclose(y, reference, rtol=0, atol=1e-14 + left_out)


def test_keeps_constants_and_the_mean(key, x):
    """Rows and columns of the weights sum to 1; float32 sums of n <= 16 terms round by n eps at most, twice."""
    blur = GaussianBlur(std=2.0)
    np.testing.assert_allclose(blur(key, jnp.full((H, W, 3), 0.7)).y, 0.7, rtol=2 * 16 * 1.2e-7)
    y = blur(key, jnp.asarray(x, jnp.float32)).y
    np.testing.assert_allclose(np.asarray(y, np.float64).mean(axis=(0, 1)), x.mean(axis=(0, 1)), rtol=2 * 16 * 1.2e-7)


def test_none_at_all_is_the_identity(key, x):
    x = jnp.asarray(x, jnp.float32)
    np.testing.assert_array_equal(GaussianBlur(std=0.0)(key, x).y, x)


def test_width_is_drawn_for_each_picture(x):
    x = jnp.asarray(x, jnp.float32)
    obs = jax.vmap(GaussianBlur(std=(0.5, 2.0)), (0, None))(jax.random.split(jax.random.key(0), 3), x)
    sharpness = np.std(obs.y, axis=(1, 2, 3))
    assert len(np.unique(sharpness)) == 3
    assert obs.operator.rows.shape == (3, H, H)


@pytest.mark.parametrize("std", [-1.0, (2.0, 1.0)])
def test_a_bad_width_is_refused(std):
    with pytest.raises(ValueError, match=r"GaussianBlur\.std must be a number or a rising pair in \[0, inf\]"):
        GaussianBlur(std=std)
