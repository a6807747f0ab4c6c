"""Pseudo-inverse guidance: the gradient of a Gaussian likelihood around the denoised picture."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Observation, per_image
from restore_jax.diffusion.posterior.measurement import Measurement, isotropic_variance


@dataclass(frozen=True)
class Pigdm:
    """`D + (sigma^2 / r^2) J^T A^T (A A^T + (noise_std^2 / r^2) I)^-1 (y - A D)`, J = dD / dx_t, d = sigma_data.

    x given x_t is taken for N(D, r^2 I) with r^2 = sigma^2 d^2 / (sigma^2 + d^2), as it is where pictures are
    N(m, d^2 I). Then y is N(A D, r^2 A A^T + noise_std^2 I), and `D + sigma^2 grad log p(y | x_t)`, r being constant,
    is the formula. Exact for such pictures, any operator and any noise. For others, J^T lets the prior shape the
    correction: what it is sure of is moved less. At sigma = 0 there is nothing to correct but what contradicts a y
    without noise.

    Cost: A, A^T, one `solve` and one vector-Jacobian product of the denoiser (about two evaluations more).

    Raises:
        ValueError: sigma_data is not above 0; when called, an observation without an operator.

    Reference: Song et al. 2023, "Pseudoinverse-guided diffusion models for inverse problems", section 3.
    """

    sigma_data: float = 0.25

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise ValueError(
                f"Pigdm.sigma_data must be above 0, not {self.sigma_data}: it is the deviation of pictures, about 0.25."
            )

    def __call__(self, denoise: Denoiser, obs: Observation) -> Denoiser:
        """The guided denoiser."""
        measured = Measurement.of(obs, "Pigdm", white=False)

        def guided(x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
            sigma = jnp.asarray(sigma, x_t.dtype)
            x_hat, pull_back = jax.vjp(lambda x: denoise(x, sigma), x_t)
            variance = isotropic_variance(sigma, self.sigma_data)
            residual = measured.y - measured.forward(x_hat)
            solved = measured.solve(residual, measured.relative_noise(variance))
            (correction,) = pull_back(measured.adjoint(solved))
            gain = 1.0 + (sigma / self.sigma_data) ** 2  # sigma^2 / r^2, which has a value at 0 too
            return x_hat + per_image(gain, x_t) * correction

        return guided


_ODE = {
    "name": "diffusion.sampler.Ode",
    "step": {"name": "diffusion.solver.Euler"},
    "schedule": {"name": "diffusion.schedule.Karras", "sigma_min": 0.02, "sigma_max": 10.0},
    "n_steps": 4,
}

EXAMPLES = (
    {
        "name": "diffusion.sampler.Guided",
        "sampler": _ODE,
        "guidance": ({"name": "diffusion.posterior.pigdm.Pigdm", "sigma_data": 0.25},),
    },
)
