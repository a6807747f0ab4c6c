"""Weather and light: the laws of physics, the limits where nothing happens, the statistics, the errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from restore_jax.degrade.weather import Haze, LowLight, Rain, Snow, _fall, _poisson

EPS = 1.2e-7


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).uniform(0.0, 1.0, (16, 20, 3)), jnp.float32)


# Haze


def test_haze_without_relief_is_koschmieder_s_law(key, x):
    """`t = exp(-density d)` with d from 1 at the top to 0.2 at the bottom; a dozen roundings of numbers up to 1."""
    y = Haze(density=1.3, airlight=0.9, relief=0.0)(key, x).y
    t = np.exp(-1.3 * np.linspace(1.0, 0.2, 16))[:, None, None]
    np.testing.assert_allclose(y, t * np.asarray(x) + (1 - t) * 0.9, rtol=0, atol=12 * EPS)


def test_haze_transmits_every_colour_alike_and_each_place_otherwise(key):
    """Between a black and a white picture lies t: the same in all channels, within what depths in [0, 1] allow."""
    black, white = jnp.zeros((16, 20, 3)), jnp.ones((16, 20, 3))
    haze = Haze(density=1.0, airlight=0.8, relief=1.0)
    t = np.asarray(haze(key, white).y - haze(key, black).y)
    np.testing.assert_allclose(t, np.broadcast_to(t[..., :1], t.shape), rtol=0, atol=4 * EPS)
    assert np.exp(-1) - 4 * EPS <= t.min() < t.max() <= 1 + 4 * EPS
    assert np.std(t[8, :, 0]) > 0.01  # the relief varies along a row, which the rise alone does not
    assert np.abs(np.diff(t[..., 0], axis=1)).max() < 0.2  # and smoothly


# Rain and snow


@pytest.mark.parametrize("degrade", [Rain(cover=0.0, veil=0.0), Rain(opacity=0.0, veil=0.0), Snow(cover=0.0, veil=0.0)])
def test_nothing_falls(key, x, degrade):
    """Bit for bit but for the FFT's rounding of zero."""
    np.testing.assert_allclose(degrade(key, x).y, x, rtol=0, atol=EPS)


@pytest.mark.parametrize("degrade", [Rain(cover=0.0, veil=0.3, light=0.8), Snow(cover=0.0, veil=0.3, light=0.8)])
def test_veil_mixes_in_the_light(key, x, degrade):
    np.testing.assert_allclose(degrade(key, x).y, 0.7 * np.asarray(x) + 0.3 * 0.8, rtol=0, atol=4 * EPS)


@pytest.mark.parametrize("degrade", [Rain(cover=0.3, light=0.9), Snow(cover=0.3, light=0.9)])
def test_what_falls_moves_every_pixel_towards_its_light(key, x, degrade):
    y = degrade(key, x).y
    assert jnp.all(jnp.abs(y - 0.9) <= jnp.abs(x - 0.9) + 4 * EPS)
    assert jnp.mean(jnp.abs(y - x)) > 0.01


def streaks(angle, seed=0):
    """The alpha of rain over a dark picture of 96 x 96, with streaks of 30 pixels."""
    rain = Rain(cover=0.1, length=0.3, width=0.02, angle=angle, opacity=0.5, veil=0.0, light=1.0)
    return np.asarray(rain(jax.random.key(seed), jnp.zeros((96, 96, 1))).y)[..., 0]


@pytest.mark.parametrize("angle", [-30.0, 0.0, 30.0])
def test_rain_falls_at_its_angle(angle):
    """The gradient is across the streaks: the principal axis of the structure tensor tells the angle.

    The layers turn by 3 degrees each (standard deviation), so that their mean is within 6 of the angle in these draws.
    """
    down, right = np.gradient(ndimage.gaussian_filter(streaks(angle), 1.5, mode="wrap"))
    tensor = np.array([[np.sum(down * down), np.sum(down * right)], [np.sum(down * right), np.sum(right * right)]])
    along = np.linalg.eigh(tensor)[1][:, 0]  # the least change
    measured = np.rad2deg(np.arctan2(along[1] * np.sign(along[0]), abs(along[0])))
    assert abs(measured - angle) < 6


def test_no_streak_is_more_opaque_than_said_alone():
    """Of particles apart the greatest alpha is at most `opacity`, and at least that of half its logarithm.

    With cover 0.002 a picture of 64 x 64 holds some five dots (length 0), each a pixel or two wide.
    """
    profile = lambda distance, size: jnp.exp(-0.5 * (distance / 0.5) ** 2)
    numbers = [jnp.float32(v) for v in (0.002, 0.0, 0.0)]
    fall = lambda key: _fall(key, (64, 64), *numbers, 0.0, profile, jnp.float32(0.6))
    peaks = np.asarray(jax.jit(jax.vmap(fall))(jax.random.split(jax.random.key(1), 8))).max(axis=(1, 2, 3))
    assert np.all(peaks <= 0.6 + 10 * EPS)
    assert np.all(peaks >= 1 - np.sqrt(0.4) - 10 * EPS)


