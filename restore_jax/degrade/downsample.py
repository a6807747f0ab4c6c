"""Reductions of size."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation
from restore_jax.degrade.linear import Separable
from restore_jax.ops.resize import check_kernel, resize_weights


@dataclass(frozen=True)
class Downsample:
    """`y = A x`, reduction by `scale`, antialiased; "cubic" as MATLAB's `imresize` does it.

    `kernel` is "cubic", "box" (the mean over each new pixel's area), "lanczos" or "linear". A whole `scale`
    must divide the sides of the picture; with any other, a side n becomes round(n / scale), halves to the even
    number, and the whole picture is mapped onto the whole of the small one.

    Raises:
        ValueError: a scale below 1 or an unknown kernel, when built; when called, a side that a whole `scale` does
            not divide, or of which nothing is left.
    """

    scale: int | float = 2
    kernel: str = "cubic"

    def __post_init__(self) -> None:
        if not 1 <= self.scale < float("inf"):
            raise ValueError(f"Downsample.scale must be a number >= 1, not {self.scale!r}.")
        check_kernel(self.kernel, "Downsample.kernel")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The small picture and its `Separable` operator; the key is not used."""
        del key
        h, w, _ = x.shape
        if self.scale == int(self.scale) and (h % self.scale or w % self.scale):
            raise ValueError(f"Downsample.scale = {self.scale:g} does not divide {h}x{w}: crop the picture first.")
        small = [round(n / self.scale) for n in (h, w)]
        if min(small) < 1:
            raise ValueError(
                f"Downsample.scale = {self.scale:g} leaves nothing of {h}x{w}: take {2 * min(h, w)} at most."
            )
        weights = [
            jnp.asarray(resize_weights(n, m, kernel=self.kernel), x.dtype) for n, m in zip((h, w), small, strict=True)
        ]
        operator = Separable(in_shape=x.shape, rows=weights[0], cols=weights[1])
        return Observation(y=operator(x), operator=operator)


EXAMPLES = (
    {"name": "degrade.downsample.Downsample", "scale": 2},
    {"name": "degrade.downsample.Downsample", "scale": 4, "kernel": "box"},
    {"name": "degrade.downsample.Downsample", "scale": 1.6, "kernel": "lanczos"},
)
