"""Noise against its mean and variance. Bounds are five standard errors of estimates from m samples."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.degrade.noise import Gaussian, PoissonGaussian

KEYS = jax.random.split(jax.random.key(0), 512)
LEVELS = np.array([0.0, 0.02, 0.1, 0.4, 1.0])
X = jnp.asarray(np.broadcast_to(LEVELS[:, None, None], (5, 16, 3)), jnp.float32)  # one grey level a row


@cache
def observe(degrade):
    """What each key makes of X, and the slope of its sum with respect to X."""

    def total(key, x):
        obs = degrade(key, x)
        return obs.y.sum(), obs

    slope, obs = jax.jit(jax.vmap(jax.grad(total, argnums=1, has_aux=True), (0, None)))(KEYS, X)
    return obs, slope


@pytest.mark.parametrize(("shot", "read"), [(0.01, 0.02), (0.1, 0.0), (0.0, 0.05)])
def test_poisson_gaussian_has_its_mean_and_variance(shot, read):
    """At each level: mean x, variance v = shot x + read^2.

    A Poisson count of mean l has fourth central moment 3 l^2 + l, so that y has 3 v^2 + shot^3 x and the
    variance of m samples varies by (3 v^2 + shot^3 x - v^2) / m.
    """
    y = np.asarray(observe(PoissonGaussian(shot=shot, read=read))[0].y, np.float64)
    m = y[:, 0].size
    for row, level in enumerate(LEVELS):
        v = shot * level + read**2
        assert abs(y[:, row].mean() - level) <= 5 * np.sqrt(v / m) + 1e-6
        assert abs(y[:, row].var() - v) <= 5 * np.sqrt((2 * v**2 + shot**3 * level) / m) + 1e-9


def test_photons_are_counted():
    """Without read noise, `y / shot` is a whole number; float32 holds 30 to 2e-6."""
    obs, _ = observe(PoissonGaussian(shot=0.1, read=0.0))
    electrons = np.asarray(obs.y) / 0.1
    assert len(np.unique(np.rint(electrons))) > 10
    np.testing.assert_allclose(electrons, np.rint(electrons), rtol=0, atol=1e-5)


def test_without_shot_it_is_pure_gaussian():
    """Of m samples the third moment is 0 +- sqrt(15 / m), the fourth 3 +- sqrt(96 / m)."""
    obs, _ = observe(PoissonGaussian(shot=0.0, read=0.05))
    np.testing.assert_allclose(obs.noise_std, 0.05, rtol=1e-6)
    z = np.asarray((obs.y - X[None]) / 0.05, np.float64)
    assert abs(np.mean(z**3)) < 5 * np.sqrt(15 / z.size)
    assert abs(np.mean(z**4) - 3) < 5 * np.sqrt(96 / z.size)


def test_noise_std_is_estimated_from_y():
    """What a restorer can know: the formula with y in place of x, and no light below 0. Three roundings."""
    obs, _ = observe(PoissonGaussian(shot=0.01, read=0.02))
    y = np.asarray(obs.y, np.float64)
    assert y.min() < 0
    np.testing.assert_allclose(obs.noise_std, np.sqrt(0.01 * np.maximum(y, 0) + 0.02**2), rtol=4e-7)


def test_neither_noise_is_clipped():
    y = observe(Gaussian(std=0.1))[0].y
    assert y.min() < 0
    assert y.max() > 1


def test_gradient_is_that_of_the_mean():
    _, slope = observe(PoissonGaussian(shot=0.01, read=0.02))
    np.testing.assert_array_equal(slope, np.ones(slope.shape))


def test_a_range_gives_each_picture_its_std():
    """y - x has the std that its observation names, picture by picture: m samples give it to 1 / sqrt(2 m)."""
    obs, _ = observe(Gaussian(std=(0.05, 0.2)))
    std = np.asarray(obs.noise_std, np.float64)
    assert std.min() >= 0.05
    assert std.max() < 0.2
    assert abs(std.mean() - 0.125) < 5 * 0.15 / np.sqrt(12 * len(std))
    found = np.std(np.asarray(obs.y - X[None], np.float64), axis=(1, 2, 3))
    np.testing.assert_allclose(found, std, rtol=5 / np.sqrt(2 * X.size))


def test_zero_is_noiseless(key):
    obs = Gaussian(std=0.0)(key, X)
    np.testing.assert_array_equal(obs.y, X)
    assert obs.noise_std == 0


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Gaussian(std=-0.1), "Gaussian.std"),
        (lambda: PoissonGaussian(shot=-1.0), "PoissonGaussian.shot"),
        (lambda: PoissonGaussian(read=(0.2, 0.1)), "PoissonGaussian.read"),
    ],
)
def test_a_negative_amount_is_refused(make, name):
    with pytest.raises(ValueError, match=rf"{name} must be a number or a rising pair in \[0, inf\], not"):
        make()
