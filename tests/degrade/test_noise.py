"""Noise against its mean and variance. Bounds are five standard errors of estimates from m samples."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.degrade.noise import (
    DarkFrame,
    DeadPixels,
    Gaussian,
    PoissonGaussian,
    Quantise,
    SensorNoise,
    ShotRead,
    SignalDependent,
    Speckle,
    Stripe,
)

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


@pytest.mark.parametrize(("shot", "read"), [(0.01, 0.02), (0.1, 0.0), (0.0, 0.05)])
def test_signal_dependent_noise_has_the_mean_and_variance_of_counted_light(shot, read):
    """At each level: mean x, variance v = shot x + read^2 of m normals, which is known to v sqrt(2 / m)."""
    obs, slope = observe(SignalDependent(shot=shot, read=read))
    y = np.asarray(obs.y, np.float64)
    m = y[:, 0].size
    for row, level in enumerate(LEVELS):
        v = shot * level + read**2
        assert abs(y[:, row].mean() - level) <= 5 * np.sqrt(v / m) + 1e-6
        assert abs(y[:, row].var() - v) <= 5 * v * np.sqrt(2 / m) + 1e-9
    np.testing.assert_array_equal(slope, np.ones(slope.shape))


def test_without_shot_it_is_pure_gaussian():
    """Of m samples the third moment is 0 +- sqrt(15 / m), the fourth 3 +- sqrt(96 / m)."""
    obs, _ = observe(PoissonGaussian(shot=0.0, read=0.05))
    np.testing.assert_allclose(obs.noise_std, 0.05, rtol=1e-6)
    z = np.asarray((obs.y - X[None]) / 0.05, np.float64)
    assert abs(np.mean(z**3)) < 5 * np.sqrt(15 / z.size)
    assert abs(np.mean(z**4) - 3) < 5 * np.sqrt(96 / z.size)


@pytest.mark.parametrize("noise", [PoissonGaussian, SignalDependent])
def test_noise_std_is_estimated_from_y(noise):
    """What a restorer can know: the formula with y in place of x, and no light below 0. Three roundings."""
    obs, _ = observe(noise(shot=0.01, read=0.02))
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
        (lambda: SignalDependent(shot=-1.0), "SignalDependent.shot"),
        (lambda: Speckle(std=-0.1), "Speckle.std"),
        (lambda: Stripe(std=-0.1), "Stripe.std"),
        (lambda: DarkFrame(current=-0.1), "DarkFrame.current"),
        (lambda: DarkFrame(column_std=(-0.1, 0.1)), "DarkFrame.column_std"),
    ],
)
def test_a_negative_amount_is_refused(make, name):
    with pytest.raises(ValueError, match=rf"{name} must be a number or a rising pair in \[0, inf\], not"):
        make()


@pytest.mark.parametrize(("iso", "k", "variance"), [(100.0, 0.06864128, 0.18719), (1600.0, 0.96793133, 2.97945)])
def test_sensor_noise_follows_its_calibration(iso, k, variance):
    """Mean x and variance `(k 959 x + b) / 959^2`; k and b worked out by hand to 5 digits. Bounds as above."""
    y = np.asarray(observe(SensorNoise(iso=iso))[0].y, np.float64)
    m = y[:, 0].size
    for row, level in enumerate(LEVELS):
        v = (k * 959 * level + variance) / 959**2
        assert abs(y[:, row].mean() - level) <= 5 * np.sqrt(v / m) + 1e-6
        assert abs(y[:, row].var() / v - 1) <= 5 * np.sqrt((2 + (k / 959) ** 3 * level / v**2) / m) + 1e-4


def test_iso_is_drawn_by_its_logarithm():
    """Half of the pictures lie below the geometric mean, 800, within 5 sqrt(1 / 4 / 512)."""
    y = np.asarray(observe(SensorNoise(iso=(100.0, 6400.0)))[0].noise_std[:, 4], np.float64).mean(axis=(1, 2))
    k, b = 5.995267e-4 * 800 + 8.68861e-3, 7.11772e-7 * 800**2 + 6.514934e-4 * 800 + 0.11492713
    middle = np.sqrt(k * 959 + b) / 959  # of noise_std at white
    assert abs((y < middle).mean() - 0.5) < 5 * np.sqrt(0.25 / 512)


def test_shot_and_read_go_together():
    """One shot of 0.01: the read variance is log-normal around exp(2.18 log 0.01 + 1.2), spread by 0.26.

    The noise of black is read noise alone, seen through 48 numbers a picture, which scatter the log of its variance
    by sqrt(2 / 48) more, and shift it by -1 / 48.
    """
    black = np.asarray(observe(ShotRead(shot=0.01))[0].y[:, 0], np.float64)
    logs = np.log(np.mean(black**2, axis=(1, 2)))
    assert abs(logs.mean() - (2.18 * np.log(0.01) + 1.2 - 1 / 48)) < 5 * np.sqrt((0.26**2 + 2 / 48) / 512)
    assert abs(logs.std() / np.sqrt(0.26**2 + 2 / 48) - 1) < 5 / np.sqrt(2 * 512)


def test_speckle_grows_with_the_light():
    """Mean x, variance `std^2 x^2`, and `noise_std^2` has that mean. Fourth moments give the bounds: 2 v^2 / m."""
    obs, _ = observe(Speckle(std=0.2))
    y = np.asarray(obs.y, np.float64)
    m = y[:, 0].size
    for row, level in enumerate(LEVELS):
        v = (0.2 * level) ** 2
        assert abs(y[:, row].mean() - level) <= 5 * np.sqrt(v / m) + 1e-6
        assert abs(y[:, row].var() - v) <= 5 * v * np.sqrt(2 / m) + 1e-9
        said = np.mean(np.asarray(obs.noise_std[:, row], np.float64) ** 2)
        assert abs(said - v) <= 5 * 2 * v * 0.25 / np.sqrt(m) + 1e-9  # y^2 varies by 2 std x^2 (1 + ...) = 0.42 x^2
    assert obs.operator is not None


@pytest.mark.parametrize(("along", "axis"), [("rows", 2), ("cols", 1)])
def test_stripes_are_constant_along_themselves(along, axis):
    """One offset each, of the std that is said, and neighbours by themselves. y - x rounds to 1e-7."""
    obs, slope = observe(Stripe(std=0.1, along=along))
    stripes = np.asarray(obs.y - X[None], np.float64)
    np.testing.assert_allclose(np.ptp(stripes, axis=(axis, 3)), 0, atol=3e-7)
    one = np.take(stripes, 0, axis=axis)[..., 0]
    assert abs(one.std() / 0.1 - 1) < 5 / np.sqrt(2 * one.size)
    assert abs(np.mean(one[:, 1:] * one[:, :-1])) < 5 * 0.01 / np.sqrt(one[:, 1:].size)
    assert obs.operator is None
    assert obs.noise_std is None
    np.testing.assert_array_equal(slope, np.ones(slope.shape))


def test_dark_current_has_a_long_tail():
    """Exponential of mean 0.02: above 5 means a share of exp(-5), and nothing is negative."""
    obs, _ = observe(DarkFrame(current=0.02, column_std=0.0, known=True))
    dark = np.asarray(obs.cond["dark"], np.float64)
    assert dark.min() >= 0
    assert abs(dark.mean() / 0.02 - 1) < 5 / np.sqrt(dark.size)
    assert abs((dark > 0.1).mean() - np.exp(-5)) < 5 * np.sqrt(np.exp(-5) / dark.size)
    np.testing.assert_array_equal(obs.y, X[None] + obs.cond["dark"])


def test_dark_columns_stand():
    obs, _ = observe(DarkFrame(current=0.0, column_std=0.1, known=True))
    dark = np.asarray(obs.cond["dark"])
    np.testing.assert_array_equal(dark, np.broadcast_to(dark[:, :1, :, :1], dark.shape))
    assert abs(np.sqrt(np.mean(dark[:, 0, :, 0] ** 2)) / 0.1 - 1) < 5 / np.sqrt(2 * 512 * 16)
    assert dict(observe(DarkFrame())[0].cond) == {}


def test_dead_pixels_are_black_or_white():
    """Shares of 0.05 each, within 5 sqrt(p / m); all others are untouched."""
    obs, slope = observe(DeadPixels(share=0.1))
    middle, m = np.asarray(obs.y[:, 3]), obs.y[:, 3].size
    for value in (0.0, 1.0):
        assert abs((middle == value).mean() - 0.05) < 5 * np.sqrt(0.05 / m)
    assert set(np.unique(middle)) == {0.0, np.float32(0.4), 1.0}
    np.testing.assert_array_equal(slope[:, 3] == 0, middle != np.float32(0.4))


@pytest.mark.parametrize("bits", [1, 2, 8, 16])
def test_quantised_levels(key, bits):
    """Whole multiples of 1 / (2^bits - 1), the nearest ones, and the ends where x leaves [0, 1]; slope 1 everywhere."""
    x = jnp.asarray(np.random.default_rng(0).uniform(-0.2, 1.2, (8, 8, 3)), jnp.float32)
    degrade = Quantise(bits=bits)
    steps = np.asarray(degrade(key, x).y, np.float64) * (2**bits - 1)
    np.testing.assert_allclose(steps, np.rint(steps), rtol=1.2e-7, atol=0)
    off = np.abs(steps / (2**bits - 1) - np.clip(np.asarray(x, np.float64), 0, 1))
    assert off.max() <= 0.5 / (2**bits - 1) + 1.2e-7
    np.testing.assert_array_equal(jax.grad(lambda x: degrade(key, x).y.sum())(x), np.ones(x.shape))


def test_quantising_twice_is_quantising_once(key):
    y = Quantise(bits=8)(key, X).y
    np.testing.assert_array_equal(Quantise(bits=8)(key, y).y, y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SensorNoise(iso=20.0), r"SensorNoise\.iso must be .* in \[50, 12800\], not 20"),
        (lambda: ShotRead(shot=0.0), r"ShotRead\.shot must be .* in \[1e-06, 1\], not 0"),
        (lambda: DeadPixels(share=2.0), r"DeadPixels\.share must be .* in \[0, 1\], not 2"),
        (lambda: Stripe(along="diagonals"), r"Stripe\.along must be 'rows' or 'cols', not 'diagonals'"),
        (lambda: Quantise(bits=0), r"Quantise\.bits must be a whole number in \[1, 16\], not 0"),
    ],
)
def test_fields_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
