"""Between a network, which likes unit variance, and a denoiser, which speaks of pictures.

Each parametrisation is two functions: `to_net` makes the network's inputs from x_t, and `to_x` makes
the estimate of x from the network's output.
"""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Observation, per_image

NetInputs = tuple[Float[Array, "*b h w c"], Float[Array, "*b"] | None, Float[Array, "*b h w k"] | None]


@dataclass(frozen=True)
class Edm:
    """`D = m + c_skip (x_t - m) + c_out F(c_in (x_t - m), c_noise, cond)`, the preconditioning of EDM.

        c_skip = sigma_data^2 / (sigma^2 + sigma_data^2)     c_in    = 1 / sqrt(sigma^2 + sigma_data^2)
        c_out  = sigma sigma_data / sqrt(sigma^2 + sigma_data^2)     c_noise = log(sigma) / 4

    EDM models `x - m` as data of mean 0 and deviation `sigma_data`. `around = "grey"` takes the mean
    m = 1/2 of pictures in [0, 1]. `around = "image"` takes m = cond["image"], the observation on
    the grid of x: diffusion then acts on the residual, which is smaller and easier, and sampling
    starts from the observation. Either way D = x_t at sigma = 0, the boundary that consistency models need.

    Reference: Karras et al. 2022 (EDM), eq. 7 and table 1; the residual as in Yue et al. 2023 (ResShift), eq. 1.
    """

    sigma_data: float = 0.25
    around: Literal["grey", "image"] = "grey"

    def __post_init__(self) -> None:
        if self.sigma_data <= 0:
            raise ValueError(f"Edm.sigma_data must be above 0, not {self.sigma_data}.")
        if self.around not in ("grey", "image"):
            raise ValueError(f"Edm.around is 'grey' or 'image', not {self.around!r}.")

    def mean(self, obs: Observation) -> Float[Array, "..."]:
        """The `m` of the formula."""
        return obs.cond["image"] if self.around == "image" else jnp.float32(0.5)

    def to_net(self, x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation) -> NetInputs:
        """`(c_in (x_t - m), c_noise, cond)`; cond is the centred image, where the observation has one."""
        c_in = 1.0 / jnp.sqrt(sigma**2 + self.sigma_data**2)
        c_noise = 0.25 * jnp.log(jnp.maximum(sigma, 1e-8))  # at 0 the network's answer is multiplied by 0
        cond = obs.cond["image"] - 0.5 if "image" in obs.cond else None
        return per_image(c_in, x_t) * (x_t - self.mean(obs)), jnp.broadcast_to(c_noise, x_t.shape[:-3]), cond

    def to_x(
        self, raw: Float[Array, "*b h w c"], x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation
    ) -> Float[Array, "*b h w c"]:
        """`m + c_skip (x_t - m) + c_out raw`."""
        total = sigma**2 + self.sigma_data**2
        c_skip, c_out = self.sigma_data**2 / total, sigma * self.sigma_data / jnp.sqrt(total)
        m = self.mean(obs)
        return m + per_image(c_skip, x_t) * (x_t - m) + per_image(c_out, x_t) * raw


@dataclass(frozen=True)
class Residual:
    """`D = x_t + F(x_t - 1/2)`: a network that corrects its input and knows no noise level.

    With the sampler `Consistency(sigmas=(0.,))` this is plain regression: `x_t` is cond["image"].

    Reference: Zhang et al. 2017, "Beyond a Gaussian denoiser" (DnCNN), eq. 1.
    """

    def to_net(self, x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation) -> NetInputs:
        """`(x_t - 1/2, None, None)`."""
        del sigma, obs
        return x_t - 0.5, None, None

    def to_x(
        self, raw: Float[Array, "*b h w c"], x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation
    ) -> Float[Array, "*b h w c"]:
        """`x_t + raw`."""
        del sigma, obs
        return x_t + raw


EXAMPLES = (
    {"name": "diffusion.precondition.Edm", "sigma_data": 0.25},
    {"name": "diffusion.precondition.Edm", "sigma_data": 0.1, "around": "image"},
    {"name": "diffusion.precondition.Residual"},
)
