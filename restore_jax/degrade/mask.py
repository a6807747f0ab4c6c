"""Missing pixels."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation, Operator
from restore_jax.degrade.parameter import Parameter, check, draw


@struct.dataclass
class Mask(Operator):
    """`A x = mask * x`; `mask: [h, w, 1]` holds 1 where a pixel was seen and 0 where it is missing."""

    mask: Any

    def __call__(self, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        """`mask * x`."""
        return self.mask * x

    def adjoint(self, y: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        """`mask * y`: the operator is diagonal, so it is its own transpose."""
        return self.mask * y

    def solve(self, r: Float[Array, "h w c"], reg: Float[Array, "..."] | float) -> Float[Array, "h w c"]:
        """`r / (mask^2 + reg)`, and 0 where both vanish."""
        denominator = self.mask**2 + reg
        return jnp.where(denominator > 0, r / jnp.where(denominator > 0, denominator, 1.0), 0.0)


@dataclass(frozen=True)
class RandomPixels:
    """Each pixel is seen with probability `keep`, all channels together; the others are 0."""

    keep: Parameter = 0.5

    def __post_init__(self) -> None:
        check(self, "keep", 0.0, 1.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture with holes, and its `Mask`."""
        key_keep, key_mask = jax.random.split(key)
        seen = jax.random.bernoulli(key_mask, draw(key_keep, self.keep), (*x.shape[:2], 1))
        operator = Mask(in_shape=x.shape, mask=seen.astype(x.dtype))
        return Observation(y=operator(x), operator=operator)


@dataclass(frozen=True)
class Box:
    """A square of `size` times the shorter side is missing, somewhere inside the picture."""

    size: Parameter = 0.25

    def __post_init__(self) -> None:
        check(self, "size", 0.0, 1.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture with a hole, and its `Mask`."""
        h, w, _ = x.shape
        key_size, key_row, key_col = jax.random.split(key, 3)
        side = jnp.round(draw(key_size, self.size) * min(h, w))
        top = jnp.floor(jax.random.uniform(key_row) * (h - side + 1))
        left = jnp.floor(jax.random.uniform(key_col) * (w - side + 1))
        rows, cols = jnp.arange(h)[:, None, None], jnp.arange(w)[None, :, None]
        hole = (rows >= top) & (rows < top + side) & (cols >= left) & (cols < left + side)
        operator = Mask(in_shape=x.shape, mask=1.0 - hole.astype(x.dtype))
        return Observation(y=operator(x), operator=operator)


EXAMPLES = (
    {"name": "degrade.mask.RandomPixels", "keep": 0.5},
    {"name": "degrade.mask.RandomPixels", "keep": (0.2, 0.9)},
    {"name": "degrade.mask.Box", "size": (0.1, 0.6)},
)
