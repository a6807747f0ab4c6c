"""RePaint: what was seen is put into every noisy picture on the way down, and each move is made several times."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Observation, Step, normal, per_image, split
from restore_jax.diffusion.posterior.measurement import Measurement
from restore_jax.diffusion.solver import Euler


@dataclass(frozen=True)
class RePaint:
    """`x_t + A^+ (y_t - A x_t)` after `step` from s to t, with `y_t = y + t A n`; `resamples` times over.

    Between two times, x goes back to s with fresh noise: `x_s = x_t + sqrt(s^2 - t^2) n`, so that the unseen part has
    time to agree with the seen one. For a mask, `y_t` is the seen part of the picture at level t, as in the
    paper; any operator with a `solve` is taken likewise. y is taken as it is: its noise, if any, counts towards
    level t while that is larger (exactly so for `A A^T = I`), and ends in the picture. Not exact: the unseen part
    is denoised without knowing that the seen one came from y. The paper's jumps over several levels at once are left
    out; there is one move between two renewals.

    Cost: `resamples` times the evaluations of `step`, each with one `A` and one `A^+`.

    Raises:
        ValueError: resamples below 1; under an observation without an operator, or with noise that varies over the
            picture.

    Reference: Lugmayr et al. 2022, "RePaint: inpainting using denoising diffusion probabilistic models", eq. 8 and
    algorithm 1.
    """

    resamples: int = 4
    step: Any = Euler()

    order = 1

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ValueError(f"RePaint.resamples must be a whole number >= 1, not {self.resamples}.")

    def nfe(self, n_steps: int) -> int:
        """Evaluations in `n_steps` steps down to 0."""
        return self.resamples * self.step.nfe(n_steps)

    def under(self, obs: Observation) -> Step:
        """The step that this observation asks for."""
        measured = Measurement.of(obs, "RePaint")
        return _Under(self, self.step.under(obs) if hasattr(self.step, "under") else self.step, measured)


@dataclass(frozen=True, eq=False)
class _Under:
    settings: RePaint
    step: Step = field(repr=False)
    measured: Measurement = field(repr=False)

    def __call__(
        self, key: Keys, denoise: Denoiser, x: Float[Array, "*b h w c"], s: Float[Array, "*#b"], t: Float[Array, "*#b"]
    ) -> Float[Array, "*b h w c"]:
        """The picture at level t."""
        back = per_image(jnp.sqrt(s**2 - t**2), x)
        missing = per_image(jnp.sqrt(jnp.maximum(t**2 - self.measured.noise_std**2, 0.0)), x)

        def again(pair: tuple[Array, Array], key: Keys) -> tuple[tuple[Array, Array], None]:
            key_step, key_seen, key_back = split(key, 3)
            x_t = self.step(key_step, denoise, pair[0], s, t)
            # A (x_t - t n) and not A x_t - t A n: one application of A.
            noise = missing * normal(key_seen, x.shape, x.dtype)
            x_t = x_t + self.measured.pinv(self.measured.y - self.measured.forward(x_t - noise))
            return (x_t + back * normal(key_back, x.shape, x.dtype), x_t), None

        (_, x_t), _ = jax.lax.scan(again, (x, x), split(key, self.settings.resamples))
        return x_t


EXAMPLES = (
    {
        "name": "diffusion.sampler.Ode",
        "step": {"name": "diffusion.posterior.repaint.RePaint", "resamples": 2},
        "schedule": {"name": "diffusion.schedule.Karras", "sigma_max": 20.0},
        "n_steps": 3,
    },
)
