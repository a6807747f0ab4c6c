"""Range and null space: what was seen is put in place of what was guessed of it."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Observation
from restore_jax.diffusion.posterior.measurement import Measurement, isotropic_variance


@dataclass(frozen=True)
class Ddnm:
    """`D + A^T (A A^T + (noise_std^2 / r^2) I)^-1 (y - A D)`, r^2 = sigma^2 d^2 / (sigma^2 + d^2), d = sigma_data.

    It is E[x | x_t, y] where x given x_t is N(D, r^2 I): exact for pictures that are N(m, d^2 I), any operator and
    any noise. Without noise it is the paper's `D + A^+ (y - A D)`, r of no account, and A D' = y. With noise, the
    paper's DDNM+ shrinks that correction where what it brings in would exceed the sampler's own noise; here each
    singular direction, of value a, is shrunk by Wiener's factor, a^2 r^2 / (a^2 r^2 + noise_std^2), whatever the
    step.

    Cost: A, A^T and one `solve` beside the evaluation; nothing is differentiated.

    Raises:
        ValueError: sigma_data is not above 0; when called, an observation without an operator.

    Reference: Wang, Yu & Zhang 2023, "Zero-shot image restoration using denoising diffusion null-space model",
    algorithm 1.
    """

    sigma_data: float = 0.25
    consistent = True  # A x_hat = y where there is no noise

    def __post_init__(self) -> None:
        if not self.sigma_data > 0:
            raise ValueError(
                f"Ddnm.sigma_data must be above 0, not {self.sigma_data}: it is the deviation of pictures, about 0.25."
            )

    def __call__(self, denoise: Denoiser, obs: Observation) -> Denoiser:
        """The guided denoiser."""
        measured = Measurement.of(obs, "Ddnm", white=False)

        def guided(x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
            x_hat = denoise(x_t, sigma)
            variance = isotropic_variance(jnp.asarray(sigma, x_t.dtype), self.sigma_data)
            residual = measured.y - measured.forward(x_hat)
            return x_hat + measured.adjoint(measured.solve(residual, measured.relative_noise(variance)))

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
        "guidance": ({"name": "diffusion.posterior.ddnm.Ddnm", "sigma_data": 0.25},),
    },
)
