"""Warps: where each new pixel is read, and bilinear reading and its transpose.

A grid `[p, q, 2]` holds, for each pixel of the new picture, the (row, column) of the old picture at which
it is read, in pixels: pixel (i, j) of the old one has its centre at (i, j).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

BOUNDARIES = ("mirror", "edge", "zero")


def pixel_grid(height: int, width: int, dtype: Any = jnp.float32) -> Float[Array, "h w 2"]:
    """The grid that reads every pixel where it is."""
    return jnp.asarray(np.moveaxis(np.mgrid[:height, :width], 0, -1), dtype)


def affine_grid(
    matrix: Float[Array, "2 2"], shift: Float[Array, "2"], height: int, width: int
) -> Float[Array, "h w 2"]:
    """Reads `p` at `centre + matrix (p - centre) + shift`, with p and shift as (row, column) in pixels."""
    grid = pixel_grid(height, width, matrix.dtype)
    off = grid - jnp.asarray([(height - 1) / 2, (width - 1) / 2], matrix.dtype)[None, None]
    # The move is computed, not the place: its rounding is relative to the move, which is often small.
    change = matrix - jnp.eye(2, dtype=matrix.dtype)
    move = off[..., :1] * change[:, 0][None, None] + off[..., 1:] * change[:, 1][None, None] + shift[None, None]
    return grid + move


def homography_grid(corners: Float[Array, "4 2"], height: int, width: int) -> Float[Array, "h w 2"]:
    """Reads the picture through the homography that moves its four corner pixels by `corners`.

    `corners` holds (row, column) in pixels for top left, top right, bottom right and bottom left; the four moved
    corners must stay a convex quadrangle.

    Reference: Heckbert 1989, "Fundamentals of texture mapping and image warping", chapter 2 (square to quadrilateral).
    """
    side = jnp.asarray([max(height - 1, 1), max(width - 1, 1)], corners.dtype)
    d0, d1, d2, d3 = corners
    row, col = jnp.eye(2, dtype=corners.dtype) * side[:, None]
    # With u along the columns and v along the rows, both in [0, 1], the homography is
    # (p0 + a u + b v) / (1 + g u + h v); p_k = corner + d_k.
    e1, e2, e = d1 - d2, d3 - d2, d0 - d1 + d2 - d3
    e1, e2 = e1 - row, e2 - col
    across = e1[1] * e2[0] - e1[0] * e2[1]
    g = (e[1] * e2[0] - e[0] * e2[1]) / across
    h = (e1[1] * e[0] - e1[0] * e[1]) / across
    a = d1 - d0 + g * (col + d1)  # what a and b have beyond `col` and `row`, which are the identity's
    b = d3 - d0 + h * (row + d3)
    grid = pixel_grid(height, width, corners.dtype)
    v, u = grid[..., :1] / side[0], grid[..., 1:] / side[1]
    depth = g * u + h * v
    move = d0[None, None] + a[None, None] * u + b[None, None] * v - grid * depth
    return grid + move / (1.0 + depth)


def flow_grid(flow: Float[Array, "h w 2"]) -> Float[Array, "h w 2"]:
    """Reads pixel p at `p + flow[p]`, the flow in pixels (row, column)."""
    return pixel_grid(flow.shape[0], flow.shape[1], flow.dtype) + flow


def sample(x: Float[Array, "h w c"], grid: Float[Array, "p q 2"], boundary: str = "mirror") -> Float[Array, "p q c"]:
    """`x` read at `grid`, bilinearly: linear in x, and piecewise smooth in the grid.

    Beyond the border the picture is mirrored with its edge repeated ("mirror"), its last pixel goes on ("edge"),
    or it is 0 ("zero"). Cost: four reads a number.

    Raises:
        ValueError: an unknown boundary.
    """
    flat = x.reshape(-1, x.shape[-1])
    taps = _taps(grid, x.shape[:2], boundary)
    return sum((weight[..., None] * flat[index] for index, weight in taps), jnp.zeros((), x.dtype))


def splat(
    y: Float[Array, "p q c"], grid: Float[Array, "p q 2"], height: int, width: int, boundary: str = "mirror"
) -> Float[Array, "h w c"]:
    """The transpose of `sample`: each pixel of y is added to the four, of `height x width`, that it was read from.

    Raises:
        ValueError: an unknown boundary.
    """
    x = jnp.zeros((height * width, y.shape[-1]), y.dtype)
    for index, weight in _taps(grid, (height, width), boundary):
        x = x.at[index.reshape(-1)].add((weight[..., None] * y).reshape(-1, y.shape[-1]))
    return x.reshape(height, width, -1)


def _taps(
    grid: Float[Array, "p q 2"], shape: tuple[int, ...], boundary: str
) -> list[tuple[Shaped[Array, "p q"], Float[Array, "p q"]]]:
    """The four pixels that each place is read from, as flat indices, and their weights."""
    if boundary not in BOUNDARIES:
        raise ValueError(f"boundary must be one of {', '.join(BOUNDARIES)}, not {boundary!r}.")
    first = jnp.floor(grid)
    part = grid - first
    rows, cols = (
        [
            _inside(first[..., axis].astype(int) + k, part[..., axis] if k else 1.0 - part[..., axis], n, boundary)
            for k in (0, 1)
        ]
        for axis, n in enumerate(shape)
    )
    return [(i * shape[1] + j, a * b) for i, a in rows for j, b in cols]


def _inside(
    index: Shaped[Array, "p q"], weight: Float[Array, "p q"], n: int, boundary: str
) -> tuple[Shaped[Array, "p q"], Float[Array, "p q"]]:
    if boundary == "mirror":
        index = jnp.mod(index, 2 * n)
        return jnp.where(index < n, index, 2 * n - 1 - index), weight
    if boundary == "zero":
        weight = jnp.where((index >= 0) & (index < n), weight, 0.0)
    return jnp.clip(index, 0, n - 1), weight
