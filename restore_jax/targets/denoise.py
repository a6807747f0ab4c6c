"""Denoising: the target that makes a diffusion model."""

from dataclasses import dataclass

from jaxtyping import Array, Float

from restore_jax.core import Keys, Net, Observation, Supervision, TrainState, normal, per_image, split
from restore_jax.diffusion.schedule import LogNormal


@dataclass(frozen=True)
class Denoise:
    """At `(x + sigma n, sigma)` the network should have said x: with a squared loss it learns E[x | x_t].

    The weight `(sigma^2 + sigma_data^2) / (sigma sigma_data)^2 = 1 / c_out^2` gives every level the
    same loss at the start.

    Reference: Karras et al. 2022 (EDM), eq. 2 and table 1.
    """

    levels: LogNormal = LogNormal()
    sigma_data: float = 0.25

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        del net, state
        key_level, key_noise = split(key)
        sigma = self.levels(key_level, x.shape[0])
        x_t = x + per_image(sigma, x) * normal(key_noise, x.shape, x.dtype)
        weight = (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        return Supervision(inputs=(x_t, sigma), target=x, weight=weight)


EXAMPLES = ({"name": "targets.denoise.Denoise"},)
