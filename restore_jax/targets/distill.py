"""Consistency distillation: the teacher's next step, seen by the student's average."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Net, Observation, Step, Supervision, TrainState, each, normal, per_image, split
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Heun


@dataclass(frozen=True)
class ConsistencyDistillation:
    """At `(x_s, s)` the network should have said what its average says one teacher step further on.

        x_s = x + s n,   x_t = step(teacher, x_s, s -> t),   target = net(ema, x_t, t)

    with s, t neighbours on the `n_levels` grid of `schedule`, drawn uniformly. Any map that is constant
    along the teacher's trajectories and is the identity at 0 is a fixed point, up to the solver's
    error in one step. `state.frozen["teacher"]` holds the teacher's parameters. The loss takes the
    metric as it is (weight 1). Cost: the teacher's step and two evaluations of the student.

    Reference: Song et al. 2023, "Consistency models", algorithm 2 and eq. 7.
    """

    schedule: Karras = Karras()
    n_levels: int = 18
    step: Step = Heun()

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        if "teacher" not in state.frozen:
            raise ValueError(
                'ConsistencyDistillation needs state.frozen["teacher"]: set config.teacher to a trained workdir.'
            )
        key_level, key_noise, key_step = split(key, 3)
        sigmas = self.schedule.grid(self.n_levels)
        keys = each(key_level, x.shape[0])
        index = jax.vmap(lambda one: jax.random.randint(one, (), 0, self.n_levels))(keys)
        s, t = sigmas[index], sigmas[index + 1]
        x_s = x + per_image(s, x) * normal(key_noise, x.shape, x.dtype)
        x_t = self.step(key_step, lambda z, sigma: net(state.frozen["teacher"], z, sigma, obs), x_s, s, t)
        return Supervision(inputs=(x_s, s), target=net(state.ema, x_t, t, obs), weight=jnp.ones(x.shape[0]))


EXAMPLES = ({"name": "targets.distill.ConsistencyDistillation", "n_levels": 8},)
