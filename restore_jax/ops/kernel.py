"""Blur kernels: what one bright pixel becomes. `[size, size]`, centred, summing to 1.

`size` is odd and static; the parameters are numbers that may be traced, in pixels and radians, and every kernel is
differentiable in them. An angle turns the kernel's x axis from the columns' direction (right) towards the rows'
(down). Cost: O(size^2), except `splat`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Number = Float[Array, ""] | float

_THINNEST = 1e-3  # pixels: below a thousandth nothing changes any more, and nothing is divided by 0


def _offsets(size: int) -> np.ndarray:
    """`-size // 2 ... size // 2`, the distances from the centre along one axis."""
    if size < 1 or size % 2 == 0:
        raise ValueError(f"A kernel's size must be an odd number of pixels, 1 or more, not {size}.")
    return np.arange(size) - size // 2


def _turned(size: int, angle: Number, dtype: Any) -> tuple[Float[Array, "k k"], Float[Array, "k k"]]:
    """Coordinates along the kernel's own axes: `u` in the direction of `angle`, `v` across."""
    d = jnp.asarray(_offsets(size), dtype)
    angle = jnp.asarray(angle, dtype)
    dy, dx = d[:, None], d[None, :]
    return jnp.cos(angle) * dx + jnp.sin(angle) * dy, jnp.cos(angle) * dy - jnp.sin(angle) * dx


def _radius(size: int) -> np.ndarray:
    d = _offsets(size)
    return np.hypot(d[:, None], d[None, :])


def _normalised(weights: Float[Array, "k k"]) -> Float[Array, "k k"]:
    return weights / weights.sum()


def _mahalanobis(size: int, std_x: Number, std_y: Number, angle: Number, dtype: Any) -> Float[Array, "k k"]:
    """`q = d^T S^-1 d`, where S has the variances `std_x^2`, `std_y^2` along axes turned by `angle`."""
    u, v = _turned(size, angle, dtype)
    std_x, std_y = (jnp.maximum(jnp.asarray(std, dtype), _THINNEST) for std in (std_x, std_y))
    return (u / std_x) ** 2 + (v / std_y) ** 2


def _power(q: Float[Array, "k k"], shape: Number) -> Float[Array, "k k"]:
    """`q^shape`, 0 where q is 0, with finite gradients; cut at e^40, where every kernel has long vanished."""
    there = q > 0
    exponent = jnp.asarray(shape, q.dtype) * jnp.log(jnp.where(there, q, 1.0))
    return jnp.where(there, jnp.exp(jnp.minimum(exponent, 40.0)), 0.0)


def gaussian(
    size: int, std_x: Number, std_y: Number, angle: Number = 0.0, dtype: Any = jnp.float32
) -> Float[Array, "k k"]:
    """The Gaussian `exp(-q / 2)`, `q = d^T S^-1 d`, with variances `std_x^2`, `std_y^2` on axes turned by `angle`.

    What lies beyond the grid is cut off. `std -> 0` is a single pixel. The density is sampled at the pixels' centres,
    so that a kernel narrower than half a pixel that is turned by an odd angle is not resolved.
    """
    return _normalised(jnp.exp(-0.5 * _mahalanobis(size, std_x, std_y, angle, dtype)))


def generalised_gaussian(
    size: int, std_x: Number, std_y: Number, angle: Number, shape: Number, dtype: Any = jnp.float32
) -> Float[Array, "k k"]:
    """`exp(-q^shape / 2)`: the Gaussian at `shape = 1`, peaked below, flat-topped above.

    Reference: Liu et al. 2020, "Estimating generalized Gaussian blur kernels for out-of-focus image deblurring".
    """
    return _normalised(jnp.exp(-0.5 * _power(_mahalanobis(size, std_x, std_y, angle, dtype), shape)))


def plateau(
    size: int, std_x: Number, std_y: Number, angle: Number, shape: Number, dtype: Any = jnp.float32
) -> Float[Array, "k k"]:
    """`1 / (1 + q^shape)`: a flat top with long tails.

    Reference: Wang et al. 2021, "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data".
    """
    return _normalised(1.0 / (1.0 + _power(_mahalanobis(size, std_x, std_y, angle, dtype), shape)))


