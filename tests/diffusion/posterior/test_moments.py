"""Moment matching against E[x | x_t, y] of any Gaussian world, for any operator and any noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.degrade.blur import AnisotropicGaussian
from restore_jax.degrade.downsample import Downsample
from restore_jax.degrade.mask import RandomPixels
from restore_jax.degrade.raw import Mosaic
from restore_jax.diffusion.posterior.moments import MomentMatching
from restore_jax.testing.gaussian import GaussianWorld

LEVELS = (0.05, 0.5, 20.0)
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


def question(world, degrade, noise_std):
    """Pictures of the world observed, one at each of LEVELS, and noised: obs, x_t, sigma."""
    n, sigma = len(LEVELS), jnp.asarray(LEVELS)
    keys = jax.random.split(jax.random.key(3), 4)
    x = world.sample(keys[0], n)
    obs = jax.vmap(degrade)(jax.random.split(keys[1], n), x)
    noise_std = jnp.linspace(*noise_std, obs.y.size).reshape(obs.y.shape)
    obs = obs.replace(y=obs.y + noise_std * jax.random.normal(keys[2], obs.y.shape), noise_std=noise_std)
    return obs, x + sigma[:, None, None, None] * jax.random.normal(keys[3], x.shape), sigma


def answer(world, obs, x_t, sigma):
    """`E[x | x_t, y]` of one picture: what x_t leaves of the world is a Gaussian world again, which y then narrows."""
    left = world.eigenvalues * sigma**2 / (world.eigenvalues + sigma**2)
    known = world.replace(mean=world.denoise(x_t, sigma), eigenvalues=left)
    return known.posterior(obs.operator, obs.y, obs.noise_std)[0]


def guide(guidance, world):
    return jax.jit(lambda obs, x_t, sigma: guidance(world.denoise, obs)(x_t, sigma))


@operators
def test_exact_in_every_gaussian_world(key, degrade, shape):
    world = GaussianWorld.draw(key, shape, low=0.1)
    guided, exact = guide(MomentMatching(48), world), jax.jit(jax.vmap(lambda *one: answer(world, *one)))
    for noise_std in ((0.0, 0.0), (0.1, 0.1), (0.05, 0.5)):  # none, white, and another at each number
        asked = question(world, degrade, noise_std)
        # As many iterations as y has numbers are exact but for rounding, and conjugate gradients lose some
        # orthogonality to it: 3 times as many, for covariances of condition (0.5 / 0.1)^2 times the operator's,
        # which is < 100 for the blur.
        np.testing.assert_allclose(guided(*asked), exact(*asked), atol=1e-7)
    # One iteration is not enough: the test can fail.
    assert np.abs(guide(MomentMatching(1), world)(*asked) - exact(*asked)).max() > 1e-3


def test_a_picture_does_not_depend_on_its_neighbours(key):
    """Iterations are a picture's own: before they have converged, one system for the batch would mix them."""
    world = GaussianWorld.draw(key, (4, 4, 1))
    obs, x_t, sigma = question(world, Downsample(2, "box"), (0.1, 0.1))
    together = guide(MomentMatching(2), world)(obs, x_t, sigma)
    for i in range(len(LEVELS)):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], obs)
        alone = MomentMatching(2)(world.denoise, one)(x_t[i], sigma[i])
        np.testing.assert_allclose(together[i], alone, atol=1e-10)


def test_what_is_not_a_covariance_does_no_harm(key):
    """A "denoiser" of negative derivative: no iteration is made, and its answer stands; nor at level 0."""
    world = GaussianWorld.draw(key, (4, 4, 1))
    obs, x_t, sigma = question(world, Downsample(2, "box"), (0.0, 0.0))
    np.testing.assert_array_equal(MomentMatching()(lambda x, sigma: -x, obs)(x_t, sigma), -x_t)
    zero = jnp.zeros(len(LEVELS))
    np.testing.assert_array_equal(MomentMatching()(lambda x, sigma: x, obs)(x_t, zero), x_t)


def test_bad_settings_say_so():
    with pytest.raises(ValueError, match=r"MomentMatching.iterations must be a whole number >= 1, not 0"):
        MomentMatching(0)
    with pytest.raises(ValueError, match="MomentMatching needs the linear operator"):
        MomentMatching()(lambda x, sigma: x, Observation(y=jnp.zeros((4, 4, 1))))
