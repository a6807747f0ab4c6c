"""The colours of a picture: blind to texture, exact about casts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.metrics.colour import Colour

EPS = 1.2e-7


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).uniform(size=(2, 32, 48, 3)), jnp.float32)


def smooth(m):
    """The absolute value as the metric has it."""
    return np.sqrt(m**2 + 1e-8) - 1e-4


def test_a_cast_is_its_mean_shift(x):
    """Three channels, one of them by 6/255: a third of that. Sums of 256 numbers below 1, by lanes, and the rounding of
    x + cast."""
    cast = jnp.asarray([[[[0.0, 0.0, 6 / 255]]]])
    np.testing.assert_allclose(Colour()(x + cast, x), [smooth(6 / 255) / 3] * 2, atol=8 * EPS)


def test_texture_is_not_seen(x):
    """A checkerboard of any strength has mean 0 in every square of an even side."""
    board = jnp.asarray((np.indices((32, 48)).sum(0) % 2 * 2 - 1)[None, ..., None], jnp.float32)
    assert float(jnp.max(Colour()(x + 0.3 * board, x))) < 8 * EPS


def test_opposite_casts_of_two_squares_do_not_cancel(x):
    left = jnp.arange(48)[None, None, :, None] < 16
    np.testing.assert_allclose(
        Colour()(x + jnp.where(left, 0.1, -0.05), x), [(smooth(0.1) + 2 * smooth(0.05)) / 3] * 2, atol=8 * EPS
    )


def test_a_square_of_one_pixel_is_the_absolute_error(x):
    y = x[:, ::-1]
    reference = smooth(np.asarray(x - y, np.float64)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(Colour(window_px=1)(x, y), reference, rtol=20 * EPS)


def test_its_slope_is_the_same_all_over_a_square(x):
    slope = jax.grad(lambda x_hat: Colour()(x_hat, x).sum())(x + 0.1) * x[0].size
    np.testing.assert_allclose(slope, np.full(x.shape, 0.1 / np.hypot(0.1, 1e-4)), rtol=20 * EPS)


def test_refuses():
    with pytest.raises(ValueError, match="window_px must be 1 or above, not 0"):
        Colour(window_px=0)
    with pytest.raises(ValueError, match=r"eps .* above 0, not 0"):
        Colour(eps=0.0)
