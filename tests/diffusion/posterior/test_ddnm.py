"""DDNM: null space kept and range replaced without noise; with noise E[x | x_t, y] of an isotropic world."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, pinv
from restore_jax.degrade.blur import AnisotropicGaussian
from restore_jax.degrade.downsample import Downsample
from restore_jax.degrade.mask import RandomPixels
from restore_jax.degrade.raw import Mosaic
from restore_jax.diffusion.posterior.ddnm import Ddnm
from restore_jax.testing.gaussian import GaussianWorld

DEVIATION = 0.3
OPERATORS = {
    "mask": (RandomPixels(0.5), (4, 4, 1)),
    "box": (Downsample(2, "box"), (4, 4, 1)),
    "blur": (AnisotropicGaussian(0.5, 0.7, 0.3, size=3), (4, 4, 1)),
    "bayer": (Mosaic(), (2, 2, 3)),
}
operators = pytest.mark.parametrize(("degrade", "shape"), OPERATORS.values(), ids=OPERATORS)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def picture(key, degrade, shape, noise_std=None):
    """One picture without batch axes: obs, x_t at level 0.5."""
    keys = jax.random.split(key, 3)
    x = 0.5 + DEVIATION * jax.random.normal(keys[0], shape)
    obs = degrade(keys[1], x)
    if noise_std is not None:
        noise_std = jnp.asarray(noise_std)
        obs = obs.replace(y=obs.y + noise_std * jax.random.normal(keys[2], obs.y.shape), noise_std=noise_std)
    return obs, x + 0.5 * jax.random.normal(jax.random.key(5), shape)


def bend(x, sigma):
    """A denoiser of no world."""
    return jnp.tanh(x / (1 + sigma))


@operators
def test_without_noise_the_range_is_of_y_and_the_null_space_of_the_denoiser(key, degrade, shape):
    obs, x_t = picture(key, degrade, shape)
    sigma = jnp.asarray(0.5)
    guided, guess = Ddnm()(bend, obs)(x_t, sigma), bend(x_t, sigma)
    a = obs.operator
    np.testing.assert_allclose(a(guided), obs.y, atol=1e-10)
    np.testing.assert_allclose(guided - pinv(a, a(guided)), guess - pinv(a, a(guess)), atol=1e-10)


@operators
def test_exact_where_pictures_are_isotropic(key, degrade, shape):
    d, sigma = int(np.prod(shape)), 0.5
    world = GaussianWorld(jnp.full(shape, 0.5), jnp.eye(d), jnp.full(d, DEVIATION**2))
    left = world.eigenvalues * sigma**2 / (world.eigenvalues + sigma**2)
    for noise_std in (None, 0.1):
        obs, x_t = picture(key, degrade, shape, noise_std)
        known = world.replace(mean=world.denoise(x_t, sigma), eigenvalues=left)  # the world, given x_t
        exact, _ = known.posterior(obs.operator, obs.y, noise_std or 0.0)
        guided = Ddnm(DEVIATION)(world.denoise, obs)(x_t, jnp.asarray(sigma))
        np.testing.assert_allclose(guided, exact, atol=1e-10)
    # A planted bug: the wrong deviation is found.
    assert np.abs(Ddnm(DEVIATION / 2)(world.denoise, obs)(x_t, jnp.asarray(sigma)) - exact).max() > 1e-3


def test_much_noise_leaves_the_prior_and_no_noise_is_the_limit(key):
    sigma = jnp.asarray(0.5)
    obs, x_t = picture(key, Downsample(2, "box"), (4, 4, 1))
    clean = Ddnm()(bend, obs)(x_t, sigma)
    # Shrunk by 1 - n^2 / (a^2 r^2) with n^2 = 1e-12, a^2 = 1/4, r^2 > 0.04: 1e-10, of a correction of size 1.
    little = Ddnm()(bend, obs.replace(noise_std=jnp.asarray(1e-6)))(x_t, sigma)
    np.testing.assert_allclose(little, clean, atol=1e-8)
    much = Ddnm()(bend, obs.replace(noise_std=jnp.asarray(1e6)))(x_t, sigma)
    np.testing.assert_allclose(much, bend(x_t, sigma), atol=1e-8)


def test_bad_settings_say_so():
    for wrong in (0.0, -1.0):
        with pytest.raises(ValueError, match=r"Ddnm.sigma_data must be above 0"):
            Ddnm(wrong)
    with pytest.raises(ValueError, match="Ddnm needs the linear operator"):
        Ddnm()(bend, Observation(y=jnp.zeros((4, 4, 1))))
