"""Channels and gains by their formulas; the laws hold their operators to the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.core import pinv
from restore_jax.degrade.channel import ChannelLoss, Channels, Exposure, Greyscale, Vignette
from restore_jax.ops.color import luma

EPS = 1.2e-7


@pytest.fixture
def x():
    return jnp.asarray(np.random.default_rng(0).uniform(size=(5, 4, 3)), jnp.float32)


def test_greyscale_is_luma(key, x):
    """Three products that sum to 1 at most: three roundings, in another order perhaps."""
    obs = Greyscale()(key, x)
    assert obs.y.shape == (5, 4, 1)
    np.testing.assert_allclose(obs.y, luma(x), rtol=0, atol=3 * EPS)


def test_the_colours_that_grey_comes_back_in(key, x):
    """The least-norm colour of a luma Y is `Y w / |w|^2`. Two sums of three terms and a quotient."""
    obs = Greyscale()(key, x)
    w = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(pinv(obs.operator, obs.y), obs.y * (w / (w @ w))[None, None], rtol=0, atol=20 * EPS)


def test_channels_against_numpy(x):
    """Five mixtures of three channels have rank 3: `solve` at 0 is numpy's pinv of M M^T, to its condition's eps.

    With reg it is the inverse. In doubles: the condition number is below 1e3, squared by M M^T, of eps 2.3e-16.
    """
    draw = np.random.default_rng(1)
    matrix, r = draw.normal(size=(5, 3)), draw.normal(size=(2, 3, 5))
    with jax.enable_x64(True):
        a = Channels(in_shape=(2, 3, 3), matrix=jnp.asarray(matrix))
        gram = matrix @ matrix.T
        np.testing.assert_allclose(a.solve(jnp.asarray(r), 0.0), r @ np.linalg.pinv(gram, rcond=1e-12), rtol=1e-9)
        np.testing.assert_allclose(a.solve(jnp.asarray(r), 0.3), r @ np.linalg.inv(gram + 0.3 * np.eye(5)), rtol=1e-9)
        values = np.linalg.svd(np.kron(np.eye(6), matrix), compute_uv=False)
        np.testing.assert_allclose(np.sort(np.ravel(a.spectrum())), np.sort(values), rtol=1e-12)


def test_lost_channels_are_black(key, x):
    obs = ChannelLoss(channels=(0, 2))(key, x)
    np.testing.assert_array_equal(obs.y, x * jnp.array([0.0, 1.0, 0.0])[None, None])
    np.testing.assert_array_equal(pinv(obs.operator, obs.y), obs.y)


@pytest.mark.parametrize(("stops", "gain"), [(0.0, 1.0), (-2.0, 0.25), (3.0, 8.0)])
def test_a_stop_is_a_factor_of_two(key, x, stops, gain):
    obs = Exposure(stops=stops)(key, x)
    np.testing.assert_allclose(obs.y, gain * x, rtol=4 * EPS)
    np.testing.assert_allclose(pinv(obs.operator, obs.y), x, rtol=8 * EPS)


def test_exposures_are_uniform_in_stops(x):
    """Of 200 draws from 4 stops: a mean of 0 within five of 4 / sqrt(12 * 200)."""
    gains = jax.vmap(lambda key: Exposure(stops=(-2.0, 2.0))(key, x).operator.gain)(
        jax.random.split(jax.random.key(0), 200)
    )
    stops = np.log2(np.ravel(gains))
    assert stops.min() >= -2
    assert stops.max() <= 2
    assert abs(stops.mean()) < 5 * 4 / np.sqrt(12 * 200)
    assert stops.std() > 1


def test_vignette_is_cos_to_the_fourth(key):
    """1 at the centre, 1 - strength in all corners; between them the angle's tangent grows with the distance."""
    gain = np.asarray(Vignette(strength=0.75)(key, jnp.ones((9, 7, 2))).y, np.float64)
    np.testing.assert_array_equal(gain[..., 0], gain[..., 1])
    gain = gain[..., 0]
    assert gain[4, 3] == 1
    np.testing.assert_allclose(gain[[0, 0, -1, -1], [0, -1, 0, -1]], 0.25, rtol=8 * EPS)
    tangent = np.sqrt(gain**-0.5 - 1)  # of the angle: cos^4 = (1 + tan^2)^-2
    distance = np.hypot(np.arange(9)[:, None] - 4, np.arange(7)[None] - 3)
    np.testing.assert_allclose(tangent, distance / 5, rtol=0, atol=1e-3)  # tan = 1 at the corner; sqrt of 1e-7 at 0


def test_one_pixel_has_no_corner(key):
    np.testing.assert_array_equal(Vignette(strength=0.5)(key, jnp.ones((1, 1, 3))).y, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Exposure(stops=20.0), r"Exposure\.stops must be .* in \[-16, 16\], not 20"),
        (lambda: Vignette(strength=1.0), r"Vignette\.strength must be .* in \[0, 0.99\], not 1"),
        (lambda: ChannelLoss(channels=(-1,)), r"ChannelLoss\.channels must be different whole numbers >= 0, not \(-1,"),
        (lambda: ChannelLoss(channels=(1, 1)), r"ChannelLoss\.channels must be different"),
    ],
)
def test_fields_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_pictures_are_checked(key):
    with pytest.raises(ValueError, match=r"Greyscale takes 3 channels \(red, green, blue\), not 4"):
        Greyscale()(key, jnp.zeros((2, 2, 4)))
    with pytest.raises(ValueError, match=r"ChannelLoss.channels must lie in \[0, 0\] for 1 channels, not \(2,\)"):
        ChannelLoss(channels=(2,))(key, jnp.zeros((2, 2, 1)))
