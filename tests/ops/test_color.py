"""Colour against the standard's corners and scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color

from restore_jax.ops.color import luma, studio_luma

EPS = 1.2e-7


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(2, 5, 4, 3))


def test_luma_of_grey_is_grey():
    """Three weights that sum to 1: three roundings."""
    grey = jnp.broadcast_to(jnp.linspace(0, 1, 11).reshape(11, 1, 1), (11, 1, 3))
    np.testing.assert_allclose(luma(grey)[..., 0], grey[..., 0], rtol=3 * EPS)


def test_luma_weighs_green_most():
    primaries = jnp.eye(3).reshape(3, 1, 3)
    np.testing.assert_array_equal(luma(primaries).ravel(), jnp.array([0.299, 0.587, 0.114]))


def test_studio_luma_of_black_and_white():
    ends = jnp.stack([jnp.zeros((1, 1, 3)), jnp.ones((1, 1, 3))])
    np.testing.assert_allclose(studio_luma(ends).ravel(), [16 / 255, 235 / 255], rtol=4 * EPS)


def test_studio_luma_is_that_of_scikit_image(x):
    with jax.enable_x64(True):
        y = studio_luma(jnp.asarray(x))
    assert y.shape == (2, 5, 4, 1)
    np.testing.assert_allclose(y[..., 0], skimage.color.rgb2ycbcr(x)[..., 0] / 255, rtol=0, atol=5 * 2.3e-16)


def test_studio_luma_is_luma_in_a_smaller_range(x):
    """`16 + 219 luma`; the standard rounds its weights to a thousandth, so that they differ by 0.0005 * 3 / 255."""
    x = jnp.asarray(x, jnp.float32)
    np.testing.assert_allclose(studio_luma(x), (16 + 219 * luma(x)) / 255, rtol=0, atol=6e-6)
