"""Peak signal-to-noise ratio."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import Mse, check_border, compared


@dataclass(frozen=True)
class Psnr:
    """`10 log10(1 / mse)` in dB, for pictures in [0, 1]. Higher is better; equal pictures give inf.

    With `luma`, of MATLAB's `rgb2ycbcr` luma Y alone (`ops.color.studio_luma`, not rounded), and without `border_px`
    pixels at each side: the convention of super-resolution, where a scale of s leaves out s pixels. Y spans 219 of 255
    levels and still counts against a peak of 1.

    Raises:
        ValueError: unequal shapes, values clearly outside [0, 1] (where they are known), luma of another than RGB, or
            a border that leaves nothing.
    """

    luma: bool = False
    border_px: int = 0

    def __post_init__(self):
        check_border("Psnr", self.border_px)

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """dB, one number a picture."""
        x_hat, x = compared("Psnr", x_hat, x, self.luma, self.border_px)
        return -10.0 * jnp.log10(Mse()(x_hat, x))


EXAMPLES = ({"name": "metrics.psnr.Psnr"}, {"name": "metrics.psnr.Psnr", "luma": True, "border_px": 2})
