"""Raw: noise of the stated size, the camera that was drawn, rounding, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from restore_jax.core import pinv
from restore_jax.degrade.raw import Demosaicked, LinearRaw, Mosaic, Raw, noise_levels, quantise
from restore_jax.ops.bayer import demosaic, mosaic, mosaic_mask
from restore_jax.ops.camera import develop, unprocess
from restore_jax.ops.color import srgb_to_linear


def test_pseudo_inverse_of_a_mosaic_keeps_what_was_seen(key):
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(6, 7, 3)), jnp.float32)
    obs = Mosaic(pattern="bggr")(key, x)
    assert obs.y.shape == (6, 7, 1)
    np.testing.assert_array_equal(pinv(obs.operator, obs.y), x * mosaic_mask(6, 7, "bggr").astype(np.float32))


def test_noise_of_light_has_the_stated_variance(key):
    """`shot x + read^2`, within 5 standard errors, sqrt(2 / m) for noise near normal (kurtosis 3 + shot / x < 3.1)."""
    x = jnp.full((200, 200, 3), 0.25)
    obs = LinearRaw(shot=0.004, read=0.01)(key, x)
    noise = np.asarray(obs.y, np.float64) - 0.25
    variance = 0.004 * 0.25 + 0.01**2
    assert abs(noise.mean()) < 5 * np.sqrt(variance / noise.size)
    assert abs(noise.var() / variance - 1) < 5 * np.sqrt(2.2 / noise.size)
    expected = np.sqrt(0.004 * np.maximum(obs.y, 0) + 0.01**2)
    np.testing.assert_allclose(obs.noise_std, expected, rtol=1e-5)
    np.testing.assert_allclose(obs.cond["image"], demosaic(obs.y, "rggb"), atol=1e-6)


def test_what_a_sensor_saw_is_in_the_demosaicked_picture(key):
    """Without noise, each site has the colour of x that it sees: rounding to 16 bits of light, under white balance.

    x stays dark enough for no site to saturate. One step of light is 2.4 / 0.6 of 1 / 65535 at most, and the steepest
    slope of the curve is 12.92.
    """
    x = jnp.asarray(np.random.default_rng(0).uniform(0.0, 0.6, size=(8, 12, 3)), jnp.float32)
    y = Demosaicked(shot=0.0, read=0.0, bits=16, pattern="grbg")(key, x).y
    seen = mosaic_mask(8, 12, "grbg") > 0
    np.testing.assert_allclose(np.asarray(y)[seen], np.asarray(x)[seen], atol=12.92 * 4 / 65535)


def test_white_balance_and_exposure_magnify_the_noise(key):
    """`(g / e)^2 (shot light e / g + read^2)` for the gain g and the exposure e, at the sites that see the colour.

    Within 5 standard errors, sqrt(2.2 / m), and half a percent for rounding to 16 bits, near which noise is 0.01.
    """
    grey, g, e, shot, read = 0.5, 2.0, 0.8, 0.002, 0.01
    degrade = Demosaicked(shot=shot, read=read, red_gain=g, blue_gain=1.5, exposure=e, bits=16)
    light = np.asarray(srgb_to_linear(degrade(key, jnp.full((200, 200, 3), grey)).y), np.float64)
    expected = ((grey + 0.055) / 1.055) ** 2.4
    for channel, gain in enumerate((g, 1.0, 1.5)):
        sites = light[..., channel][mosaic_mask(200, 200, "rggb")[..., channel] > 0]
        variance = (gain / e) ** 2 * (shot * expected * e / gain + read**2)
        assert abs(sites.mean() - expected) < 5 * np.sqrt(variance / sites.size)
        assert abs(sites.var() / variance - 1) < 5 * np.sqrt(2.2 / sites.size) + 0.005


def test_levels_follow_the_fit_of_brooks():
    """log shot uniform, `log read^2 - 2.18 log shot - 1.2` normal with 0.26, each within 5 standard errors of 4000."""
    keys = jax.random.split(jax.random.key(3), 4000)
    shot, read = jax.vmap(lambda key: noise_levels(key, (0.0001, 0.012), None, jnp.float32))(keys)
    log_shot = np.log(np.asarray(shot, np.float64))
    width = np.log(120.0)
    assert log_shot.min() >= np.log(0.0001) - 1e-5
    assert log_shot.max() <= np.log(0.012) + 1e-5
    assert abs(log_shot.mean() - (np.log(0.0001) + width / 2)) < 5 * width / np.sqrt(12 * 4000)
    rest = 2 * np.log(np.asarray(read, np.float64)) - 2.18 * log_shot - 1.2
    assert abs(rest.mean()) < 5 * 0.26 / np.sqrt(4000)
    assert abs(rest.std() / 0.26 - 1) < 5 / np.sqrt(2 * 4000)


def test_rounding_keeps_the_gradient():
    """3 bits have 7 steps, and go on below 0."""
    x = jnp.asarray([-0.15, 0.0, 0.5, 0.52, 1.0])
    np.testing.assert_allclose(quantise(x, 3) * 7, [-1, 0, 4, 4, 7], atol=1e-6)
    np.testing.assert_array_equal(jax.grad(lambda x: quantise(x, 3).sum())(x), jnp.ones(5))


def test_without_noise_it_is_the_mosaic_of_the_light(key):
    """To half a step of 16 bits; the camera is the one that the key drew, and the image is what it develops."""
    x = jnp.asarray(skimage.data.astronaut()[:24, :24] / 255, jnp.float32)
    degrade = Raw(shot=0.0, read=0.0, bits=16, pattern="grbg")
    obs, camera = degrade(key, x), degrade.camera(key)
    light = unprocess(x, camera)
    np.testing.assert_allclose(obs.y, mosaic(light, "grbg"), rtol=0, atol=0.51 / 65535)
    np.testing.assert_allclose(obs.cond["image"], develop(obs.y, camera), atol=1e-5)
    assert (1.9 <= camera.red_gain <= 2.4) & (1.5 <= camera.blue_gain <= 1.9) & (1.0 <= camera.gain <= 1 / 0.6 + 1e-5)
    np.testing.assert_allclose(camera.ccm.sum(axis=1), 1.0, atol=1e-5)
    assert obs.operator is None


def test_every_key_draws_another_camera():
    cameras = [Raw().camera(jax.random.key(i)) for i in range(2)]
    assert jnp.abs(cameras[0].ccm - cameras[1].ccm).max() > 1e-3
    assert cameras[0].red_gain != cameras[1].red_gain


def test_sensors_saturate(key):
    obs = Raw(shot=0.01)(key, jnp.ones((16, 16, 3)))
    assert obs.y.max() == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mosaic(pattern="rgb"), "Mosaic.pattern must be one of rggb, bggr, grbg, gbrg, not 'rgb'"),
        (lambda: LinearRaw(shot=-0.1), r"LinearRaw.shot must be .* in \[0, inf\], not -0.1"),
        (lambda: LinearRaw(shot=(0.0, 0.1)), "LinearRaw.shot is drawn log-uniformly: a range must begin above 0"),
        (lambda: LinearRaw(read=-1.0), r"LinearRaw.read must be .* in \[0, inf\]"),
        (lambda: Raw(bits=0), r"Raw.bits must be a whole number in \[1, 16\], not 0"),
        (lambda: Raw(exposure=1.5), r"Raw.exposure must be .* in \[0.01, 1\]"),
        (lambda: Raw(red_gain=0.0), r"Raw.red_gain must be .* in \[0.1, 10\]"),
        (lambda: Raw(ccm=((1.0, 1.0, 0.0),) * 3), "Raw.ccm must have rows that sum to 1"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("degrade", [Mosaic(), LinearRaw(), Raw()])
def test_pictures_must_be_rgb(key, degrade):
    with pytest.raises(ValueError, match=f"{type(degrade).__name__} takes a picture of 3 channels"):
        degrade(key, jnp.zeros((4, 4, 1)))
