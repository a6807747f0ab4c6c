"""Grids of single pixels: exact about them, blind to casts and to texture of other periods."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.metrics.grid import Grid

EPS = 1.2e-7
ROW, COLUMN = np.indices((32, 48))
GRIDS = {"rows": (-1.0) ** ROW, "columns": (-1.0) ** COLUMN, "checkerboard": (-1.0) ** (ROW + COLUMN)}


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).uniform(size=(2, 32, 48, 3)), jnp.float32)


def smooth(a):
    """The absolute value as the metric has it."""
    return np.sqrt(a**2 + 1e-8) - 1e-4


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_is_its_amplitude(name, x):
    """One of three kinds, in one of three colours: a ninth. Either phase alike."""
    pattern = jnp.asarray(GRIDS[name][None, ..., None] * np.array([0.0, 0.0, 4 / 255]), jnp.float32)
    for phase in (1, -1):
        np.testing.assert_allclose(Grid()(x + phase * pattern, x), [smooth(4 / 255) / 9] * 2, atol=8 * EPS)


@pytest.mark.parametrize("period", [4, 8, 16])
def test_texture_of_other_periods_and_casts_are_not_seen(period, x):
    wave = 0.3 * np.cos(2 * np.pi * ROW / period) * np.cos(2 * np.pi * COLUMN / period) + 0.05
    assert float(jnp.max(Grid()(x + jnp.asarray(wave[None, ..., None], jnp.float32), x))) < 8 * EPS


def test_opposite_phases_of_two_squares_do_not_cancel(x):
    left = np.where(COLUMN < 16, 0.1, -0.05)
    pattern = jnp.asarray((left * GRIDS["rows"])[None, ..., None], jnp.float32)
    found = Grid()(x + pattern, x)
    np.testing.assert_allclose(found, [(smooth(0.1) + 2 * smooth(0.05)) / 9] * 2, atol=8 * EPS)


def test_it_is_fourier_s(x):
    """The three amplitudes of each square are its Fourier coefficients at half the sampling rate, along each axis."""
    y = x[:, ::-1]
    error = np.asarray(x - y, np.float64).reshape(2, 4, 8, 6, 8, 3).transpose(0, 1, 3, 5, 2, 4)
    found = np.abs(np.fft.fft2(error)) / 64
    reference = smooth(np.stack([found[..., 4, 0], found[..., 0, 4], found[..., 4, 4]])).mean((0, 2, 3, 4))
    # Amplitudes are sums of 64 numbers below 1, over 64; of some size 0.05 each, so to a few 1e-6 of itself.
    np.testing.assert_allclose(Grid(window_px=8)(x, y), reference, rtol=1e-5)


def test_its_slope_holds_a_grid_down(x):
    pattern = jnp.asarray(0.1 * GRIDS["checkerboard"][None, ..., None], jnp.float32)
    slope = jax.grad(lambda x_hat: Grid()(x_hat, x).sum())(x + pattern) * x[0].size
    # Of the three kinds, one; where the others' amplitudes are 0 so are their slopes.
    expected = np.broadcast_to(GRIDS["checkerboard"][..., None] / 3, x.shape)
    np.testing.assert_allclose(slope, expected, atol=1e-2)


def test_refuses():
    for window_px in (0, 1, 3):
        with pytest.raises(ValueError, match=rf"window_px must be even and 2 or above, not {window_px}"):
            Grid(window_px=window_px)
    with pytest.raises(ValueError, match=r"eps .* above 0, not 0"):
        Grid(eps=0.0)
