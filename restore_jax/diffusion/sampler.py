"""From a denoiser to a picture: `sampler(key, denoise, obs) -> x_hat`.

Noise comes from the key, or, where it must be fixed (a graph on a phone, tiles of one photograph),
from cond["noise"]: as many pictures as the sampler `draws`, side by side on the channel axis.
"""

import contextvars
import itertools
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify
from jaxtyping import Array, Float

from restore_jax.core import (
    Denoiser,
    Guidance,
    Keys,
    Multistep,
    Observation,
    Sampler,
    Shape,
    Step,
    normal,
    per_image,
    split,
)
from restore_jax.diffusion.schedule import Karras

Start = Literal["image", "noise"]


@runtime_checkable
class Grid(Protocol):
    """A schedule that one can sample on: n + 1 falling levels, the last of them 0."""

    def grid(self, n: int) -> Float[Array, "{n}+1"]:
        """The ends of n steps."""
        ...


def start_mean(start: Start, obs: Observation) -> Float[Array, "..."]:
    """Where sampling starts, before noise: the observation on the grid of x, or grey."""
    if start == "image":
        if "image" not in obs.cond:
            raise ValueError(
                'start = "image" needs cond["image"], the observation on the grid of x; or start = "noise".'
            )
        return obs.cond["image"]
    return jnp.full(obs.x_shape, 0.5, obs.y.dtype)


def noise_images(key: Keys, obs: Observation, draws: int) -> list[Float[Array, "*b h w c"]]:
    """`draws` independent pictures of standard normal noise, from cond["noise"] if it is there."""
    if draws == 0:
        return []
    shape: Shape = (*obs.x_shape[:-1], draws * obs.x_shape[-1])
    noise = obs.cond.get("noise")
    if noise is None:
        noise = normal(key, shape, obs.y.dtype)
    if noise.shape != shape:
        raise ValueError(
            f'cond["noise"] must be {shape} for a sampler that draws {draws} noise images, not {noise.shape}.'
        )
    return jnp.split(noise, draws, axis=-1)


def descend(
    step: Step, key: Keys, denoise: Denoiser, x: Float[Array, "*b h w c"], sigmas: Float[Array, " n"]
) -> Float[Array, "*b h w c"]:
    """`x` of level sigmas[0] moved down to sigmas[-1], one `step` between neighbours, as one `scan`.

    The levels are traced: other values, no other program. Where they are known they must fall. Run through
    `stop_at_nan`, it says at which step x ceased to be finite.

    Raises:
        ValueError: the levels do not fall, or are negative.
    """
    check_falling(sigmas)
    n = sigmas.shape[0] - 1
    memory = step.blank(x) if isinstance(step, Multistep) else ()

    def move(carry: tuple[Array, Any], levels: tuple[Array, Array, Keys, Array]) -> tuple[tuple[Array, Any], None]:
        x, memory = carry
        s, t, one_key, k = levels
        if isinstance(step, Multistep):
            x, memory = step.move(memory, one_key, denoise, x, s, t)
        else:
            x = step(one_key, denoise, x, s, t)
        _check_finite(x, n, step, k, s, t)
        return (x, memory), None

    levels = (sigmas[:-1], sigmas[1:], split(key, n), jnp.arange(1, n + 1))
    return jax.lax.scan(move, (x, memory), levels)[0][0]


_watched = contextvars.ContextVar("watched", default=False)  # only while `stop_at_nan` traces: checks are effects


def _check_finite(x: Array, n: int, step: Any, k: Any, s: Any, t: Any) -> None:
    """What `stop_at_nan` looks for; without it there is nothing here, and graphs that are exported stay pure."""
    if not _watched.get():
        return
    words = "x is not finite after step {k} of " + str(n) + ", from level {s} to {t}, by "
    by = str(step).replace("{", "{{").replace("}", "}}")
    checkify.check(jnp.isfinite(x).all(), words + by, k=k, s=s, t=t)


