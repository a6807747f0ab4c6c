"""From a denoiser to a picture: `sampler(key, denoise, obs) -> x_hat`.

Noise comes from the key, or, where it must be fixed (a graph on a phone, tiles of one photograph),
from cond["noise"]: as many pictures as the sampler `draws`, side by side on the channel axis.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Observation, Shape, Step, normal, split
from restore_jax.diffusion.schedule import Karras

Start = Literal["image", "noise"]


def start_mean(start: Start, obs: Observation) -> Float[Array, "..."]:
    """Where sampling starts, before noise: the observation on the grid of x, or grey."""
    if start == "image":
        if "image" not in obs.cond:
            raise ValueError(
                'start = "image" needs cond["image"], the observation on the grid of x; or start = "noise".'
            )
        return obs.cond["image"]
    return jnp.full(obs.x_shape, 0.5, jnp.float32)


def noise_images(key: Keys, obs: Observation, draws: int) -> list[Float[Array, "*b h w c"]]:
    """`draws` independent pictures of standard normal noise, from cond["noise"] if it is there."""
    if draws == 0:
        return []
    shape: Shape = (*obs.x_shape[:-1], draws * obs.x_shape[-1])
    noise = obs.cond.get("noise")
    if noise is None:
        noise = normal(key, shape)
    if noise.shape != shape:
        raise ValueError(
            f'cond["noise"] must be {shape} for a sampler that draws {draws} noise images, not {noise.shape}.'
        )
    return jnp.split(noise, draws, axis=-1)


@dataclass(frozen=True)
class Ode:
    """`n_steps` moves of `step` down the grid of `schedule`, as one `scan`: the probability flow.

    Deterministic given the noise it starts from. `start` says what that noise is added to, and must
    agree with the preconditioning the denoiser was trained with (`Edm.around`).

    Reference: Karras et al. 2022 (EDM), algorithm 1 without churn.
    """

    step: Step
    schedule: Karras = Karras()
    n_steps: int = 18
    start: Start = "noise"

    draws = 1

    @property
    def nfe(self) -> int:
        """Evaluations of the denoiser a sample."""
        return self.step.nfe(self.n_steps)

    def __call__(self, key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        """A sample for each observation."""
        key_noise, key_steps = split(key)
        sigmas = self.schedule.grid(self.n_steps)
        (noise,) = noise_images(key_noise, obs, 1)
        x = start_mean(self.start, obs) + sigmas[0] * noise

        def move(x: Array, levels: tuple[Array, Array, Keys]) -> tuple[Array, None]:
            s, t, one_key = levels
            return self.step(one_key, denoise, x, s, t), None

        x, _ = jax.lax.scan(move, x, (sigmas[:-1], sigmas[1:], split(key_steps, self.n_steps)))
        return x


@dataclass(frozen=True)
class Consistency:
    """Multistep consistency sampling: `x = D(x + sigma_k n_k, sigma_k)` for each level in turn.

    One evaluation a level, each with fresh noise; unrolled, so that it leaves in one graph. With the
    single level 0 no noise is drawn and `D(cond["image"], 0)` is answered: a regression network.

    Reference: Song et al. 2023, "Consistency models", algorithm 1 (with sigma_min = 0).
    """

    sigmas: tuple[float, ...] = (80.0,)
    start: Start = "noise"

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip(self.sigmas, self.sigmas[1:]))
        if not self.sigmas or not falling or self.sigmas[-1] < 0:
            raise ValueError(f"Consistency.sigmas must fall and not be negative, not {self.sigmas}.")

    @property
    def draws(self) -> int:
        """One noise image for each level above 0."""
        return sum(sigma > 0 for sigma in self.sigmas)

    @property
    def nfe(self) -> int:
        """One evaluation a level."""
        return len(self.sigmas)

    def __call__(self, key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        """A sample for each observation."""
        x = start_mean(self.start, obs)
        noise = noise_images(key, obs, self.draws)
        for k, sigma in enumerate(self.sigmas):
            x_t = x + sigma * noise[k] if sigma > 0 else x
            x = denoise(x_t, jnp.float32(sigma))
        return x


EXAMPLES = (
    {"name": "diffusion.sampler.Ode", "step": {"name": "diffusion.solver.Euler"}, "n_steps": 4},
    {"name": "diffusion.sampler.Ode", "step": {"name": "diffusion.solver.Heun"}, "n_steps": 4},
    {"name": "diffusion.sampler.Consistency", "sigmas": (80.0,)},
    {"name": "diffusion.sampler.Consistency", "sigmas": (80.0, 0.8)},
)
