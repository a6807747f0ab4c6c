"""DiffPIR against the normal equations in numpy, and the law of its noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.degrade.linear import Convolution, Separable
from restore_jax.diffusion.posterior.diffpir import DiffPir, Renew
from restore_jax.diffusion.solver import Euler
from restore_jax.testing.gaussian import GaussianWorld

SHAPE = (4, 4, 1)
NOISE = 0.2
BLUR = jnp.asarray([[0.1, 0.2, 0.1], [0.0, 0.4, 0.2]])


def matrix_of(operator):
    basis = jnp.eye(int(np.prod(operator.in_shape))).reshape(-1, *operator.in_shape)
    return np.asarray(jax.vmap(operator)(basis), np.float64).reshape(len(basis), -1).T


@pytest.fixture
def operator():
    return Convolution(in_shape=SHAPE, kernel=BLUR)


def test_answers_the_posterior_mean_of_an_isotropic_prior(key, operator):
    """With the scale that says what D leaves open. Products of 16 terms, of condition number 1 + (d / noise)^2 = 5."""
    d, sigma = 0.4, 0.3
    world = GaussianWorld(jnp.full(SHAPE, 0.5), jnp.eye(16), jnp.full(16, d**2))
    y = operator(world.sample(key, 1)[0]) + NOISE
    x_t = jax.random.normal(key, SHAPE)
    guided = DiffPir(scale=1 + sigma**2 / d**2)(world.denoise, Observation(y, operator, NOISE))(x_t, jnp.float32(sigma))
    a = matrix_of(operator)
    precision = np.eye(16) * (1 / d**2 + 1 / sigma**2) + a.T @ a / NOISE**2
    told = 0.5 / d**2 + np.ravel(x_t) / sigma**2 + a.T @ np.ravel(y) / NOISE**2
    np.testing.assert_allclose(np.ravel(guided), np.linalg.solve(precision, told), rtol=0, atol=1e-5)


def test_a_batch_has_a_level_and_a_noise_an_image(key):
    """`argmin |A x - y|^2 + rho |x - D|^2`, by the normal equations of each picture."""
    weights = jax.random.uniform(key, (3, 2, 4))
    operators = jax.vmap(lambda rows: Separable(in_shape=SHAPE, rows=rows, cols=jnp.eye(4)))(weights)
    x_t, y = jax.random.normal(key, (3, *SHAPE)), jax.random.uniform(key, (3, 2, 4, 1))
    sigma, noise = np.asarray([2.0, 1.0, 0.5]), np.asarray([0.1, 0.5, 1.0])
    obs = Observation(y, operators, jnp.asarray(noise, jnp.float32).reshape(3, 1, 1, 1))
    guided = DiffPir(2.0)(lambda x_t, sigma: 0.9 * x_t, obs)(x_t, jnp.asarray(sigma, jnp.float32))
    for i in range(3):
        a = matrix_of(Separable(in_shape=SHAPE, rows=weights[i], cols=jnp.eye(4)))
        rho, x_hat = 2.0 * noise[i] ** 2 / sigma[i] ** 2, 0.9 * np.ravel(x_t[i])
        x = np.linalg.solve(a.T @ a + rho * np.eye(16), a.T @ np.ravel(y[i]) + rho * x_hat)
        # rho is 0.005 at the least beside eigenvalues up to 4: 16 eps 4 / 0.005 < 2e-3 at worst, seldom a tenth of it.
        np.testing.assert_allclose(np.ravel(guided[i]), x, rtol=0, atol=2e-4)


def test_without_noise_the_answer_agrees_with_y(key, operator):
    """`A (D + A^+ (y - A D)) = y`; the smallest |k| is 0.2 and more, so that 1e-5 is 10 roundings times 5."""
    y = operator(jax.random.uniform(key, SHAPE))
    guided = DiffPir()(lambda x_t, sigma: 0.5 * x_t, Observation(y, operator))
    np.testing.assert_allclose(operator(guided(jnp.ones(SHAPE), jnp.float32(2.0))), y, rtol=0, atol=1e-5)


def test_at_level_zero_the_denoiser_is_believed(key, operator):
    for noise in (None, 0.1):
        guided = DiffPir()(lambda x_t, sigma: x_t, Observation(jnp.zeros(SHAPE), operator, noise))
        answer = guided(jnp.ones(SHAPE), jnp.zeros(()))
        assert jnp.isfinite(answer).all()
    np.testing.assert_array_equal(answer, jnp.ones(SHAPE))


def test_renew_keeps_the_level_where_the_truth_is_answered(key):
    """20,000 numbers of variance t^2, within 4 standard errors, sqrt(2 / 20,000) each; zeta tells how much is new."""
    x_s, s, t = 2.0 * jax.random.normal(key, (20_000, 1, 1)), jnp.asarray(2.0), jnp.asarray(0.5)
    x_t = Renew(0.3)(jax.random.key(1), lambda x_t, sigma: 0 * x_t, x_s, s, t)
    assert abs(np.var(x_t) / 0.25 - 1) < 4 * np.sqrt(2 / 20_000)
    assert abs(np.mean(x_t * x_s) - np.sqrt(0.7)) < 4 * 2 / np.sqrt(20_000)  # the covariance is s t sqrt(1 - zeta)


def test_renew_nothing_is_eulers_step(key):
    world = GaussianWorld.draw(key, (2, 2, 2))
    x, s, t = world.sample(key, 2), jnp.asarray([1.0, 0.3]), jnp.asarray([0.5, 0.0])
    np.testing.assert_allclose(Renew(0.0)(key, world.denoise, x, s, t), Euler()(key, world.denoise, x, s, t), atol=1e-6)


def test_bad_input_is_named(operator):
    with pytest.raises(ValueError, match=r"DiffPir.scale must be above 0, not 0\.0"):
        DiffPir(0.0)
    with pytest.raises(ValueError, match=r"Renew.zeta is a share in \[0, 1\], not 2\.0"):
        Renew(2.0)
    with pytest.raises(ValueError, match="DiffPir needs the linear operator"):
        DiffPir()(lambda x_t, sigma: x_t, Observation(jnp.zeros(SHAPE)))
    with pytest.raises(ValueError, match="DiffPir takes noise of one size"):
        DiffPir()(lambda x_t, sigma: x_t, Observation(jnp.zeros(SHAPE), operator, jnp.ones(SHAPE)))
