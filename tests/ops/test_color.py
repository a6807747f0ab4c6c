"""Colour against the standard's corners and scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
from PIL import Image

from restore_jax.ops.color import luma, rgb_to_ycbcr, studio_luma, ycbcr_to_rgb

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


def test_ycbcr_of_the_primaries():
    """Luma is `luma`; blue and red reach the ends of their chroma; grey has none. Three roundings each."""
    corners = jnp.array([[[1.0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 0], [0.3, 0.3, 0.3]]])
    planes = rgb_to_ycbcr(corners)
    np.testing.assert_allclose(planes[..., :1], luma(corners), rtol=0, atol=3 * EPS)
    np.testing.assert_allclose(planes[0, :, 1][jnp.array([1, 3, 4])], [1.0, 0.0, 0.5], rtol=0, atol=3 * EPS)
    np.testing.assert_allclose(planes[0, :, 2][jnp.array([0, 2, 4])], [1.0, 0.0, 0.5], rtol=0, atol=3 * EPS)


def test_ycbcr_is_that_of_pillow():
    """Which rounds to bytes: half a level, and a thousandth for its fixed point."""
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    theirs = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    ours = 255 * rgb_to_ycbcr(jnp.asarray(pixels / 255, jnp.float32)) + jnp.array([0.0, 0.5, 0.5]).reshape(1, 1, 3)
    assert np.abs(ours - theirs).max() < 1.01  # Pillow cuts its Cb and Cr off, and centres them at 128


def test_ycbcr_goes_back(x):
    """Six products, all below 2, in float64."""
    with jax.enable_x64(True):
        np.testing.assert_allclose(ycbcr_to_rgb(rgb_to_ycbcr(jnp.asarray(x))), x, rtol=0, atol=12 * 2.3e-16)
