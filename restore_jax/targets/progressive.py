"""Progressive distillation: a student of one step for every two of its teacher's."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Net, Observation, Step, Supervision, TrainState, each, normal, per_image, split
from restore_jax.diffusion import solver
from restore_jax.diffusion.schedule import Karras


@dataclass(frozen=True)
class Nested:
    """The levels of `schedule` at the times 1, 1 - 1/n, ..., 1/n, and 0: every other one is the grid of n / 2 steps.

    `Karras.grid` is not nested, since it spends a time on sigma_min and then steps to 0. A student of
    `ProgressiveDistillation` is sampled on this one, by `Ode(Euler(), Nested(schedule), n_steps)`.
    """

    schedule: Any = Karras()

    def grid(self, n: int) -> Float[Array, "{n}+1"]:
        """The ends of n steps."""
        if n < 1:
            raise ValueError(f"A sampler takes at least 1 step, not {n}.")
        return jnp.append(self.schedule.sigma(1.0 - jnp.arange(n) / n), 0.0)


@dataclass(frozen=True)
class ProgressiveDistillation:
    """At `(x_s, s)` the network should have said what takes Euler's step s -> t where two of the teacher's steps lead.

        x_s = x + s n,   x_m = step(teacher, x_s, s -> m),   x_t = step(teacher, x_m, m -> t)
        target = answer(x_t, x_s, s, t) = (x_t - (t / s) x_s) / (1 - t / s)

    with s, t neighbours on `Nested(schedule).grid(n_steps)`, drawn uniformly, and m half-way in the schedule's time, so
    that s, m, t are neighbours on the teacher's grid of 2 n_steps. Euler's step is DDIM's. Exact: the student's one
    step is the teacher's two, so in `n_steps` steps it repeats the teacher's samples. One run halves once; the next
    takes this student for its teacher, and half the n_steps. `state.frozen["teacher"]` holds the teacher's parameters.
    The weight is 1 / min(s, d)^2, d = sigma_data: the larger of the squared errors in x / d and in the noise, the
    paper's truncated signal-to-noise ratio. Cost: the teacher's two steps.

    Raises:
        ValueError: there is no teacher.

    Reference: Salimans & Ho 2022, "Progressive distillation for fast sampling of diffusion models", algorithm 2 and
    eq. 9.
    """

    schedule: Any = Karras()
    n_steps: int = 8
    step: Step = solver.Euler()
    sigma_data: float = 0.25

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise ValueError(f"ProgressiveDistillation.n_steps, the student's, must be at least 1, not {self.n_steps}.")
        if self.sigma_data <= 0:
            raise ValueError(f"ProgressiveDistillation.sigma_data must be above 0, not {self.sigma_data}.")

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        if "teacher" not in state.frozen:
            raise ValueError(
                'ProgressiveDistillation needs state.frozen["teacher"]: set config.teacher to a trained workdir.'
            )
        key_level, key_noise, key_first, key_second = split(key, 4)
        sigmas = Nested(self.schedule).grid(2 * self.n_steps)
        keys = each(key_level, x.shape[0])
        index = 2 * jax.vmap(lambda one: jax.random.randint(one, (), 0, self.n_steps))(keys)
        s, m, t = sigmas[index], sigmas[index + 1], sigmas[index + 2]
        x_s = x + per_image(s, x) * normal(key_noise, x.shape, x.dtype)
        x_t = x_s
        for one_key, above, below in ((key_first, s, m), (key_second, m, t)):
            x_t = self.step(one_key, lambda z, sigma: net(state.frozen["teacher"], z, sigma, obs), x_t, above, below)
        weight = 1.0 / jnp.minimum(s, self.sigma_data) ** 2
        return Supervision(inputs=(x_s, s), target=solver.answer(x_t, x_s, s, t), weight=weight)


EXAMPLES = ({"name": "targets.progressive.ProgressiveDistillation", "n_steps": 4},)
