"""The denoiser asked once about the observation itself: how a net that removes noise of a known level restores."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Observation
from restore_jax.diffusion.sampler import start_mean


@dataclass(frozen=True)
class Once:
    """`D(cond["image"], sigma)`: the observation is taken for a picture with noise of deviation `sigma`.

    Nothing is drawn and nothing added, where `Consistency` adds noise of its own to reach its level.
    """

    sigma: float = 0.1

    draws = 0
    nfe = 1

    def __post_init__(self) -> None:
        if self.sigma < 0:
            raise ValueError(f"Once.sigma, of pictures in [0, 1], must be 0 or more, not {self.sigma}.")

    def __call__(self, key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        """The estimate of x for each observation."""
        del key
        return denoise(start_mean("image", obs), jnp.float32(self.sigma))


EXAMPLES = ({"name": "diffusion.once.Once", "sigma": 0.1},)
