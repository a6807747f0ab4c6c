"""A mixture against differentiation, counting, Bayes' rule itself, and the Gaussian world it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.degrade.linear import Identity, Separable
from restore_jax.degrade.mask import Mask
from restore_jax.testing.gaussian import GaussianWorld
from restore_jax.testing.mixture import MixtureWorld, log_evidence

SHAPE = (2, 2, 2)
D = 8
# As for the Gaussian world, and for the shares: exp of differences of log-densities below 1e3 or so.
TOLERANCE = 1e4 * np.finfo(np.float64).eps


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def world(key) -> MixtureWorld:
    return draw(key)


# Compiled once for all tests; a number a pixel of noise, so that one program serves every noise.
draw = jax.jit(lambda key: MixtureWorld.draw(key, SHAPE, n=3))
sample = jax.jit(MixtureWorld.sample, static_argnums=2)
posterior_of = jax.jit(MixtureWorld.posterior)
log_density = jax.jit(MixtureWorld.log_density)
denoise = jax.jit(MixtureWorld.denoise)


def operators():
    seen = jnp.asarray([[1.0, 0], [1, 1]])[..., None]
    rows, cols = jnp.asarray([[0.5, 0.5], [0.1, 0.9]]), jnp.asarray([[0.4, 0.6]])
    return {"identity": Identity(SHAPE), "mask": Mask(SHAPE, seen), "small": Separable(SHAPE, rows, cols)}


def test_sample_moments(world, key):
    n = 20_000
    x = np.asarray(sample(world, key, n)).reshape(n, D)
    covariance = np.asarray(world.covariance)
    variance = np.diag(covariance)
    # 4.5 standard errors hold all 8 + 64 numbers with probability 0.999. The errors of the second moments are those
    # of a Gaussian: of a mixture, whose tails are lighter than a Gaussian's of the same covariance, they are less.
    assert (np.abs(x.mean(0) - np.asarray(world.mean).ravel()) < 4.5 * np.sqrt(variance / n)).all()
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / n)
    assert (np.abs(np.cov(x.T) - covariance) < 4.5 * error).all()
    # Not what forgetting the means' own spread, or the weights, would give.
    within = np.tensordot(np.asarray(world.weights), np.asarray(jax.vmap(lambda c: c.covariance)(world.components)), 1)
    assert (np.abs(np.cov(x.T) - within) > 4.5 * error).any()
    flat = np.asarray(world.components.mean).mean(0).ravel()
    assert (np.abs(x.mean(0) - flat) > 4.5 * np.sqrt(variance / n)).any()


def test_sample_takes_a_key_each(world, key):
    keys = jax.random.split(key, 3)
    np.testing.assert_allclose(sample(world, keys, 3)[1:2], sample(world, keys[1:2], 1), atol=TOLERANCE)


def test_log_density_is_the_sum_of_normal_laws(world, key):
    x = sample(world, key, 3)
    centred = np.asarray(x[:, None] - world.components.mean[None]).reshape(3, 3, D)
    for sigma in (0.0, 0.3):
        covariances = np.asarray(jax.vmap(lambda c: c.covariance)(world.components)) + sigma**2 * np.eye(D)
        maha = np.einsum("bki,kij,bkj->bk", centred, np.linalg.inv(covariances), centred)
        scale = np.sqrt(np.linalg.det(2 * np.pi * covariances))
        wanted = np.log((np.asarray(world.weights) * np.exp(-0.5 * maha) / scale).sum(-1))
        np.testing.assert_allclose(log_density(world, x, sigma), wanted, atol=TOLERANCE)


def test_denoise_is_tweedie_s(world, key):
    """`E[x | x_t] = x_t + sigma^2 grad log p(x_t; sigma)`, the gradient by autodiff."""
    score = jax.jit(jax.grad(lambda x, sigma: world.log_density(x, sigma).sum()))
    for sigma in (0.05, 0.4, 3.0):
        x_t = sample(world, key, 4) + sigma * jax.random.normal(key, (4, *SHAPE))
        wanted = x_t + sigma**2 * score(x_t, sigma)
        np.testing.assert_allclose(denoise(world, x_t, sigma), wanted, atol=TOLERANCE)


@pytest.mark.parametrize("name", [pytest.param("identity", marks=pytest.mark.soak), "mask", "small"])
def test_posterior_is_bayes_rule(world, key, name):
    """`log p(x | y) - log p(x) - log p(y | x)` is one number, `-log p(y)`, wherever it is asked."""
    operator = operators()[name]
    y = operator(sample(world, key, 1)[0]) + 0.05
    noise_std = 0.05 + 0.1 * jax.random.uniform(key, y.shape)
    x = sample(world, key, 5)
    off = jax.vmap(operator)(x) - y[None]
    scale = noise_std[None]
    likelihood = -0.5 * jnp.sum((off / scale) ** 2 + jnp.log(2 * jnp.pi * scale**2), axis=(1, 2, 3))
    posterior = posterior_of(world, operator, y, noise_std)
    evidence = log_density(world, x, 0.0) + likelihood - log_density(posterior, x, 0.0)
    np.testing.assert_allclose(evidence, evidence[:1].repeat(5), atol=TOLERANCE)
    each = jax.vmap(lambda component: log_evidence(component, operator, y, noise_std))(world.components)
    np.testing.assert_allclose(evidence[0], jax.nn.logsumexp(world.log_weights + each), atol=TOLERANCE)
    np.testing.assert_allclose(posterior.weights.sum(), 1, atol=TOLERANCE)
    assert 0.01 < posterior.weights.max() < 0.999  # more than one component is possible


@pytest.mark.parametrize("name", [pytest.param("identity", marks=pytest.mark.soak), "mask", "small"])
def test_posterior_without_noise_is_the_limit(world, key, name):
    operator = operators()[name]
    y = operator(sample(world, key, 1)[0])
    sure, near = (posterior_of(world, operator, y, jnp.full(y.shape, std)) for std in (0.0, 1e-6))
    x = sample(sure, key, 5)
    np.testing.assert_allclose(jax.vmap(operator)(x), jnp.broadcast_to(y, (5, *y.shape)), atol=1e-6)
    # noise^2 over the least variance that A sees, (0.1 * 0.1)^2, is 1e-8; log-densities of the order of 100.
    np.testing.assert_allclose(sure.weights, near.weights, atol=1e-6)
    np.testing.assert_allclose(sure.mean, near.mean, atol=1e-6)
    np.testing.assert_allclose(sure.covariance, near.covariance, atol=1e-6)


def test_posterior_of_noise_alone_is_denoise(world, key):
    y = sample(world, key, 1)[0] + 0.2
    np.testing.assert_allclose(posterior_of(world, Identity(SHAPE), y, 0.3).mean, world.denoise(y, 0.3), atol=TOLERANCE)


def test_one_component_is_the_gaussian_world(key):
    @jax.jit
    def pairs(key):
        gaussian = GaussianWorld.draw(key, SHAPE)
        world, x = MixtureWorld.single(gaussian), gaussian.sample(key, 2)
        maps = [
            (getattr(world, name)(x, 0.3), getattr(gaussian, name)(x, 0.3))
            for name in ("denoise", "log_density", "consistency")
        ]
        operator = Separable(SHAPE, jnp.asarray([[1.0, 0.0]]), jnp.eye(2))
        posterior = world.posterior(operator, x[0][:1], 0.1)
        return [*maps, *zip((posterior.mean, posterior.covariance), gaussian.posterior(operator, x[0][:1], 0.1))]

    for got, wanted in pairs(key):
        np.testing.assert_allclose(got, wanted, atol=TOLERANCE)


@pytest.mark.soak
def test_consistency_is_the_flow_to_the_order_of_its_steps(world, key):
    """Two equal components are one, whose flow is known; and halving the steps leaves a quarter of the error."""
    gaussian = GaussianWorld.draw(key, SHAPE, 0.1, 0.2)
    twice = MixtureWorld(jnp.log(jnp.full(2, 0.5)), jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), gaussian))
    s = jnp.asarray([0.5, 2.0])
    x = gaussian.flow(gaussian.sample(key, 2), 0.0, s)
    coarse, fine = (jnp.abs(twice.consistency(x, s, n) - gaussian.consistency(x, s)).max() for n in (64, 128))
    assert abs(jnp.log2(coarse / fine) - 2) < 0.15
    assert fine < 5e-4
    # Of components that differ, it is what more steps agree on.
    x = sample(world, key, 2) + 2.0 * jax.random.normal(key, (2, *SHAPE))
    ends = [world.consistency(x, 2.0, n) for n in (64, 128, 256)]
    np.testing.assert_allclose(jnp.abs(ends[0] - ends[1]).max() / jnp.abs(ends[1] - ends[2]).max(), 4, rtol=0.15)


def test_sigma_per_image_is_sigma_one_by_one(world, key):
    x, sigma = sample(world, key, 3), jnp.array([0.05, 0.1, 2.0])
    for f in map(jax.jit, (world.denoise, world.consistency, world.log_density)):
        singly = jnp.stack([f(x[i], sigma[i]) for i in range(3)])
        np.testing.assert_allclose(f(x, sigma), singly, atol=TOLERANCE)
    np.testing.assert_allclose(world.denoise(x[None], 0.1)[0], denoise(world, x, 0.1), atol=TOLERANCE)


def test_float32_stays_float32(world, key):
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), world)
    x = sample(single, key, 2)
    for f in (single.denoise, single.consistency, single.log_density):
        assert f(x, 0.3).dtype == jnp.float32
    posterior = jax.eval_shape(lambda world, y: world.posterior(Identity(SHAPE), y, 0.1), single, x[0])
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(posterior))
