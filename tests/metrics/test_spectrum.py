"""Amplitudes of local waves: exact about one wave, blind to where it stands and to casts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.metrics.spectrum import Spectrum

EPS = 1.2e-7
ROW, COLUMN = np.indices((48, 64))
GREY = np.full((48, 64, 3), 0.5)


def wave(period: float, phase: float = 0.0, amplitude: float = 0.1) -> jax.Array:
    """Rows of a period, in all three colours alike, around grey."""
    return jnp.asarray(GREY + amplitude * np.cos(2 * np.pi * ROW / period + phase)[..., None], jnp.float32)


@pytest.mark.parametrize("period", [4, 16 / 3, 8])
@pytest.mark.parametrize("phase", [0.0, 1.0])
def test_a_wave_is_four_amplitudes_over_all_waves(period, phase):
    """Two lines of half the amplitude, each of which a Hann window widens to 1/2, 1, 1/2 along both axes."""
    found = Spectrum(eps=1e-7)(wave(period, phase), jnp.asarray(GREY, jnp.float32))
    # Each of 255 sums of 256 numbers below 1 is known to a rounding of its largest partial sum.
    np.testing.assert_allclose(found, 4 * 0.1 / 255, atol=2 * EPS)


def test_where_a_wave_stands_is_not_seen_and_how_strong_it_is_is():
    same, half = wave(4, 0.3), wave(4, 1.7)
    assert float(Spectrum(eps=1e-7)(same, half)) < 2 * EPS
    weaker = wave(4, 0.0, 0.04)
    np.testing.assert_allclose(Spectrum(eps=1e-7)(same, weaker), 4 * 0.06 / 255, atol=2 * EPS)


def test_a_cast_is_not_seen():
    x = jnp.asarray(np.random.default_rng(0).uniform(0.2, 0.6, (2, 48, 64, 3)), jnp.float32)
    assert float(Spectrum()(x + 0.3, x).max()) < 2 * EPS


def test_excess_counts_roughness_alone():
    strong, weak = wave(4, 0.0, 0.1), wave(4, 0.0, 0.04)
    excess = Spectrum(eps=1e-7, excess=True)
    assert float(excess(weak, strong)) < 2 * EPS
    np.testing.assert_allclose(excess(strong, weak), 4 * 0.06 / 255, atol=2 * EPS)


def test_the_two_sides_of_excess_add_up():
    one, other = (jnp.asarray(np.random.default_rng(k).uniform(size=(2, 32, 48, 3)), jnp.float32) for k in (0, 1))
    excess = Spectrum(excess=True)
    np.testing.assert_allclose(excess(one, other) + excess(other, one), Spectrum()(one, other), rtol=1e-5)


def test_it_is_numpy_s():
    """Square by square, in double precision."""
    one, other = (np.random.default_rng(k).uniform(size=(24, 32, 2)) for k in (0, 1))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(8) + 0.5) / 8)
    window = np.outer(hann, hann) / hann.sum() ** 2

    def amplitudes(x):
        squares = [x[i : i + 8, j : j + 8, c] for i in range(0, 17, 4) for j in range(0, 25, 4) for c in (0, 1)]
        waves = [np.fft.fft2((s - (s * window).sum()) * window).reshape(-1)[1:] for s in squares]
        return np.sqrt(np.abs(waves) ** 2 + 1e-8) - 1e-4

    off = amplitudes(one) - amplitudes(other)
    reference = (np.sqrt(off**2 + 1e-8) - 1e-4).mean()
    found = Spectrum(window_px=8)(jnp.asarray(one, jnp.float32), jnp.asarray(other, jnp.float32))
    np.testing.assert_allclose(found, reference, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 40, 1), (17, 16, 3)])
def test_pictures_that_squares_do_not_fill(shape):
    x = jnp.asarray(np.random.default_rng(0).uniform(size=shape), jnp.float32)
    assert np.isfinite(float(Spectrum()(x, 1 - x)))


def test_its_slope_is_finite_where_pictures_agree():
    x = wave(4)
    slope = jax.grad(lambda x_hat: Spectrum()(x_hat, x))(x)
    assert np.isfinite(slope).all()


def test_refuses():
    for window_px in (0, 2, 5):
        with pytest.raises(ValueError, match=rf"window_px must be even and 4 or above, not {window_px}"):
            Spectrum(window_px=window_px)
    with pytest.raises(ValueError, match=r"eps .* above 0, not 0"):
        Spectrum(eps=0.0)
