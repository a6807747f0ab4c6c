"""The Bayer mosaic by hand, and demosaicing beside the filters of the paper."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from restore_jax.ops.bayer import (
    PATTERNS,
    demosaic,
    demosaic_bilinear,
    mosaic,
    mosaic_mask,
    pack,
    unmosaic,
    unpack,
)

EPS = 1.2e-7
every_pattern = pytest.mark.parametrize("pattern", PATTERNS)
methods = pytest.mark.parametrize("method", [demosaic, demosaic_bilinear])


def picture(h=8, w=10, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(h, w, 3)), jnp.float32)


@every_pattern
def test_each_pixel_keeps_the_channel_of_its_letter(pattern):
    """Exactly, at odd sizes too; and what is seen comes back in its channel."""
    x = np.asarray(picture(5, 7))
    raw = np.asarray(mosaic(jnp.asarray(x), pattern))
    for i in range(5):
        for j in range(7):
            assert raw[i, j, 0] == x[i, j, "rgb".index(pattern[2 * (i % 2) + j % 2])]
    np.testing.assert_array_equal(unmosaic(jnp.asarray(raw), pattern), x * mosaic_mask(5, 7, pattern))


@every_pattern
@methods
def test_what_was_seen_stays_and_constants_are_kept(pattern, method):
    """Filters that sum to 1: a colour that is the same everywhere comes back, to the rounding of 13 taps up to 6/8."""
    raw = mosaic(picture(), pattern)
    np.testing.assert_array_equal(mosaic(method(raw, pattern), pattern), raw)
    flat = jnp.broadcast_to(jnp.array([0.2, 0.5, 0.9]).reshape(1, 1, 3), (7, 6, 3))
    np.testing.assert_allclose(method(mosaic(flat, pattern), pattern), flat, rtol=0, atol=13 * EPS)


@every_pattern
def test_a_grey_plane_is_exact_inside(pattern):
    """The Laplacian of a plane is 0 and its means are centred; 13 taps of values below 2 round by 26 eps."""
    plane = 0.1 + 0.05 * jnp.arange(9.0)[:, None] + 0.03 * jnp.arange(11.0)[None]
    x = jnp.stack([plane, plane + 0.3, plane - 0.1], axis=-1)
    error = demosaic(mosaic(x, pattern), pattern) - x
    assert jnp.abs(error[2:-2, 2:-2]).max() <= 26 * EPS


# Figure 2 of Malvar, He & Cutler as it is printed, in eighths: what is estimated, at which site.
GREEN = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
IN_ROW = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8
OPPOSITE = (
    np.array([[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]) / 8
)


def test_filters_are_those_of_the_paper():
    """On "rggb", by SciPy's correlation, borders mirrored without the edge; 13 taps round by 13 eps."""
    raw = np.asarray(mosaic(picture(), "rggb"), np.float64)[..., 0]
    by = {
        name: scipy.ndimage.correlate(raw, kernel, mode="mirror")
        for name, kernel in {"green": GREEN, "row": IN_ROW, "col": IN_ROW.T, "opposite": OPPOSITE}.items()
    }
    expected = np.zeros((*raw.shape, 3))
    expected[0::2, 0::2] = np.stack([raw, by["green"], by["opposite"]], -1)[0::2, 0::2]
    expected[0::2, 1::2] = np.stack([by["row"], raw, by["col"]], -1)[0::2, 1::2]
    expected[1::2, 0::2] = np.stack([by["col"], raw, by["row"]], -1)[1::2, 0::2]
    expected[1::2, 1::2] = np.stack([by["opposite"], by["green"], raw], -1)[1::2, 1::2]
    ours = demosaic(jnp.asarray(raw, jnp.float32)[..., None], "rggb")
    np.testing.assert_allclose(ours, expected, rtol=0, atol=13 * EPS)


def test_bilinear_is_the_mean_of_neighbours():
    raw = jnp.asarray(np.random.default_rng(1).uniform(size=(6, 6, 1)), jnp.float32)
    v = np.asarray(raw)[..., 0]
    red, green, _ = np.moveaxis(np.asarray(demosaic_bilinear(raw, "rggb")), -1, 0)
    np.testing.assert_allclose(red[2, 3], (v[2, 2] + v[2, 4]) / 2, atol=2 * EPS)
    np.testing.assert_allclose(red[3, 3], (v[2, 2] + v[2, 4] + v[4, 2] + v[4, 4]) / 4, atol=4 * EPS)
    np.testing.assert_allclose(green[2, 2], (v[1, 2] + v[3, 2] + v[2, 1] + v[2, 3]) / 4, atol=4 * EPS)


@every_pattern
def test_packed_planes(pattern):
    """Red, green beside red, green beside blue, blue; and back."""
    x = picture()
    raw = mosaic(x, pattern)
    planes = pack(raw, pattern)
    assert planes.shape == (4, 5, 4)
    mask = mosaic_mask(8, 10, pattern)
    np.testing.assert_array_equal(planes[..., 0].ravel(), np.asarray(x)[..., 0][mask[..., 0] == 1])
    np.testing.assert_array_equal(planes[..., 3].ravel(), np.asarray(x)[..., 2][mask[..., 2] == 1])
    red_row = int(np.argmax(mask[:, :, 0].any(axis=1)))
    beside = np.asarray(x)[red_row::2, :, 1][mask[red_row::2, :, 1] == 1]
    np.testing.assert_array_equal(planes[..., 1].ravel(), beside)
    np.testing.assert_array_equal(unpack(planes, pattern), raw)


def test_batches_go_together():
    raw = mosaic(jnp.stack([picture(), picture(seed=1)]), "grbg")
    np.testing.assert_array_equal(demosaic(raw, "grbg")[1], demosaic(raw[1], "grbg"))
    np.testing.assert_array_equal(pack(raw, "grbg")[1], pack(raw[1], "grbg"))


def test_bad_input():
    with pytest.raises(ValueError, match="pattern must be one of rggb, bggr, grbg, gbrg, not 'rgb'"):
        mosaic(picture(), "rgb")
    with pytest.raises(ValueError, match="even sides to be packed, not 5 x 6"):
        pack(jnp.zeros((5, 6, 1)))
    with pytest.raises(ValueError, match="at least 3 x 3 pixels to be demosaiced, not 2 x 6"):
        demosaic(jnp.zeros((2, 6, 1)))