def check_falling(sigmas: Any) -> None:
    """Levels fall, and are not negative; those that are traced cannot be looked at and pass."""
    if isinstance(sigmas, jax.core.Tracer):
        return
    values = np.asarray(sigmas).tolist()  # by numpy, which can look at constants while a function is traced
    falling = all(a > b for a, b in itertools.pairwise(values))  # which NaN does not
    if not values or not falling or not values[-1] >= 0:
        raise ValueError(f"The noise levels of a sampler must fall and not be negative, not {values}.")


def stop_at_nan(sampler: Sampler) -> Any:
    """The same function, jitted, that raises where x ceases to be finite, with the step, the level and the settings.

    Raises:
        FloatingPointError: a guidance scale is too large, or the network itself answers NaN.
    """

    def watched(key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        token = _watched.set(True)
        try:
            return sampler(key, denoise, obs)
        finally:
            _watched.reset(token)

    checked = jax.jit(checkify.checkify(watched), static_argnums=1)

    def stopping(key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        error, x = checked(key, denoise, obs)
        if error.get():
            raise FloatingPointError(f"{sampler}: {error.get()}. Is a guidance scale too large?")
        return x

    return stopping


@dataclass(frozen=True)
class Ode:
    """`n_steps` moves of `step` down the grid of `schedule`, as one `scan`: the probability flow.

    Deterministic given the noise it starts from, if the step is. `start` says what that noise is added to, and
    must agree with the preconditioning the denoiser was trained with (`Edm.around`). A step that changes the noise
    according to what was observed has `under(obs) -> Step`.

    Reference: Karras et al. 2022 (EDM), algorithm 1 without churn.
    """

    step: Any
    schedule: Grid = Karras()
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
        step = self.step.under(obs) if hasattr(self.step, "under") else self.step
        x = start_mean(self.start, obs) + per_image(sigmas[0], noise) * noise
        return descend(step, key_steps, denoise, x, sigmas)


@dataclass(frozen=True)
class Guided:
    """`sampler` with `guidance` around its denoiser, the first innermost: a prior becomes a posterior.

    The other way to the same is the `guidance` of a method; here it belongs to the sampler, so that it can be said
    where a trained model is loaded.
    """

    sampler: Sampler
    guidance: tuple[Guidance, ...]

    @property
    def draws(self) -> int:
        """Those of the sampler."""
        return self.sampler.draws

    @property
    def nfe(self) -> int:
        """Those of the sampler: a guidance that evaluates once more, or differentiates, says so itself."""
        return self.sampler.nfe

    def __call__(self, key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        """A sample for each observation."""
        for guide in self.guidance:
            denoise = guide(denoise, obs)
        return self.sampler(key, denoise, obs)


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
            _check_finite(x, self.nfe, self, jnp.int32(k + 1), jnp.float32(sigma), jnp.float32(0))
        return x


EXAMPLES = (
    {"name": "diffusion.sampler.Ode", "step": {"name": "diffusion.solver.Euler"}, "n_steps": 4},
    {"name": "diffusion.sampler.Ode", "step": {"name": "diffusion.solver.Heun"}, "n_steps": 4},
    {"name": "diffusion.sampler.Ode", "step": {"name": "diffusion.solver.UniPc"}, "n_steps": 4},
    {"name": "diffusion.sampler.Ode", "step": {"name": "diffusion.solver.Ancestral"}, "n_steps": 4},
    {"name": "diffusion.sampler.Consistency", "sigmas": (80.0,)},
    {"name": "diffusion.sampler.Consistency", "sigmas": (80.0, 0.8)},
    {
        "name": "diffusion.sampler.Guided",
        "sampler": {"name": "diffusion.sampler.Consistency", "sigmas": (80.0, 0.8)},
        "guidance": ({"name": "diffusion.guidance.Threshold"},),
    },
)
