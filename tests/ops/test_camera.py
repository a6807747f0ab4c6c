"""The camera's processor: its curves, its colours, and that unprocessing is its inverse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from restore_jax.ops.bayer import mosaic
from restore_jax.ops.camera import Camera, colour_matrix, develop, inverse_3x3, unprocess
from restore_jax.ops.color import inverse_tone_curve, linear_to_srgb, srgb_to_linear, tone_curve

CAMERA = Camera(red_gain=2.1, blue_gain=1.6, gain=1.25, ccm=((1.7, -0.6, -0.1), (-0.2, 1.5, -0.3), (0.0, -0.4, 1.4)))
EPS = 1.2e-7


def test_srgb_curve_by_hand():
    """18 % grey is 118 of 255, half is 188; the two pieces of the standard meet to 1e-6."""
    np.testing.assert_allclose(linear_to_srgb(jnp.full((1, 1, 1), 0.18)), 0.46136, atol=1e-5)
    np.testing.assert_allclose(srgb_to_linear(jnp.full((1, 1, 1), 188 / 255)), 0.50289, atol=1e-5)
    x = jnp.linspace(0, 1, 257).reshape(1, -1, 1)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(x)), x, atol=1e-6)


def test_tone_curve_and_its_inverse():
    """Relative precision near black: the forward curve is `3 y^2` there, so 1e-12 comes from 5.8e-7."""
    x = jnp.asarray([0.0, 1e-12, 1e-6, 0.25, 0.5, 0.9, 1.0]).reshape(1, -1, 1)
    y = inverse_tone_curve(x)
    np.testing.assert_allclose(tone_curve(y), x, rtol=1e-5, atol=0)
    np.testing.assert_allclose(y.ravel()[jnp.array([0, 4, 6])], [0.0, 0.5, 1.0], atol=2 * EPS)


def test_gradient_of_the_inverse_tone_curve():
    """`1 / (6 y (1 - y))` inside, 50 and no infinity at the ends."""
    slope = jax.grad(lambda x: inverse_tone_curve(x).sum())(jnp.asarray([0.0, 0.5, 0.896, 1.0]).reshape(1, 4, 1))
    np.testing.assert_allclose(slope.ravel(), [50.0, 1 / 1.5, 1 / (6 * 0.8 * 0.2), 50.0], rtol=1e-4)


def test_inverse_of_a_matrix():
    m = np.random.default_rng(0).normal(size=(3, 3)) + 2 * np.eye(3)
    np.testing.assert_allclose(inverse_3x3(jnp.asarray(m, jnp.float32)), np.linalg.inv(m), atol=1e-5)


def test_colour_matrix_keeps_white():
    """Of the Sony A7R, known from LibRaw; a camera that sees XYZ itself needs `XYZ -> sRGB`, white set to 1."""
    a7r = jnp.asarray([[0.4913, -0.0541, -0.0202], [-0.613, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]])
    ccm = colour_matrix(a7r)
    np.testing.assert_allclose(ccm.sum(axis=1), 1.0, atol=1e-5)
    assert jnp.all(jnp.diag(ccm) > 1)  # sensors' filters overlap more than the eye's: colours are pulled apart
    xyz = colour_matrix(jnp.eye(3))
    d65 = np.array([0.95047, 1.0, 1.08883])
    to_srgb = np.array(
        [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
    )
    np.testing.assert_allclose(xyz, to_srgb * d65, atol=1e-4)


def test_develop_undoes_unprocess():
    """A photograph between 0.2 and 0.8, through light and back; ten roundings by up to 4, the steepest way back.

    Inside the gamut of this camera and below its highlights nothing is cut.
    """
    x = jnp.asarray(0.2 + 0.6 * skimage.data.astronaut()[:32, :32] / 255, jnp.float32)
    light = unprocess(x, CAMERA)
    assert light.min() > 0
    assert light.max() < 1
    np.testing.assert_allclose(develop(light, CAMERA), x, rtol=0, atol=40 * EPS)


def test_white_and_black_stay():
    """White is what saturates the sensor, in all three colours; black is no light."""
    x = jnp.stack([jnp.zeros((2, 3)), jnp.ones((2, 3))])
    np.testing.assert_allclose(unprocess(x, CAMERA), x, atol=1e-6)
    np.testing.assert_allclose(develop(x, CAMERA), x, atol=1e-6)


def test_grey_light_by_hand():
    """Half grey: 0.5 by the tone curve, 0.2140 by sRGB, and each colour by its gain."""
    light = unprocess(jnp.full((1, 1, 3), 0.5), CAMERA)
    np.testing.assert_allclose(light.ravel(), 0.214041 / (1.25 * np.array([2.1, 1.0, 1.6])), rtol=1e-5)


def test_a_mosaic_of_one_colour_develops_to_it():
    x = jnp.broadcast_to(jnp.array([0.6, 0.5, 0.4]).reshape(1, 1, 3), (6, 6, 3))
    camera = CAMERA.replace(pattern="gbrg")
    raw = mosaic(unprocess(x, camera), "gbrg")
    np.testing.assert_allclose(develop(raw, camera), x, rtol=0, atol=80 * EPS)


def test_wrong_channels():
    with pytest.raises(ValueError, match=r"1 channel \(a mosaic\) or 3 \(camera colours\), not 4"):
        develop(jnp.zeros((4, 4, 4)), CAMERA)