def jinc(z: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """`J1(z) / z` for z >= 0, and its limit 1/2 at 0; `z jinc(z)` is within 2e-7 of `J1(z)`.

    Below 3 a polynomial in z^2, above it an amplitude and a phase.

    Reference: Abramowitz and Stegun 1964, 9.4.4 and 9.4.6.
    """
    near = jnp.polyval(
        jnp.asarray((1.109e-5, -3.1761e-4, 4.43319e-3, -3.954289e-2, 0.21093573, -0.56249985, 0.5), z.dtype),
        (jnp.minimum(z, 3.0) / 3.0) ** 2,
    )
    far_z = jnp.maximum(z, 3.0)
    t = 3.0 / far_z
    amplitude = jnp.polyval(
        jnp.asarray((-2.0033e-4, 1.13653e-3, -2.49511e-3, 1.7105e-4, 1.659667e-2, 1.56e-6, 0.79788456), z.dtype), t
    )
    phase = jnp.polyval(
        jnp.asarray((-2.9166e-4, 7.9824e-4, 7.4348e-4, -6.37879e-3, 5.65e-5, 0.12499612, -2.35619449), z.dtype), t
    )
    return jnp.where(z < 3.0, near, amplitude * jnp.cos(far_z + phase) / far_z**1.5)


def sinc(size: int, cutoff: Number, dtype: Any = jnp.float32) -> Float[Array, "k k"]:
    """The circular low-pass filter `cutoff J1(cutoff r) / (2 pi r)`, cut to the grid and normalised.

    It passes frequencies below `cutoff` (radians a pixel, 0 to pi) in every direction and rings at edges, as
    over-sharpened and strongly compressed pictures do. `cutoff = 0` is the mean over the grid.

    Reference: Wang et al. 2021, "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data".
    """
    r = jnp.asarray(_radius(size), dtype)
    return _normalised(jinc(jnp.asarray(cutoff, dtype) * r))  # the factor cutoff^2 / 2 pi is normalised away


def disk(size: int, radius: Number, dtype: Any = jnp.float32) -> Float[Array, "k k"]:
    """The image of a point out of focus: an even disk of `radius` pixels, its edge a ramp one pixel wide.

    `min(max(radius + 1/2 - r, 0), 1)`, normalised; `radius = 0` is a single pixel.
    """
    r = jnp.asarray(_radius(size), dtype)
    return _normalised(jnp.clip(jnp.asarray(radius, dtype) + 0.5 - r, 0.0, 1.0))


def line(size: int, length: Number, angle: Number = 0.0, dtype: Any = jnp.float32) -> Float[Array, "k k"]:
    """Even motion over `length` pixels in the direction `angle`, the centre half-way: a segment under `splat`.

    `length = 0` is a single pixel; a segment longer than `size - 1` is shortened to it. Points lie a quarter of a
    pixel apart or closer. Cost: `4 size^3` multiply-adds.
    """
    n = 4 * len(_offsets(size))
    angle = jnp.asarray(angle, dtype)
    way = jnp.minimum(jnp.asarray(length, dtype), size - 1) * jnp.asarray((np.arange(n) + 0.5) / n - 0.5, dtype)
    return splat(jnp.stack([way * jnp.sin(angle), way * jnp.cos(angle)], axis=1), size)


def splat(points: Float[Array, "n 2"], size: int) -> Float[Array, "k k"]:
    """The points of a path, (row, column) from the centre in pixels, each shared bilinearly by its four neighbours.

    Every point weighs `1 / n`; one beyond the grid is moved to its border, so that the sum is 1. Written as the
    product of two matrices of tents, cost `n size^2`, differentiable without scattering.
    """
    d = jnp.asarray(_offsets(size), points.dtype)
    reach = size // 2
    points = jnp.clip(points, -reach, reach)
    rows, cols = (jnp.clip(1.0 - jnp.abs(points[:, axis, None] - d[None, :]), 0.0, 1.0) for axis in (0, 1))
    return jnp.matmul(rows.T, cols, precision=jax.lax.Precision.HIGHEST) / points.shape[0]
