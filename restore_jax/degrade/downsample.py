"""Reductions of size."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation
from restore_jax.degrade.linear import Separable
from restore_jax.ops.resize import resize_weights


@dataclass(frozen=True)
class Downsample:
    """`y = A x`, cubic reduction by the integer `scale`, antialiased as MATLAB's `imresize` does.

    Raises ValueError where a side of the picture does not divide by `scale`.
    """

    scale: int = 2

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ValueError(f"Downsample.scale must be a whole number >= 1, not {self.scale!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The small picture and its `Separable` operator; the key is not used."""
        del key
        h, w, _ = x.shape
        if h % self.scale or w % self.scale:
            raise ValueError(f"Downsample.scale = {self.scale} does not divide {h}x{w}: crop the picture first.")
        weights = [jnp.asarray(resize_weights(n, n // self.scale), x.dtype) for n in (h, w)]
        operator = Separable(in_shape=x.shape, rows=weights[0], cols=weights[1])
        return Observation(y=operator(x), operator=operator)


EXAMPLES = (
    {"name": "degrade.downsample.Downsample", "scale": 2},
    {"name": "degrade.downsample.Downsample", "scale": 4},
)
