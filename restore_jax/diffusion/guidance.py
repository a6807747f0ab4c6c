"""Everything that guides is `(Denoiser, Observation) -> Denoiser`."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Observation


@dataclass(frozen=True)
class Threshold:
    """`clip(D(x_t, sigma), low, high)`: an estimate of a picture stays a picture.

    Reference: Saharia et al. 2022, "Photorealistic text-to-image diffusion models" (Imagen), section 2.3,
    static thresholding.
    """

    low: float = 0.0
    high: float = 1.0

    def __call__(self, denoise: Denoiser, obs: Observation) -> Denoiser:
        """The guided denoiser."""
        del obs

        def guided(x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
            return jnp.clip(denoise(x_t, sigma), self.low, self.high)

        return guided


EXAMPLES = ({"name": "diffusion.guidance.Threshold"},)
