"""Warps: that each parameter does what its name says, and how far things move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.degrade.warp import Affine, Flow, Homography, Warp
from restore_jax.ops.warp import pixel_grid

EPS = 1.2e-7
KEYS = jax.random.split(jax.random.key(2), 200)
STILL = {"rotation": 0.0, "shift": 0.0, "scale": 1.0, "shear": 0.0}


def moves(degrade, shape=(12, 16, 1), keys=KEYS):
    """How far away each pixel is read, for each key."""
    grids = jax.jit(jax.vmap(lambda key: degrade(key, jnp.zeros(shape)).operator.grid))(keys)
    return np.asarray(grids - pixel_grid(*shape[:2])[None], np.float64)


def spot(row, col, n=9):
    return jnp.zeros((n, n, 1)).at[row, col, 0].set(1.0)


def test_still_is_still(key):
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(6, 9, 3)), jnp.float32)
    np.testing.assert_array_equal(Affine(**STILL)(key, x).y, x)
    np.testing.assert_array_equal(Homography(strength=0.0)(key, x).y, x)
    np.testing.assert_array_equal(Flow(std=0.0)(key, x).y, x)


@pytest.mark.parametrize(
    ("change", "start", "end"),
    [
        ({"rotation": 90.0}, (4, 7), (1, 4)),  # counter-clockwise: from the right to the top
        ({"shift": 2.0}, (4, 4), (6, 6)),  # down and to the right
        ({"scale": 2.0}, (5, 3), (6, 2)),  # twice as far from the centre
        ({"shear": 45.0}, (6, 4), (6, 6)),  # lower rows lean to the right
        ({"scale": 2.0, "shift": 1.0}, (5, 3), (7, 3)),  # the shift comes last, and is not magnified
        ({"rotation": 90.0, "shear": 45.0}, (6, 4), (2, 6)),  # the shear comes first
    ],
)
def test_a_spot_goes_where_it_should(key, change, start, end):
    """All of the spot's light, to the rounding of a cosine times 4 pixels."""
    y = Affine(**{**STILL, **change})(key, spot(*start)).y
    np.testing.assert_allclose(y[(*end, 0)], 1.0, atol=32 * EPS)


def test_shifts_differ_down_and_across():
    """Uniform in +- 2 each, and independent: of 200 draws a correlation of 0 within 5 / sqrt(200)."""
    shifts = moves(Affine(**{**STILL, "shift": (-2.0, 2.0)}))[:, 0, 0]
    assert np.abs(shifts).max() <= 2
    np.testing.assert_allclose(shifts.std(axis=0), 4 / np.sqrt(12), rtol=0.2)
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 5 / np.sqrt(200)


def test_corners_move_within_their_strength():
    """Up to 0.2 x 12 = 2.4 pixels, in both directions, each corner by itself; a pixel's rounding is 2e-6."""
    corners = moves(Homography(strength=0.2))[:, [0, 0, -1, -1], [0, -1, -1, 0]].reshape(200, 8)
    assert np.abs(corners).max() <= 2.4 + 1e-5
    np.testing.assert_allclose(corners.std(axis=0), 4.8 / np.sqrt(12), rtol=0.2)
    assert np.abs(np.corrcoef(corners.T) - np.eye(8)).max() < 5 / np.sqrt(200)


def test_flow_has_its_std_and_smoothness():
    """std at every pixel, borders too; neighbours' correlation is exp(-1 / (4 smoothness^2)) away from borders.

    The blurred noise of a Gaussian of width s has the autocorrelation of one of width sqrt(2) s. From 200 fields,
    two components: a variance is known to 5 sqrt(2 / 400) at a pixel.
    """
    flow = moves(Flow(std=1.5, smoothness=2.0))
    variance = np.mean(flow**2, axis=(0, 3))
    assert np.abs(variance / 1.5**2 - 1).max() < 5 * np.sqrt(2 / 400)
    beside = np.mean(flow[:, 5:7, 7] * flow[:, 5:7, 8]) / 1.5**2
    assert abs(beside - np.exp(-1 / 16)) < 5 * np.sqrt(2 / 400)


def test_flow_without_smoothness_is_noise():
    flow = moves(Flow(std=1.0, smoothness=0.0))
    beside = flow[:, :, 1:] * flow[:, :, :-1]
    assert abs(beside.mean()) < 5 / np.sqrt(beside.size)


def test_a_warp_may_read_another_size():
    """A grid of p x q gives p x q; the adjoint goes back to the shape of x."""
    a = Warp(in_shape=(4, 6, 2), grid=pixel_grid(2, 3) + 0.5)
    x = jnp.arange(48.0).reshape(4, 6, 2)
    np.testing.assert_array_equal(a(x), (x[:2, :3] + x[1:3, :3] + x[:2, 1:4] + x[1:3, 1:4]) / 4)
    assert a.adjoint(jnp.ones((2, 3, 2))).shape == (4, 6, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Affine(rotation=270.0), r"Affine\.rotation must be .* in \[-180, 180\], not 270"),
        (lambda: Affine(scale=0.0), r"Affine\.scale must be .* in \[0.1, 10\], not 0"),
        (lambda: Affine(shear=(-90.0, 0.0)), r"Affine\.shear must be .* in \[-80, 80\], not"),
        (lambda: Affine(shift=(1.0, -1.0)), r"Affine\.shift must be a number or a rising pair"),
        (lambda: Homography(strength=0.3), r"Homography\.strength must be .* in \[0, 0.2\], not 0.3"),
        (lambda: Flow(std=-1.0), r"Flow\.std must be .* in \[0, inf\], not -1"),
        (lambda: Flow(smoothness=-1.0), r"Flow\.smoothness must be .* in \[0, inf\], not -1"),
    ],
)
def test_fields_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
