"""Every closed form against one that was found another way: by differentiation, integration, conditioning, counting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Operator
from restore_jax.degrade.linear import Identity, Separable
from restore_jax.degrade.mask import Mask
from restore_jax.testing.gaussian import GaussianWorld

SHAPE = (3, 2, 2)
D = 12


# A map is two products with an orthogonal matrix of 12 columns (12 roundings each) and a ratio of numbers
# up to 1 in size: 100 roundings cover it.
TOLERANCE = 100 * np.finfo(np.float64).eps


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def world(key) -> GaussianWorld:
    return GaussianWorld.draw(key, SHAPE)


def test_world_is_spread_and_tilted(world):
    np.testing.assert_allclose(world.basis @ world.basis.T, np.eye(D), atol=TOLERANCE)
    np.testing.assert_allclose(world.eigenvalues.max() / world.eigenvalues.min(), (0.5 / 0.02) ** 2)
    deviation = np.sqrt(np.diag(world.covariance))
    correlation = np.asarray(world.covariance) / np.outer(deviation, deviation)
    assert np.abs(correlation - np.eye(D)).max() > 0.3  # not diagonal in pixels


def test_float32_is_float64_rounded(world, key):
    x, y = world.sample(key, 3), world.sample(key, 1)[0]
    single, few, y32 = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (world, x, y))
    pairs = [
        (single.denoise(few, 0.3), world.denoise(x, 0.3)),
        (single.flow(few, 1.0, 0.5), world.flow(x, 1.0, 0.5)),
        *zip(single.posterior(Identity(SHAPE), y32, 0.1), world.posterior(Identity(SHAPE), y, 0.1)),
    ]
    for got, wanted in pairs:
        assert got.dtype == jnp.float32
        # B of the posterior has singular values from 0.1 to 0.5: 5 times the roundings of a map.
        np.testing.assert_allclose(got, wanted, atol=5 * 100 * np.finfo(np.float32).eps)
    # z / deviation is off by 2 eps / 0.02 (a picture's rounding, seen at the least deviation), and is below
    # 5; squared, halved, and summed over 12.
    error = 100 * 5 * 12 * np.finfo(np.float32).eps
    np.testing.assert_allclose(single.log_density(few, 0.0), world.log_density(x, 0.0), atol=error)


def test_sample_moments(world, key):
    n = 20_000
    x = np.asarray(world.sample(key, n), np.float64).reshape(n, D)
    covariance = np.asarray(world.covariance, np.float64)
    variance = np.diag(covariance)
    # Var[mean] = C_ii / n and, for Gaussians, Var[C_ij] = (C_ii C_jj + C_ij^2) / n; 4.5 standard errors
    # hold all 12 + 144 numbers with probability 0.999.
    assert (np.abs(x.mean(0) - np.asarray(world.mean).ravel()) < 4.5 * np.sqrt(variance / n)).all()
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / n)
    assert (np.abs(np.cov(x.T) - covariance) < 4.5 * error).all()


def test_sample_takes_a_key_each(world, key):
    keys = jax.random.split(key, 3)
    together = world.sample(keys, 3)
    np.testing.assert_allclose(together[1:2], world.sample(keys[1:2], 1), atol=TOLERANCE)


def test_log_density_is_the_normal_law(world, key):
    x = world.sample(key, 3)
    for sigma in (0.0, 0.3):
        covariance = np.asarray(world.covariance, np.float64) + sigma**2 * np.eye(D)
        centred = np.asarray(x - world.mean[None], np.float64).reshape(3, D)
        maha = np.einsum("bi,bi->b", centred, np.linalg.solve(covariance, centred.T).T)
        wanted = -0.5 * (maha + np.linalg.slogdet(2 * np.pi * covariance)[1])
        # The reference inverts a matrix of condition 625: 12 * 625 eps in a distance of about 12.
        np.testing.assert_allclose(wanted, world.log_density(x, sigma), rtol=12 * 625 * np.finfo(np.float64).eps)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
def test_denoise_is_tweedie_s(world, key, sigma):
    """`E[x | x_t] = x_t + sigma^2 grad log p(x_t; sigma)`, the gradient by autodiff."""
    x_t = world.sample(key, 2)
    score = jax.grad(lambda x: world.log_density(x, sigma).sum())(x_t)
    np.testing.assert_allclose(world.denoise(x_t, sigma), x_t + sigma**2 * score, atol=1e-13)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
def test_flow_solves_the_ode(world, key, sigma):
    """The derivative of the flow in its end, by autodiff, is `(x - D(x, sigma)) / sigma` there."""
    x = world.sample(key, 2)
    there, slope = jax.jvp(lambda t: world.flow(x, 1.0, t), (jnp.asarray(sigma),), (jnp.ones(()),))
    np.testing.assert_allclose(slope, (there - world.denoise(there, sigma)) / sigma, atol=1e-12)


def test_flow_is_a_group(world, key):
    x = world.sample(key, 2)
    np.testing.assert_allclose(world.flow(x, 0.3, 0.3), x, atol=TOLERANCE)
    # The way over 2.0 multiplies pictures, and rounding, by up to 2 / 0.02 and divides them again.
    np.testing.assert_allclose(
        world.flow(world.flow(x, 0.0, 2.0), 2.0, 0.3), world.flow(x, 0.0, 0.3), atol=100 * TOLERANCE
    )
    np.testing.assert_allclose(world.consistency(world.flow(x, 0.0, 0.3), 0.3), x, atol=100 * TOLERANCE)


def test_sigma_per_image_is_sigma_one_by_one(world, key):
    x, sigma = world.sample(key, 3), jnp.array([0.0, 0.1, 2.0])
    for f in (world.denoise, world.consistency, world.log_density, lambda x, s: world.flow(x, s, 2 * s)):
        singly = jnp.stack([f(x[i], sigma[i]) for i in range(3)])
        np.testing.assert_allclose(f(x, sigma), singly, rtol=10 * TOLERANCE, atol=10 * TOLERANCE)
    np.testing.assert_allclose(world.denoise(x, 0.0), x, atol=TOLERANCE)
    np.testing.assert_allclose(world.denoise(x[None], 0.1)[0], world.denoise(x, 0.1), atol=TOLERANCE)


def dense(operator: Operator) -> np.ndarray:
    """`A`, column by column."""
    pixels = np.eye(D).reshape(D, *SHAPE)
    return np.stack([np.asarray(operator(jnp.asarray(pixel))).ravel() for pixel in pixels], axis=1)


def operators() -> dict[str, Operator]:
    seen = jnp.asarray([[1.0, 0], [0, 1], [1, 1]])[..., None]
    rows, cols = jnp.asarray([[0.5, 0.5, 0.0], [0.0, 0.3, 0.7]]), jnp.asarray([[0.4, 0.6]])
    return {"identity": Identity(SHAPE), "mask": Mask(SHAPE, seen), "small": Separable(SHAPE, rows, cols)}


@pytest.mark.parametrize("name", ["identity", "mask", "small"])
@pytest.mark.parametrize("noise", ["one", "a number a pixel", "tiny"])
def test_posterior_is_the_joint_gaussian_s(world, key, name, noise):
    """The joint precision of (x, y) is [[S^-1 + A^T N^-1 A, -A^T N^-1], [.., N^-1]]: read x given y off its rows."""
    operator = operators()[name]
    y = operator(world.sample(key, 1)[0]) + 0.05
    per_pixel = 0.02 + 0.1 * jax.random.uniform(key, y.shape)
    noise_std = {"one": 0.1, "a number a pixel": per_pixel, "tiny": 1e-3}[noise]
    mean, covariance = world.posterior(operator, y, noise_std)
    a = dense(operator)
    weight = 1 / np.broadcast_to(noise_std, y.shape).ravel() ** 2
    information = np.linalg.inv(np.asarray(world.covariance)) + a.T @ (weight[:, None] * a)
    off = np.asarray(y).ravel() - a @ np.asarray(world.mean).ravel()
    shift = np.linalg.solve(information, a.T @ (weight * off))
    # The reference inverts matrices of condition up to 1 / 1e-3^2 / (1 / 0.5^2) < 1e6: 1e-16 * 1e6 * 12.
    np.testing.assert_allclose(mean.ravel() - world.mean.ravel(), shift, atol=2e-9)
    np.testing.assert_allclose(covariance, np.linalg.inv(information), atol=2e-9)


@pytest.mark.parametrize("name", ["identity", "mask", "small"])
def test_posterior_without_noise_is_the_limit(world, key, name):
    """A is singular for the mask: what was seen is certain, and the rest is the limit of little noise."""
    operator = operators()[name]
    y = operator(world.sample(key, 1)[0])
    mean, covariance = world.posterior(operator, y, 0.0)
    # B has singular values from 0.02 * 0.1 (the smallest deviation behind the weakest row of A) to 1.
    eps = np.finfo(np.float64).eps
    np.testing.assert_allclose(operator(mean), y, atol=12 * 500 * eps)
    np.testing.assert_allclose(dense(operator) @ covariance, 0, atol=12 * 500 * eps)
    near, near_covariance = world.posterior(operator, y, 1e-6)
    # The difference is of order noise^2 / (0.02 * 0.1)^2 = 2.5e-7, relative to pictures of size 1.
    np.testing.assert_allclose(mean, near, atol=2.5e-6)
    np.testing.assert_allclose(covariance, near_covariance, atol=2.5e-6)


def test_posterior_of_noise_alone_is_denoise(world, key):
    y = world.sample(key, 1)[0]
    mean, _ = world.posterior(Identity(SHAPE), y, 0.2)
    np.testing.assert_allclose(mean, world.denoise(y, 0.2), atol=10 * TOLERANCE)
    prior, covariance = world.posterior(Identity(SHAPE), y, 1e4)
    np.testing.assert_allclose(prior, world.mean, atol=1e-8 + 10 * TOLERANCE)  # (0.5 / 1e4)^2 = 2.5e-9
    np.testing.assert_allclose(covariance, world.covariance, atol=1e-8 + 10 * TOLERANCE)


def test_world_passes_through_jit(world, key):
    x = world.sample(key, 2)
    jitted = jax.jit(lambda world, x, s: world.denoise(x, s))
    np.testing.assert_allclose(jitted(world, x, 0.3), world.denoise(x, 0.3), atol=TOLERANCE)
    jitted(world.replace(mean=world.mean + 1), x, 0.5)
    assert jitted._cache_size() == 1  # numbers that change values retrace nothing
