"""Warps: a picture that was moved, turned, seen at an angle, or through moving air.

What a warp reads beyond the border is the picture's mirror image, so that nothing black comes in.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation, Operator
from restore_jax.degrade.parameter import Parameter, check, draw
from restore_jax.ops.filter import gaussian_weights
from restore_jax.ops.resize import separable
from restore_jax.ops.warp import affine_grid, flow_grid, homography_grid, sample, splat


@struct.dataclass
class Warp(Operator):
    """`A x` reads x at `grid`, bilinearly; the adjoint adds every value to the pixels that it was read from.

    `grid: [p, q, 2]`, (row, column) in pixels of x, is a leaf; `boundary` says what lies beyond the border, as in
    `ops.warp.sample`. `solve` is that of conjugate gradients: a warp has no closed form.
    """

    grid: Any
    boundary: str = struct.field(pytree_node=False, default="mirror")

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "p q c"]:
        """`x` at `grid`."""
        return sample(x, self.grid, self.boundary)

    def adjoint(self, y: Float[Array, "p q c"]) -> Float[Array, "h w c"]:
        """`y` put back where it came from."""
        return splat(y, self.grid, self.in_shape[0], self.in_shape[1], self.boundary)


@dataclass(frozen=True)
class Affine:
    """Leaned by `shear`, turned by `rotation`, magnified by `scale`, all about the centre, then moved by `shift`.

    `rotation` (counter-clockwise as seen) and `shear` (of the columns against the vertical) are in degrees, in
    [-180, 180] and [-80, 80]; `shift` is in pixels, drawn once down and once to the right; `scale` is a factor in
    [0.1, 10]. Reading is bilinear and not antialiased: blur before a scale far below 1.
    """

    rotation: Parameter = (-5.0, 5.0)
    shift: Parameter = (-2.0, 2.0)
    scale: Parameter = (0.95, 1.05)
    shear: Parameter = 0.0

    def __post_init__(self) -> None:
        check(self, "rotation", -180.0, 180.0)
        check(self, "shift", -float("inf"))
        check(self, "scale", 0.1, 10.0)
        check(self, "shear", -80.0, 80.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The moved picture, and its `Warp`."""
        keys = jax.random.split(key, 5)
        fields = (self.rotation, self.shear, self.scale, self.shift, self.shift)
        rotation, shear, scale, down, right = (draw(k, f).astype(x.dtype) for k, f in zip(keys, fields, strict=True))
        rotation, lean = jnp.deg2rad(rotation), jnp.tan(jnp.deg2rad(shear))
        sin, cos = jnp.sin(rotation), jnp.cos(rotation)
        # A new pixel is read where the inverse of what happened to the picture takes it. On (row, column), with rows
        # downwards, turning by `rotation` is [[cos, -sin], [sin, cos]], and leaning [[1, 0], [lean, 1]].
        one, zero = jnp.ones((), x.dtype), jnp.zeros((), x.dtype)
        unturn = jnp.stack([jnp.stack([cos, sin]), jnp.stack([-sin, cos])])
        unlean = jnp.stack([jnp.stack([one, zero]), jnp.stack([-lean, one])])
        matrix = _times(unlean, unturn) / scale
        shift = -_times(matrix, jnp.stack([down, right])[:, None])[:, 0]
        return _seen_at(x, affine_grid(matrix, shift, *x.shape[:2]))


@dataclass(frozen=True)
class Homography:
    """Seen at an angle: each corner is read up to `strength` times the shorter side from where it is.

    Both coordinates of each corner's displacement are uniform in +- `strength` times the shorter side; in [0, 0.2],
    so that the corners always form a convex quadrangle.

    Reference: DeTone et al. 2016, "Deep image homography estimation", section 3 (random corner displacements).
    """

    strength: Parameter = 0.1

    def __post_init__(self) -> None:
        check(self, "strength", 0.0, 0.2)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture in perspective, and its `Warp`."""
        h, w, _ = x.shape
        key_strength, key_corners = jax.random.split(key)
        most = draw(key_strength, self.strength).astype(x.dtype) * min(h, w)
        corners = most * jax.random.uniform(key_corners, (4, 2), x.dtype, minval=-1.0)
        return _seen_at(x, homography_grid(corners, h, w))


@dataclass(frozen=True)
class Flow:
    """Seen through moving air or water: each pixel is read at a place displaced by a smooth random flow.

    Both coordinates of the flow are Gaussian noise, blurred with a Gaussian of `smoothness` pixels and scaled to the
    standard deviation `std`, in pixels, at every pixel. With `std` above about half of `smoothness` the picture
    folds over itself in places. Cost: two dense products, `2 (h + w) h w` multiply-adds.
    """

    std: Parameter = 1.0
    smoothness: Parameter = 8.0

    def __post_init__(self) -> None:
        check(self, "std", 0.0)
        check(self, "smoothness", 0.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The distorted picture, and its `Warp`."""
        key_std, key_smoothness, key_noise = jax.random.split(key, 3)
        std = draw(key_std, self.std).astype(x.dtype)
        smoothness = draw(key_smoothness, self.smoothness)
        rows, cols = (gaussian_weights(n, smoothness, x.dtype) for n in x.shape[:2])
        # Rows of length 1 make the variance of the blurred noise 1 at every pixel, borders included.
        rows, cols = (m / jnp.linalg.norm(m, axis=1, keepdims=True) for m in (rows, cols))
        noise = jax.random.normal(key_noise, (*x.shape[:2], 2), x.dtype)
        return _seen_at(x, flow_grid(std * separable(noise, rows, cols)))


def _seen_at(x: Float[Array, "h w c"], grid: Float[Array, "p q 2"]) -> Observation:
    operator = Warp(in_shape=x.shape, grid=grid)
    return Observation(y=operator(x), operator=operator)


def _times(a: Float[Array, "2 2"], b: Float[Array, "2 n"]) -> Float[Array, "2 n"]:
    return jnp.sum(a[:, :, None] * b[None], axis=1)  # in full precision on every device


EXAMPLES = (
    {"name": "degrade.warp.Affine", "rotation": (-10.0, 10.0), "shift": (-1.5, 1.5), "shear": 5.0},
    {"name": "degrade.warp.Homography", "strength": (0.0, 0.1)},
    {"name": "degrade.warp.Flow", "std": 0.5, "smoothness": 2.0},
)
