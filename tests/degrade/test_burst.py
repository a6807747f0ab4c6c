"""Bursts: where frames look, how bright they are, and what their merge gains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import skimage.data

from restore_jax.core import Observation
from restore_jax.degrade.burst import Burst, merge
from restore_jax.degrade.noise import Gaussian
from restore_jax.ops.bayer import mosaic

EPS = 1.2e-7


@pytest.fixture
def x():
    """64 x 64 pixels of a photograph: a face, hair and cloth."""
    return jnp.asarray(skimage.data.astronaut()[60:124, 190:254] / 255, jnp.float32)


def test_frames_are_bilinear_readings(key, x):
    """By SciPy, at the places that the operator states; places up to 64 are rounded to 8e-6, slopes stay below 1.

    The first frame is the scene itself.
    """
    obs = jax.jit(Burst(frames=3, shift_px=3.0, rotation_deg=2.0, exposure_stops=(0.0, -1.0, 1.0), shot=0.0, read=0.0))(
        key, x
    )
    np.testing.assert_array_equal(obs.y[0], x)
    np.testing.assert_array_equal(obs.cond["image"], x)
    for k, gain in ((1, 0.5), (2, 2.0)):
        places = np.asarray(obs.operator.grid[k], np.float64).transpose(2, 0, 1)
        for c in range(3):
            frame = scipy.ndimage.map_coordinates(np.asarray(x[..., c], np.float64), places, order=1, mode="reflect")
            np.testing.assert_allclose(obs.y[k, ..., c], gain * frame, rtol=0, atol=gain * 4e-5)


def test_hands_shake_as_far_as_said():
    """Shifts fill [-2, 2]; a turn of 1 degree or less moves the corner of 9 x 9 by 4 sin(1 degree) more at most."""
    x = jnp.zeros((9, 9, 1))
    grids = jax.vmap(lambda key: Burst(shift_px=2.0, rotation_deg=1.0)(key, x).operator.grid)(
        jax.random.split(jax.random.key(1), 50)
    )
    moved = np.asarray(grids) - np.stack(np.mgrid[:9, :9], axis=-1)
    assert np.abs(moved[:, 0]).max() == 0
    assert 1.9 < np.abs(moved[:, 1:, 4, 4]).max() <= 2
    assert np.abs(moved).max() <= 2 + 4 * (np.sin(np.pi / 180) + 2e-4) + 1e-5
    turned = moved[:, 1:, 8, 4, 1] - moved[:, 1:, 4, 4, 1]  # columns move with rows: 4 sin(angle)
    assert 0.9 < np.abs(turned).max() / (4 * np.sin(np.pi / 180)) < 1.001


def test_mosaicked_frames(key, x):
    """The same hand, one colour a pixel."""
    plain = jax.jit(Burst(frames=2, shot=0.0, read=0.0))(key, x)
    bayer = jax.jit(Burst(frames=2, shot=0.0, read=0.0, pattern="gbrg"))(key, x)
    # Two programs: a multiply-add is rounded once in one and twice in the other, and values are below 1.
    np.testing.assert_allclose(bayer.y, mosaic(plain.y, "gbrg"), rtol=0, atol=2 * 2.0**-24)
    assert bayer.cond["image"].shape == x.shape


@pytest.mark.parametrize("pattern", [None, "rggb"])
def test_merging_eight_frames_gains_5_db(key, x, pattern):
    """Over the first frame, demosaiced where it is a mosaic: 9 dB is the gain of a mean of eight with white noise.

    What bilinear reading blurs takes some of it back: it measures 8.8 dB, and 8.1 dB with a mosaic.
    """
    obs = jax.jit(Burst(frames=8, shot=0.01, read=0.02, pattern=pattern))(key, x)
    x_hat = jax.jit(merge)(obs)

    def psnr(picture):
        return -10 * np.log10(np.mean((np.asarray(picture, np.float64) - np.asarray(x)) ** 2))

    assert psnr(x_hat) > psnr(obs.cond["image"]) + 5


def test_a_merge_without_noise_keeps_the_scene(key):
    """A constant scene is every frame and every mean of them; nothing is left to correct."""
    x = jnp.full((6, 6, 1), 0.4)
    obs = jax.jit(Burst(frames=3, shot=0.0, read=0.0, exposure_stops=(0.0, -1.0, -2.0)))(key, x)
    np.testing.assert_allclose(jax.jit(merge)(obs), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Burst(frames=0), "Burst.frames must be a whole number >= 1, not 0"),
        (lambda: Burst(shift_px=-1.0), r"Burst.shift_px must be .* in \[0, inf\]"),
        (lambda: Burst(rotation_deg=200.0), r"Burst.rotation_deg must be .* in \[0, 180\]"),
        (lambda: Burst(frames=3, exposure_stops=(0.0, 1.0)), r"exposure_stops must be 3 numbers in \[-10, 10\]"),
        (lambda: Burst(shot=-0.1), "Burst.shot must be"),
        (lambda: Burst(read=-0.1), "Burst.read must be"),
        (lambda: Burst(pattern="rgb"), "Burst.pattern must be one of"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_pictures(key):
    with pytest.raises(ValueError, match=r"Burst.shift_px = 8.0 must stay below the shorter side of 8 x 12"):
        Burst(shift_px=8.0)(key, jnp.zeros((8, 12, 3)))
    with pytest.raises(ValueError, match=r"Burst.pattern = 'rggb' takes a picture of 3 channels"):
        Burst(pattern="rggb")(key, jnp.zeros((8, 12, 1)))


def test_merge_wants_a_burst(key):
    x = jnp.zeros((4, 4, 3))
    for obs in (Gaussian(std=0.1)(key, x), Observation(y=x)):
        with pytest.raises(ValueError, match="merge takes the observation of a Burst"):
            merge(obs)
