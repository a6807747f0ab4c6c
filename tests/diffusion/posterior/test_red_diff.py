"""RED-diff: its fixed points, which linear algebra knows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation, prox
from restore_jax.degrade.linear import Separable
from restore_jax.diffusion.posterior.red_diff import RedDiff
from restore_jax.diffusion.schedule import Karras
from restore_jax.testing.gaussian import GaussianWorld

SHAPE = (2, 2, 2)
ROWS = jnp.asarray([[0.3, 0.7]])


@pytest.fixture
def operator():
    return Separable(in_shape=SHAPE, rows=ROWS, cols=jnp.asarray([[0.9, 0.1], [0.2, 0.8]]))


def test_a_prior_of_one_picture_leaves_the_proximal_point(key, operator):
    """If D always answers m, the gradient is that of `|A x - y|^2 + scale |x - m|^2` and has no noise in it.

    Curvatures lie in [0.5, 1.5] about: Adam, with steps of 0.01 at most, has come to rest after 600 of them.
    """
    y, m = jax.random.uniform(key, (1, 2, 2)), jnp.full(SHAPE, 0.3)
    fit = RedDiff(scale=0.5, rate=0.01, n_steps=600, schedule=Karras(0.01, 5.0))
    x = jax.jit(lambda key: fit(key, lambda x_t, sigma: m + 0 * x_t, Observation(y, operator, 0.1)))(key)
    np.testing.assert_allclose(x, prox(operator, m, y, 0.5), rtol=0, atol=1e-4)


def gaussian_fixed_point(world, operator, y, scale, sigma):
    """`(A^T A + scale (1 - W)) (x - m) = A^T (y - A m)`, with `D(x) = m + W (x - m)`, in float64."""
    basis = jnp.eye(8).reshape(8, *SHAPE)
    a = np.asarray(jax.vmap(operator)(basis), np.float64).reshape(8, -1).T
    u, variance = np.asarray(world.basis, np.float64), np.asarray(world.eigenvalues, np.float64)
    left = a.T @ a + scale * (u * (sigma**2 / (variance + sigma**2))[None]) @ u.T
    return np.ravel(world.mean) + np.linalg.solve(left, a.T @ np.ravel(y - operator(world.mean)))


def test_at_one_level_it_rests_where_prior_and_measurement_agree(key, operator):
    """The mean of 512 runs, each of which Adam leaves about 0.05 from the fixed point: 4 standard errors are 0.01."""
    world = GaussianWorld.draw(key, SHAPE, low=0.2)
    y = operator(world.sample(key, 1)[0]) + 0.3
    sigma = 0.5
    fit = RedDiff(scale=1.0, rate=0.01, n_steps=600, schedule=Karras(sigma * 0.9999, sigma))
    keys = jax.random.split(key, 512)
    x = np.asarray(jax.jit(jax.vmap(lambda key: fit(key, world.denoise, Observation(y, operator))))(keys), np.float64)
    error = 4 * x.std(0).max() / np.sqrt(512)
    assert error < 0.02
    exact = gaussian_fixed_point(world, operator, y, 1.0, sigma)
    np.testing.assert_allclose(np.ravel(x.mean(0)), exact, rtol=0, atol=error)
    # A planted bug, the regularisation twice as strong, is far away.
    assert np.abs(np.ravel(x.mean(0)) - gaussian_fixed_point(world, operator, y, 2.0, sigma)).max() > 2 * error


def test_it_starts_at_the_pseudo_inverse(key, operator):
    """One step of Adam moves every number by the rate, against the sign of its gradient `scale (mu - D)` there."""
    y = operator(jax.random.uniform(key, SHAPE))
    start = operator.adjoint(operator.solve(y, 0.0))
    fit = RedDiff(rate=0.1, n_steps=1)
    x = fit(key, lambda x_t, sigma: 0 * x_t + 3.0, Observation(y, operator))
    np.testing.assert_allclose(x, start + 0.1, rtol=0, atol=1e-5)
    assert (fit.nfe, fit.draws) == (1, 0)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"RedDiff\.n_steps must be a whole number >= 1, not 0"):
        RedDiff(n_steps=0)
    with pytest.raises(ValueError, match=r"RedDiff.rate must be above 0, not -1\.0"):
        RedDiff(rate=-1.0)
    with pytest.raises(ValueError, match=r"RedDiff.scale must be above 0, not 0\.0"):
        RedDiff(scale=0.0)
    with pytest.raises(ValueError, match="RedDiff needs the linear operator"):
        RedDiff()(jax.random.key(0), lambda x_t, sigma: x_t, Observation(jnp.zeros(SHAPE)))
