"""DAPS: exact for an isotropic Gaussian, and consistent with y for any prior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.degrade.linear import Convolution, Separable
from restore_jax.diffusion.posterior.daps import Daps
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Heun
from restore_jax.testing.gaussian import GaussianWorld

SHAPE = (3, 2, 2)
D = 12
DEVIATION = 0.4
N = 20_000
KERNEL = jnp.asarray([[0.5, 0.2], [0.2, 0.1]])
OPERATORS = (
    Convolution(in_shape=SHAPE, kernel=KERNEL),
    Separable(in_shape=SHAPE, rows=jnp.asarray([[0.3, 0.7, 0.0]]), cols=jnp.eye(2)),
)


@pytest.fixture
def isotropic():
    return GaussianWorld(jnp.full(SHAPE, 0.3), jnp.eye(D), jnp.full(D, DEVIATION**2))


def standard_errors(daps, world, operator, noise):
    """How far mean and covariance of N samples lie from the posterior's, in standard errors, at the worst."""
    y = operator(world.sample(jax.random.key(1), 1)[0]) + noise
    obs = Observation(y, operator, noise)
    keys = jax.random.split(jax.random.key(2), N)
    x = np.asarray(jax.jit(jax.vmap(lambda key: daps(key, world.denoise, obs)))(keys), np.float64).reshape(N, D)
    mean, covariance = (np.asarray(one, np.float64) for one in world.posterior(operator, y, noise))
    # What is known without noise has no variance; there rounding is the measure, 1e-5.
    variance = np.maximum(np.diag(covariance), 1e-10 * N)
    of_mean = (x.mean(0) - mean.ravel()) / np.sqrt(variance / N)
    of_covariance = (np.cov(x.T) - covariance) / np.sqrt((np.outer(variance, variance) + covariance**2) / N)
    return max(np.abs(of_mean).max(), np.abs(of_covariance).max())


EXACT = Daps(n_steps=3, ode_steps=1, deviation=DEVIATION, schedule=Karras(0.1, 80.0))


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: type(operator).__name__)
def test_is_exact_for_an_isotropic_prior(isotropic, operator):
    """12 means and 78 second moments: 4.5 standard errors are passed by chance once in 1,500.

    The start is off by |mean - 0.5| d^2 / 80^2 < 1e-5 in the mean, and as little in the covariance.
    """
    assert standard_errors(EXACT, isotropic, operator, 0.2) < 4.5


def test_another_spread_is_found(isotropic):
    """The paper's r = s is not exact: at the levels 0.1 and above it leaves too much to y, or too much noise."""
    wrong = Daps(n_steps=3, ode_steps=1, schedule=Karras(0.1, 80.0))
    assert standard_errors(wrong, isotropic, OPERATORS[0], 0.2) > 10


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: type(operator).__name__)
def test_without_noise_it_agrees_with_y(key, operator):
    """For any prior, inner way and spread: `A x = y` to rounding, times a condition number of 10."""
    world = GaussianWorld.draw(key, SHAPE)
    y = operator(world.sample(key, 1)[0])
    daps = Daps(n_steps=3, ode_steps=2, step=Heun(), schedule=Karras(0.1, 20.0))
    x = jax.jit(lambda key: daps(key, world.denoise, Observation(y, operator)))(key)
    np.testing.assert_allclose(operator(x), y, rtol=0, atol=3e-5)


def test_the_inner_way_follows_the_flow(key):
    """Nothing is seen, and r is next to 0: from the last level, `n_steps` = 1, it arrives where the flow does.

    Heun's error falls fourfold with twice the steps; the levels fall as (k / n)^7.
    """
    world = GaussianWorld.draw(key, SHAPE, low=0.2)
    blind = Separable(in_shape=SHAPE, rows=jnp.zeros((1, 3)), cols=jnp.eye(2))
    noise = jax.random.normal(key, SHAPE)
    obs = Observation(jnp.zeros((1, 2, 2)), blind, 0.1).with_cond(noise=noise)
    exact = world.consistency(0.5 + 2.0 * noise, 2.0)

    def error(n):
        daps = Daps(n_steps=1, ode_steps=n, step=Heun(), deviation=1e-6, schedule=Karras(0.01, 2.0))
        return np.abs(jax.jit(lambda key: daps(key, world.denoise, obs))(key) - exact).max()

    few, many = error(16), error(32)
    assert many < 0.01
    assert 3 < few / many < 5


def test_nfe_counts_the_inner_way():
    assert Daps(n_steps=4, ode_steps=5).nfe == 20
    assert Daps(n_steps=4, ode_steps=5, step=Heun()).nfe == 36


def test_bad_input_is_named():
    for name in ("n_steps", "ode_steps"):
        with pytest.raises(ValueError, match=f"Daps.{name} must be a whole number >= 1, not 0"):
            Daps(**{name: 0})
    with pytest.raises(ValueError, match=r"Daps.deviation must be above 0, or None for the level itself, not 0\.0"):
        Daps(deviation=0.0)
    with pytest.raises(ValueError, match="Daps needs the linear operator"):
        Daps()(jax.random.key(0), lambda x_t, sigma: x_t, Observation(jnp.zeros(SHAPE)))
