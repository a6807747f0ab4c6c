"""PiGDM against E[x | x_t, y] of an isotropic world, where it is exact, and its formula in dense matrices elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.degrade.blur import AnisotropicGaussian
from restore_jax.degrade.downsample import Downsample
from restore_jax.degrade.mask import RandomPixels
from restore_jax.degrade.raw import Mosaic
from restore_jax.diffusion.posterior.pigdm import Pigdm
from restore_jax.testing.gaussian import GaussianWorld

DEVIATION = 0.3
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


def isotropic(key, shape):
    """A world of one deviation in all directions."""
    d = int(np.prod(shape))
    return GaussianWorld.draw(key, shape, DEVIATION, DEVIATION).replace(eigenvalues=jnp.full(d, DEVIATION**2))


def question(world, degrade, key, noise_std):
    """Pictures of the world observed, one at each of LEVELS, and noised: obs, x_t, sigma."""
    n = len(LEVELS)
    x, sigma = world.sample(key, n), jnp.asarray(LEVELS)
    obs = jax.vmap(degrade)(jax.random.split(key, n), x)
    obs = obs.replace(y=obs.y + noise_std * jax.random.normal(key, obs.y.shape), noise_std=jnp.full(n, noise_std))
    return obs, x + sigma[:, None, None, None] * jax.random.normal(jax.random.key(7), x.shape), sigma


def answer(world, obs, x_t, sigma):
    """`E[x | x_t, y]` of one picture: what x_t leaves of the world is a Gaussian world again, which y then narrows."""
    left = world.eigenvalues * sigma**2 / (world.eigenvalues + sigma**2)
    known = world.replace(mean=world.denoise(x_t, sigma), eigenvalues=left)
    return known.posterior(obs.operator, obs.y, obs.noise_std)[0]


def answers(world):
    return jax.jit(jax.vmap(lambda *one: answer(world, *one)))


def guide(guidance, world):
    return jax.jit(lambda obs, x_t, sigma: guidance(world.denoise, obs)(x_t, sigma))


@operators
def test_exact_where_pictures_are_isotropic(key, degrade, shape):
    world = isotropic(key, shape)
    guided, exact = guide(Pigdm(DEVIATION), world), answers(world)
    for noise_std in (0.0, 0.1):
        asked = question(world, degrade, key, noise_std)
        # Pictures of size 1; at level 20 the gain of 4e3 and the derivative of 2e-4 cancel; |A^+| < 10 for the blur.
        np.testing.assert_allclose(guided(*asked), exact(*asked), atol=1e-10)
    # A planted bug: the wrong deviation is found, wherever it is of account.
    assert np.abs(guide(Pigdm(DEVIATION / 2), world)(*asked) - exact(*asked)).max() > 1e-3


def test_exact_for_noise_of_another_size_at_each_number(key):
    world = isotropic(key, (4, 4, 1))
    obs, x_t, sigma = question(world, Downsample(2, "cubic"), key, 0.1)
    obs = obs.replace(noise_std=jnp.linspace(0.05, 0.5, obs.y.size).reshape(obs.y.shape))
    # Conjugate gradients stop at a relative residual of 1e-6, of numbers of size 1 / noise_std^2 < 400.
    guided = guide(Pigdm(DEVIATION), world)(obs, x_t, sigma)
    np.testing.assert_allclose(guided, answers(world)(obs, x_t, sigma), atol=1e-4)


def test_formula_in_dense_matrices(key):
    """In a world that is not isotropic: `D + (s^2 / r^2) J^T A^T (A A^T + n^2 / r^2)^-1 (y - A D)`, written out."""
    world = GaussianWorld.draw(key, (4, 4, 1))
    obs, x_t, sigma = question(world, Downsample(2, "box"), key, 0.1)
    guided = guide(Pigdm(0.25), world)(obs, x_t, sigma)
    for i, s in enumerate(LEVELS):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], obs.operator)
        a = np.asarray(jax.vmap(one)(jnp.eye(16).reshape(16, 4, 4, 1)))
        a = a.reshape(16, 4).T
        c = np.asarray(world.covariance)
        j = c @ np.linalg.inv(c + s**2 * np.eye(16))
        r2 = s**2 * 0.25**2 / (s**2 + 0.25**2)
        x_hat = np.asarray(world.denoise(x_t[i], s)).ravel()
        solved = np.linalg.solve(r2 * a @ a.T + 0.1**2 * np.eye(4), np.asarray(obs.y[i]).ravel() - a @ x_hat)
        np.testing.assert_allclose(guided[i].ravel(), x_hat + s**2 * j.T @ a.T @ solved, atol=1e-10)


def test_level_zero_keeps_what_does_not_contradict_the_observation(key):
    world = isotropic(key, (4, 4, 1))
    obs, x_t, _ = question(world, RandomPixels(0.5), key, 0.1)
    kept = guide(Pigdm(), world)(obs, x_t, jnp.zeros(len(LEVELS)))
    np.testing.assert_allclose(kept, x_t, atol=1e-8)


def test_bad_settings_say_so(key):
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"Pigdm.sigma_data must be above 0"):
            Pigdm(wrong)
    with pytest.raises(ValueError, match="Pigdm needs the linear operator"):
        Pigdm()(lambda x, sigma: x, Observation(y=jnp.zeros((4, 4, 1))))
