"""CM4IR against its formulas in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import Observation
from restore_jax.degrade.linear import Separable
from restore_jax.degrade.mask import RandomPixels
from restore_jax.diffusion.posterior.cm4ir import Cm4ir
from restore_jax.ops.filter import gaussian_weights
from restore_jax.testing.gaussian import GaussianWorld

SHAPE = (4, 2, 1)
ROWS = jnp.asarray([[0.3, 0.7, 0.0, 0.0], [0.0, 0.2, 0.5, 0.3]])


@pytest.fixture
def operator():
    return Separable(in_shape=SHAPE, rows=ROWS, cols=jnp.eye(2))


@pytest.mark.parametrize(("zeta", "smooth_px"), [(0.0, ()), (0.3, ()), (0.3, (1.0, 0.5))])
def test_is_its_formula(key, operator, zeta, smooth_px):
    """Two levels, the noise given, by the normal equations; float32's rounding of numbers up to 3 divided by 0.5."""
    sigmas, noise_std, f = (3.0, 0.5), 0.2, 0.8
    cm = Cm4ir(sigmas, zeta, 2.0, smooth_px)
    noise = jax.random.normal(key, (4, 2, cm.draws))
    y = jax.random.uniform(key, (2, 2, 1))
    obs = Observation(y, operator, noise_std).with_cond(noise=noise)
    x = jax.jit(lambda key: cm(key, lambda x_t, sigma: f * x_t + sigma, obs))(key)

    a = np.asarray(jax.vmap(operator)(jnp.eye(8).reshape(8, *SHAPE)), np.float64).reshape(8, -1).T
    n = np.asarray(noise, np.float64).reshape(8, -1)

    def correct(x):
        return x + a.T @ np.linalg.solve(a @ a.T + 2.0 * noise_std**2 * np.eye(4), np.ravel(y) - a @ x)

    start = correct(np.full(8, 0.5))
    for std in smooth_px:
        rows, cols = (np.asarray(gaussian_weights(side, std), np.float64) for side in SHAPE[:2])
        start = correct(np.ravel(rows @ start.reshape(SHAPE[:2]) @ cols.T))
    x_t = start + 3.0 * n[:, 0]
    x_0 = correct(f * x_t + 3.0)
    fresh = np.sqrt(zeta) * n[:, -1] if zeta else 0.0
    x_t = x_0 + 0.5 * (np.sqrt(1 - zeta) * (x_t - x_0) / 3.0 + fresh)
    np.testing.assert_allclose(np.ravel(x), correct(f * x_t + 0.5), rtol=0, atol=1e-5)


def test_without_noise_it_agrees_with_y(key, operator):
    """The consistency function of a Gaussian, three levels, a batch of operators: `A x = y` to rounding."""
    world = GaussianWorld.draw(key, SHAPE)
    operators = jax.vmap(lambda gain: operator.replace(rows=gain * ROWS))(jnp.asarray([1.0, 2.0]))
    y = jax.vmap(lambda a, x: a(x))(operators, world.sample(key, 2))
    x = Cm4ir()(jax.random.split(key), world.consistency, Observation(y, operators))
    np.testing.assert_allclose(jax.vmap(lambda a, x: a(x))(operators, x), y, rtol=0, atol=1e-5)


def test_what_is_not_seen_comes_from_the_prior(key):
    """Nothing seen: one level is the consistency function of grey with noise, whatever y."""
    world = GaussianWorld.draw(key, SHAPE)
    blind = Separable(in_shape=SHAPE, rows=jnp.zeros((1, 4)), cols=jnp.eye(2))
    noise = jax.random.normal(key, SHAPE)
    obs = Observation(jnp.ones((1, 2, 1)), blind).with_cond(noise=noise)
    x = Cm4ir((4.0,))(key, world.consistency, obs)
    np.testing.assert_allclose(x, world.consistency(0.5 + 4.0 * noise, 4.0), rtol=0, atol=1e-5)


def test_a_smooth_start_fills_what_is_missing(key):
    """Two thirds of a slope's pixels missing, no prior (f is x_t, without noise): what was grey is near the slope."""
    slope = jnp.linspace(0, 1, 24)[:, None, None] * jnp.ones((24, 24, 1))
    obs = RandomPixels(keep=1 / 3)(key, slope).with_cond(noise=jnp.zeros(slope.shape))

    def left(widths):
        x = Cm4ir((0.1,), smooth_px=widths)(key, lambda x_t, sigma: x_t, obs)
        return float(jnp.abs(x - slope).mean())

    grey, smooth = left(()), left((4.0,) * 4 + (2.0,) * 4 + (1.0,) * 8)
    assert grey > 0.15  # a quarter, a slope's mean distance from grey, at two thirds of the pixels: 0.167
    assert smooth < 2 / 3 / 23  # as if each of these were the next row's


def test_counts():
    assert (Cm4ir((4.0, 1.0)).nfe, Cm4ir((4.0, 1.0)).draws) == (2, 2)
    assert (Cm4ir((4.0, 1.0), zeta=0.0).nfe, Cm4ir((4.0, 1.0), zeta=0.0).draws) == (2, 1)


def test_bad_input_is_named():
    for sigmas in ((), (1.0, 2.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match=r"Cm4ir\.sigmas must fall and be above 0"):
            Cm4ir(sigmas)
    with pytest.raises(ValueError, match=r"Cm4ir.zeta is a share in \[0, 1\], not 2\.0"):
        Cm4ir(zeta=2.0)
    with pytest.raises(ValueError, match=r"Cm4ir.scale must be >= 0, not -1\.0"):
        Cm4ir(scale=-1.0)
    with pytest.raises(ValueError, match=r"Cm4ir.smooth_px are widths of 0 pixels or more, not \(1\.0, -1\.0\)"):
        Cm4ir(smooth_px=(1.0, -1.0))
    with pytest.raises(ValueError, match="Cm4ir needs the linear operator"):
        Cm4ir()(jax.random.key(0), lambda x_t, sigma: x_t, Observation(jnp.zeros(SHAPE)))
