"""DAPS: at each level a clean picture is drawn given y, and noised anew to the next; no path is followed."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Observation, normal, per_image, split
from restore_jax.diffusion.posterior.measurement import Measurement
from restore_jax.diffusion.sampler import Grid, Start, check_falling, descend, noise_images, start_mean
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Euler


@dataclass(frozen=True)
class Daps:
    """From level s to t: `x_0 ~ p(x | y)` under the prior `N(x_hat, r^2)`, then `x_t = x_0 + t n`.

    `x_hat` is where `ode_steps` moves of `step` bring x_s on the way to 0; one of Euler's is D(x_s, s). `r` is the
    deviation of the picture about it, `r^2 = s^2 d^2 / (s^2 + d^2)` with d = `deviation`; None is the paper's r = s.
    The paper draws x_0 by Langevin dynamics. For a linear operator it is drawn exactly, by perturbing and solving:

        z = x_hat + r n        x_0 = z + A^T (A A^T + (noise_std / r)^2)^-1 (y + noise_std n' - A z)

    If the prior is Gaussian with covariance d^2 I and x_hat is D(x_s, s), then `N(x_hat, r^2)` is p(x | x_s), so that
    x_t has the law p(x_t | y) if x_s has p(x_s | y): exact but for the start at grey with noise. For other priors it
    is not.

    Cost: `n_steps` times the evaluations of the inner way, and one `solve` each.

    Raises:
        ValueError: counts below 1, a deviation that is not above 0; under an observation without an operator, or with
            noise that varies over the picture.

    Reference: Zhang et al. 2024, "Improving diffusion inverse problem solving with decoupled noise annealing",
    proposition 1 and algorithm 1. Drawing by perturbing and solving: Papandreou and Yuille 2010, "Gaussian sampling by
    local perturbations".
    """

    n_steps: int = 20
    ode_steps: int = 5
    step: Any = Euler()
    deviation: float | None = None
    schedule: Grid = Karras()
    start: Start = "noise"

    draws = 1

    def __post_init__(self) -> None:
        for name in ("n_steps", "ode_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"Daps.{name} must be a whole number >= 1, not {getattr(self, name)}.")
        if self.deviation is not None and not self.deviation > 0:
            raise ValueError(f"Daps.deviation must be above 0, or None for the level itself, not {self.deviation}.")

    @property
    def nfe(self) -> int:
        """Evaluations of the denoiser a sample."""
        return self.n_steps * self.step.nfe(self.ode_steps)

    def __call__(self, key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        """A sample for each observation."""
        measured = Measurement.of(obs, "Daps")
        step = self.step.under(obs) if hasattr(self.step, "under") else self.step
        sigmas = self.schedule.grid(self.n_steps)
        check_falling(sigmas)
        # The inner way is EDM's grid with rho = 7 from s to 0, as shares of s.
        shares = jnp.linspace(1.0, 0.0, self.ode_steps + 1) ** 7

        def renew(x: Array, level: tuple[Array, Array, Keys]) -> tuple[Array, None]:
            s, t, one_key = level
            key_ode, key_draw, key_noise = split(one_key, 3)
            x_hat = descend(step, key_ode, denoise, x, s * shares)
            x_0 = self.draw(key_draw, measured, x_hat, s)
            return x_0 + per_image(t, x) * normal(key_noise, x.shape, x.dtype), None

        key_start, key_steps = split(key)
        (noise,) = noise_images(key_start, obs, 1)
        x = start_mean(self.start, obs) + sigmas[0] * noise
        return jax.lax.scan(renew, x, (sigmas[:-1], sigmas[1:], split(key_steps, self.n_steps)))[0]

    def draw(
        self, key: Keys, measured: Measurement, x_hat: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]
    ) -> Float[Array, "*b h w c"]:
        """`x ~ p(x | y)` under the prior `N(x_hat, r^2)`, r that of level sigma > 0."""
        key_x, key_y = split(key)
        r = sigma if self.deviation is None else sigma * self.deviation / jnp.sqrt(sigma**2 + self.deviation**2)
        z = x_hat + per_image(r, x_hat) * normal(key_x, x_hat.shape, x_hat.dtype)
        y = measured.y
        y = y + per_image(measured.noise_std, y) * normal(key_y, y.shape, y.dtype)
        return z + measured.adjoint(measured.solve(y - measured.forward(z), (measured.noise_std / r) ** 2))


EXAMPLES = (
    {
        "name": "diffusion.posterior.daps.Daps",
        "n_steps": 3,
        "ode_steps": 2,
        "schedule": {"name": "diffusion.schedule.Karras", "sigma_max": 20.0},
    },
    {
        "name": "diffusion.posterior.daps.Daps",
        "n_steps": 3,
        "ode_steps": 1,
        "deviation": 0.25,
        "schedule": {"name": "diffusion.schedule.Karras", "sigma_max": 20.0},
    },
)
