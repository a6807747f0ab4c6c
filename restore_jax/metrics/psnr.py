"""Peak signal-to-noise ratio."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.metrics.pixel import Mse


@dataclass(frozen=True)
class Psnr:
    """`10 log10(1 / mse)` in dB, for pictures in [0, 1]. Higher is better; equal pictures give inf."""

    def __call__(self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
        """dB, one number a picture."""
        return -10.0 * jnp.log10(Mse()(x_hat, x))


EXAMPLES = ({"name": "metrics.psnr.Psnr"},)
