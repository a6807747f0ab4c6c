"""DiffPIR: the denoiser's answer is drawn towards y by a proximal step, and the noise is partly renewed."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Observation, normal, per_image
from restore_jax.diffusion.posterior.measurement import Measurement


@dataclass(frozen=True)
class DiffPir:
    """`D + A^T (A A^T + rho)^-1 (y - A D)`, with `rho = scale noise_std^2 / sigma^2`: a Guidance.

    It minimises `|A x - y|^2 + rho |x - D|^2`: with `scale` (the paper's lambda) 1, the posterior mean for a picture
    known to be `N(D, sigma^2)`, which overstates what D leaves open. For a prior of covariance d^2 I it is
    E[x | x_t, y] at `scale = 1 + sigma^2 / d^2`: with `scale` 1, where sigma is small beside d. Without noise it is
    `D + A^+ (y - A D)`, whatever the scale. Cost: one `solve` an evaluation.

    Raises:
        ValueError: a scale that is not above 0; under an observation without an operator, or with noise that varies
            over the picture.

    Reference: Zhu et al. 2023, "Denoising diffusion models for plug-and-play image restoration",
    algorithm 1; the noise of that algorithm is the Step `Renew`.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"DiffPir.scale must be above 0, not {self.scale}: larger trusts the denoiser more.")

    def __call__(self, denoise: Denoiser, obs: Observation) -> Denoiser:
        """The guided denoiser."""
        measured = Measurement.of(obs, "DiffPir")

        def guided(x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
            x_hat = denoise(x_t, sigma)
            level = jnp.maximum(sigma, 1e-12)  # at 0 the answer is the denoiser's, not 0 / 0
            rho = self.scale * (measured.noise_std / level) ** 2
            return x_hat + measured.adjoint(measured.solve(measured.y - measured.forward(x_hat), rho))

        return guided


@dataclass(frozen=True)
class Renew:
    """`D + t (sqrt(1 - zeta) (x - D) / s + sqrt(zeta) n)`: Euler's step with the share `zeta` of the noise renewed.

    `zeta` = 0 is Euler's step itself, 1 forgets the noise there was. The noise has level t for any zeta, where D is
    the truth; but the mixture follows the marginals p(x; sigma) of no prior except for zeta = 0 in small steps.

    Raises:
        ValueError: a share outside [0, 1].

    Reference: Zhu et al. 2023, algorithm 1.
    """

    zeta: float = 0.3

    order = 1

    def __post_init__(self) -> None:
        if not 0 <= self.zeta <= 1:
            raise ValueError(f"Renew.zeta is a share in [0, 1], not {self.zeta}.")

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0."""
        return n_steps

    def __call__(
        self, key: Keys, denoise: Denoiser, x: Float[Array, "*b h w c"], s: Float[Array, "*#b"], t: Float[Array, "*#b"]
    ) -> Float[Array, "*b h w c"]:
        """The picture at level t."""
        x_hat = denoise(x, s)
        old, new = (x - x_hat) / per_image(s, x), normal(key, x.shape, x.dtype)
        return x_hat + per_image(t, x) * ((1.0 - self.zeta) ** 0.5 * old + self.zeta**0.5 * new)


EXAMPLES = (
    {
        "name": "diffusion.sampler.Guided",
        "sampler": {
            "name": "diffusion.sampler.Ode",
            "step": {"name": "diffusion.posterior.diffpir.Renew"},
            "schedule": {"name": "diffusion.schedule.Karras", "sigma_max": 20.0},
            "n_steps": 4,
        },
        "guidance": ({"name": "diffusion.posterior.diffpir.DiffPir"},),
    },
)
