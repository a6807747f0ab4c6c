"""SSIM against scikit-image's on photographs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from skimage.metrics import structural_similarity

from restore_jax.metrics.ssim import Ssim

SOURCES = {
    "astronaut": lambda: skimage.data.astronaut()[100:164, 150:246],
    "cat": lambda: skimage.data.chelsea()[40:104, 100:196],
    "paper": lambda: np.repeat(skimage.data.page()[:64, :96, None], 3, axis=-1),
    "smallest": lambda: skimage.data.astronaut()[:11, :11],
    "black": lambda: np.zeros((64, 96, 3), np.uint8),
    "white": lambda: np.full((64, 96, 3), 255, np.uint8),
}
ssim = jax.jit(Ssim())


def pair(name):
    x = SOURCES[name]() / 255
    return np.clip(x + 0.08 * np.random.default_rng(0).normal(size=x.shape), 0, 1), x


def reference(x_hat, x):
    return structural_similarity(
        x, x_hat, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=-1
    )


@pytest.mark.parametrize("name", SOURCES)
def test_equals_scikit_image(name):
    """In float64 the two differ by rounding alone: 22 terms below 1 of eps each, over c_2 = 9e-4.

    In float32 the same at each position: 22 * 6e-8 / 4 (squares about mid-grey are below 1/4) / 9e-4 = 4e-4 at
    worst, where the picture is flat and saturated; rounding is not all of one sign, and a mean over positions
    keeps a tenth at most.
    """
    x_hat, x = pair(name)
    with jax.enable_x64(True):
        ours = ssim(jnp.asarray(x_hat), jnp.asarray(x))
    np.testing.assert_allclose(ours, reference(x_hat, x), rtol=0, atol=22 * 2.3e-16 / 9e-4)
    ours = ssim(jnp.asarray(x_hat, jnp.float32), jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(ours, reference(x_hat, x), rtol=0, atol=4e-5)


def test_two_flat_pictures_by_hand():
    """Nothing but luminance: `(2 a b + c_1) / (a^2 + b^2 + c_1)`, and a structure of 1 to rounding over c_2."""
    a, b = jnp.full((11, 11, 3), 0.2), jnp.full((11, 11, 3), 0.8)
    np.testing.assert_allclose(ssim(a, b), (2 * 0.16 + 1e-4) / (0.04 + 0.64 + 1e-4), rtol=4e-5)


def test_a_negative_has_negative_structure():
    x = jnp.asarray(pair("astronaut")[1], jnp.float32)
    assert ssim(1 - x, x) < 0


def test_a_picture_below_the_window_is_refused():
    with pytest.raises(ValueError, match=r"SSIM looks through a 11x11 window; a picture of \(10, 12\) has no room"):
        Ssim()(jnp.zeros((10, 12, 3)), jnp.zeros((10, 12, 3)))
