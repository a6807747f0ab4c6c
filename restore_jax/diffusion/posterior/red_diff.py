"""RED-diff: one picture is optimised to agree with y, and with the denoiser at every level of noise."""

from dataclasses import dataclass

import jax
import optax
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Observation, normal, per_image, split
from restore_jax.diffusion.posterior.measurement import Measurement
from restore_jax.diffusion.sampler import Grid, check_falling
from restore_jax.diffusion.schedule import Karras


@dataclass(frozen=True)
class RedDiff:
    """The mean of a Gaussian fitted to the posterior: one step of Adam on mu at each level, from the largest down.

        gradient = A^T (A mu - y) + scale sigma (n_hat - n)     n_hat = (mu + sigma n - D(mu + sigma n, sigma)) / sigma
                 = A^T (A mu - y) + scale (mu - D(mu + sigma n, sigma))

    It starts at `A^+ y`. One point and no sample: two keys differ by what Adam has not averaged out. The weight
    sigma of `n_hat - n` is the paper's 1 / sqrt(SNR); its factor `1 / noise_std^2` of the first term is left to
    `scale`, which must therefore grow with the noise of y. The fixed point at one level solves
    `A^T (A mu - y) + scale (mu - E_n D(mu + sigma n, sigma)) = 0`.

    One evaluation, one `A` and one `A^T` a step; the denoiser is not differentiated.

    Raises:
        ValueError: fewer steps than 1; a scale or rate that is not above 0; under an observation without an
            operator, or with noise that varies over the picture.

    Reference: Mardani et al. 2023, "A variational perspective on solving inverse problems with diffusion models",
    algorithm 1.
    """

    scale: float = 0.25
    rate: float = 0.1
    n_steps: int = 100
    schedule: Grid = Karras()

    draws = 0

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise ValueError(f"RedDiff.n_steps must be a whole number >= 1, not {self.n_steps}.")
        for name in ("scale", "rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"RedDiff.{name} must be above 0, not {getattr(self, name)}.")

    @property
    def nfe(self) -> int:
        """One evaluation a step."""
        return self.n_steps

    def __call__(self, key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        """The fitted mean for each observation."""
        measured = Measurement.of(obs, "RedDiff")
        adam = optax.adam(self.rate, b1=0.9, b2=0.99)
        sigmas = self.schedule.grid(self.n_steps)
        check_falling(sigmas)

        def improve(
            carry: tuple[Array, optax.OptState], level: tuple[Array, Keys]
        ) -> tuple[tuple[Array, optax.OptState], None]:
            (mu, state), (sigma, one_key) = carry, level
            sigma = sigma.astype(mu.dtype)
            x_t = mu + per_image(sigma, mu) * normal(one_key, mu.shape, mu.dtype)
            prior = mu - jax.lax.stop_gradient(denoise(x_t, sigma))
            gradient = measured.adjoint(measured.forward(mu) - measured.y) + self.scale * prior
            change, state = adam.update(gradient, state)
            return (optax.apply_updates(mu, change), state), None  # pyright: ignore[reportReturnType]

        mu = measured.pinv(measured.y)
        return jax.lax.scan(improve, (mu, adam.init(mu)), (sigmas[:-1], split(key, self.n_steps)))[0][0]


EXAMPLES = (
    {
        "name": "diffusion.posterior.red_diff.RedDiff",
        "n_steps": 4,
        "schedule": {"name": "diffusion.schedule.Karras", "sigma_max": 20.0},
    },
)