def test_cover_is_the_share_of_the_picture():
    """-log(1 - alpha) sums to cover times the mean strength, 3/4, times -log(1 - opacity), over many draws.

    Per draw the particles' number is near Poisson. In 32 pictures some 32 64^2 0.1 / 1.57 = 8000 dots fall, of
    strengths 0.75 +- 0.144: their sum is known to sqrt(1 + 0.04) / sqrt(8000) = 1.1 %; 5 standard errors.
    """
    profile = lambda distance, size: jnp.exp(-0.5 * (distance / 0.5) ** 2)
    numbers = [jnp.float32(v) for v in (0.1, 0.0, 0.0)]
    fall = lambda key: _fall(key, (64, 64), *numbers, 0.0, profile, jnp.float32(0.6))
    alpha = np.asarray(jax.jit(jax.vmap(fall))(jax.random.split(jax.random.key(2), 32)))
    cover = np.mean(-np.log1p(-alpha)) / -np.log1p(-0.6) / 0.75
    assert abs(cover / 0.1 - 1) < 0.055


# Low light


def test_poisson_is_the_quantile_of_scipy():
    """Exact up to a mean of 8, but where float32 cannot tell a probability from u; one off, rarely, above."""
    u = (np.arange(5000) + 0.5) / 5000
    z = jnp.asarray(stats.norm.ppf(u), jnp.float32)
    for mean, share in [(0.0, 0.0), (0.3, 0.0), (3.0, 1e-3), (8.0, 1e-3), (8.5, 5e-3), (40.0, 5e-3), (900.0, 5e-3)]:
        counts, expected = np.asarray(_poisson(z, jnp.full_like(z, mean))), stats.poisson.ppf(u, mean)
        assert np.abs(counts - expected).max() <= 1
        assert np.mean(counts != expected) <= share


def srgb_to_linear(v):
    v = np.asarray(v, np.float64)
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("amplify", [False, True])
def test_low_light_is_the_sensor_s_noise_on_less_light(amplify):
    """In linear light: mean `light / 2^stops` and variance `(electrons + read^2) / full_well^2`, amplified or not.

    Of m = 120000 values the mean is known to std / sqrt(m) and the variance to sqrt(2 / m), nearly normal as it is at
    95 electrons; 5 standard errors. The grey of 0.6 stays 9 std away from black, where y would be clipped.
    """
    grey = jnp.full((200, 200, 3), 0.6, jnp.float32)
    y = LowLight(stops=2.0, full_well=1200.0, read=4.0, amplify=amplify)(jax.random.key(3), grey).y
    light = srgb_to_linear(y) / (4.0 if amplify else 1.0)
    electrons = 1200.0 * srgb_to_linear(0.6) / 4
    std = np.sqrt(electrons + 16) / 1200
    assert abs(light.mean() - electrons / 1200) < 5 * std / np.sqrt(light.size)
    assert abs(light.var() / std**2 - 1) < 5 * np.sqrt(2 / light.size)


def test_low_light_without_noise_is_an_exposure(key, x):
    """10^6 electrons and more leave 0.1 % of noise; `stops = 0` then changes nothing that an eye would see."""
    y = LowLight(stops=0.0, full_well=1e7, read=0.0)(key, x).y
    np.testing.assert_allclose(y, x, rtol=0, atol=4e-3)


def test_low_light_stays_in_range_and_passes_gradients_to_black(key):
    """At x = 0, half of the noise is cut off, and the slope is that of the noiseless curve: 12.92 / 12.92 / 2^stops."""
    low = LowLight(stops=3.0, full_well=2000.0, read=5.0)
    y, slope = jax.value_and_grad(lambda x: jnp.sum(low(key, x).y))(jnp.zeros((8, 8, 3)))
    np.testing.assert_allclose(slope, 1 / 8, rtol=4 * EPS)
    assert y > 0
    assert jnp.all(low(key, jnp.zeros((8, 8, 3))).y >= 0)


# Errors


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Haze(density=-0.1), "Haze.density"),
        (lambda: Haze(airlight=(0.5, 1.2)), "Haze.airlight"),
        (lambda: Rain(cover=1.5), "Rain.cover"),
        (lambda: Rain(angle=(-100.0, 0.0)), "Rain.angle"),
        (lambda: Snow(size=(0.2, 0.1)), "Snow.size"),
        (lambda: LowLight(stops=-1.0), "LowLight.stops"),
        (lambda: LowLight(full_well=0.0), "LowLight.full_well"),
    ],
)
def test_errors_name_the_field(make, field):
    with pytest.raises(ValueError, match=rf"{field} must be .* in \[.*\], not"):
        make()
