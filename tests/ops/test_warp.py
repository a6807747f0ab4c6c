"""Reading at a grid against scipy, and grids against their geometry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from restore_jax.ops.warp import affine_grid, flow_grid, homography_grid, pixel_grid, sample, splat

EPS = 1.2e-7


@pytest.fixture
def x():
    return np.random.default_rng(0).uniform(size=(6, 9, 2))


def places(seed=1, shape=(7, 5)):
    """Inside and far outside of a picture of 6 x 9."""
    return np.random.default_rng(seed).uniform(-8, 16, (*shape, 2))


@pytest.mark.parametrize(("boundary", "mode"), [("mirror", "reflect"), ("edge", "nearest"), ("zero", "grid-constant")])
def test_reads_as_scipy(x, boundary, mode):
    """In doubles: coordinates of size 16 carry 16 eps, slopes are below 1."""
    grid = places()
    with jax.enable_x64(True):
        y = sample(jnp.asarray(x), jnp.asarray(grid), boundary)
    for channel in range(2):
        expected = map_coordinates(x[..., channel], np.moveaxis(grid, -1, 0), order=1, mode=mode)
        np.testing.assert_allclose(y[..., channel], expected, rtol=0, atol=1e-13)


def test_reads_a_plane_exactly():
    """Bilinear reading keeps `a + b row + c col`; three roundings of numbers below 4."""
    plane = lambda p: 0.5 + 0.25 * p[..., :1] - 0.125 * p[..., 1:]
    grid = jnp.asarray(np.random.default_rng(0).uniform(0, [5, 8], (4, 4, 2)), jnp.float32)
    y = sample(plane(pixel_grid(6, 9)), grid)
    np.testing.assert_allclose(y, plane(grid), rtol=0, atol=12 * EPS)


@pytest.mark.parametrize("boundary", ["mirror", "edge", "zero"])
def test_splat_is_the_transpose(x, boundary):
    """Against JAX's own transpose of `sample`, which adds the same numbers in some order."""
    grid = jnp.asarray(places(), jnp.float32)
    y = jnp.asarray(np.random.default_rng(2).normal(size=(7, 5, 2)), jnp.float32)
    (expected,) = jax.linear_transpose(lambda v: sample(v, grid, boundary), jnp.asarray(x, jnp.float32))(y)
    np.testing.assert_allclose(splat(y, grid, 6, 9, boundary), expected, rtol=0, atol=100 * EPS)


def test_splat_keeps_the_sum():
    """Weights of a place sum to 1, and the mirror loses nothing."""
    y = jnp.ones((7, 5, 1))
    np.testing.assert_allclose(splat(y, jnp.asarray(places(), jnp.float32), 6, 9).sum(), 35, rtol=1e-5)


def test_the_grid_has_a_slope(x):
    """Of a bilinear surface between its knots: against central differences in doubles."""
    with jax.enable_x64(True):
        grid = jnp.asarray(np.random.default_rng(3).uniform(0.2, 0.8, (2, 2, 2)) + 2)
        total = lambda g: jnp.sum(sample(jnp.asarray(x), g) ** 2)
        slope = jax.grad(total)(grid)
        step = jnp.zeros_like(grid).at[1, 0, 1].set(1e-5)
        by_hand = (total(grid + step) - total(grid - step)) / 2e-5
        np.testing.assert_allclose(slope[1, 0, 1], by_hand, rtol=1e-6)


def test_nothing_moves_under_identities():
    grid = pixel_grid(6, 9)
    np.testing.assert_array_equal(grid[4, 7], [4, 7])
    np.testing.assert_array_equal(affine_grid(jnp.eye(2), jnp.zeros(2), 6, 9), grid)
    np.testing.assert_array_equal(homography_grid(jnp.zeros((4, 2)), 6, 9), grid)
    np.testing.assert_array_equal(flow_grid(jnp.zeros((6, 9, 2))), grid)


def test_affine_turns_about_the_centre():
    """A quarter turn of a 5 x 5 picture takes corners to corners, and numpy knows which; the centre stays."""
    turn = jnp.asarray([[0.0, 1.0], [-1.0, 0.0]])
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 5, 1)), jnp.float32)
    np.testing.assert_allclose(sample(x, affine_grid(turn, jnp.zeros(2), 5, 5)), np.rot90(x), atol=4 * EPS)
    moved = affine_grid(2.0 * jnp.eye(2), jnp.asarray([1.0, -2.0]), 5, 7)
    np.testing.assert_array_equal(moved[2, 3], [3.0, 1.0])
    np.testing.assert_array_equal(moved[0, 0], [-1.0, -5.0])


def test_homography_takes_corners_where_it_should():
    """And is one: its matrix, found from the corners by a linear system (numpy), says the same everywhere."""
    h, w = 6, 9
    moves = np.random.default_rng(4).uniform(-1, 1, (4, 2))
    ends = np.array([[0, 0], [0, w - 1], [h - 1, w - 1], [h - 1, 0]], float)
    grid = np.asarray(homography_grid(jnp.asarray(moves, jnp.float32), h, w), np.float64)
    np.testing.assert_allclose(grid[[0, 0, -1, -1], [0, -1, -1, 0]], ends + moves, atol=40 * EPS)
    rows, values = [], []
    for (r, c), (to_r, to_c) in zip(ends, ends + moves, strict=True):
        rows += [[r, c, 1, 0, 0, 0, -to_r * r, -to_r * c], [0, 0, 0, r, c, 1, -to_c * r, -to_c * c]]
        values += [to_r, to_c]
    matrix = np.append(np.linalg.solve(rows, values), 1.0).reshape(3, 3)
    p = np.stack([*np.mgrid[:h, :w], np.ones((h, w))], axis=-1) @ matrix.T
    np.testing.assert_allclose(grid, p[..., :2] / p[..., 2:], rtol=0, atol=100 * EPS)


def test_flow_is_added_to_the_place():
    flow = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 2)), jnp.float32)
    np.testing.assert_array_equal(flow_grid(flow) - pixel_grid(3, 4), (pixel_grid(3, 4) + flow) - pixel_grid(3, 4))


def test_an_unknown_boundary_is_refused():
    with pytest.raises(ValueError, match="boundary must be one of mirror, edge, zero, not 'wrap'"):
        sample(jnp.zeros((2, 2, 1)), jnp.zeros((1, 1, 2)), "wrap")
