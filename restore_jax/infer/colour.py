"""Colours that stay: the low band of a restoration is replaced by that of what was observed."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation
from restore_jax.infer.around import Around

_SPLINE = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # the cubic B-spline


def low_band(x: Float[Array, "*b h w c"], levels: int) -> Float[Array, "*b h w c"]:
    """What is left of x after `levels` levels of the a-trous wavelet: smoothed over about `2^levels` pixels.

    Level k takes 5 taps, 2^k pixels apart, along rows and columns, of the picture continued by its mirror image: the
    mean stays, and a constant is its own low band. Sees `2 (2^levels - 1)` pixels; costs 10 multiply-adds a level.

    Reference: Starck, Fadili and Murtagh 2007, "The undecimated wavelet decomposition and its reconstruction", II-B.
    """
    for level in range(levels):
        step = 2**level
        for axis in (x.ndim - 3, x.ndim - 2):
            n = x.shape[axis]
            ends = [(2 * step, 2 * step) if a == axis else (0, 0) for a in range(x.ndim)]
            wide = jnp.pad(x, ends, mode="symmetric")
            taps = [tap * wide.take(jnp.arange(k * step, k * step + n), axis) for k, tap in enumerate(_SPLINE)]
            x = sum(taps[1:], taps[0])
    return x


@dataclass(frozen=True, eq=False)
class Colour(Around):
    """`x_hat + low(input - x_hat)`: details from the restorer, colours and shading from the observation.

    A cast that the restorer adds is taken away exactly where it is constant, and to what `low` passes where it varies
    slowly; the mean of the answer is that of the input. For tasks that keep colours (noise, blur, JPEG, enlargement);
    not for low light or haze. Tiles are exact where the sides are multiples of `factor`: the mirror image is taken at
    the border of the picture.

    Reference: Starck et al. 2007 for the transform; the use is common in diffusion upscalers.

    Raises:
        ValueError: levels is below 1.
    """

    levels: int = 5

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise ValueError(f"Colour.levels must be at least 1, not {self.levels}.")

    @property
    def halo_px(self) -> int:
        """The restorer's, or the cubic's, and that of the low band behind it."""
        return max(super().halo_px, 0 if self.scale == 1 else 3 * self.scale) + 2 * (2**self.levels - 1)

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w c"]:
        """The restoration in the colours of the input."""
        x_hat = jnp.asarray(self.restorer(key, obs))
        return x_hat + low_band(self.input_of(obs) - x_hat, self.levels)
