"""Consistency trajectory models: the teacher walks the first part of a jump, the student's average the rest."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from restore_jax.core import Keys, Net, Observation, Step, Supervision, TrainState, each, normal, per_image, split
from restore_jax.diffusion.schedule import Karras
from restore_jax.diffusion.solver import Heun, answer, jump


@dataclass(frozen=True)
class Ctm:
    """At `(x + s n, s)`, asked for the jump to t, the network should have said where teacher and average lead.

        x_u = steps of the teacher from s to u,   x_t = jump(net(ema, x_u, u, until=t), x_u, u, t)
        target = answer(x_t, x_s, s, t),   s > u >= t on the `n_levels` grid of `schedule`

    s and t are drawn uniformly from those pairs, and u from 1 to `reach` levels below s, no lower than t: 1 is the
    paper's local consistency, n_levels its soft matching with every u. The answers g are compared themselves, at
    the jump to t; the paper first takes both arrivals to level 0 with the network, two evaluations more. An example has
    t = s and the target x, the paper's denoising term, with probability 1 - `share`: a part of the batch in
    place of a second loss. Weight 1.

    The exact flow map is a fixed point, up to the solver's error between s and u divided by 1 - t / s.
    `state.frozen["teacher"]` holds the teacher's parameters. Cost: `reach` steps of the teacher and two evaluations
    of the student, of every example, used or not: shapes are static.

    Reference: Kim et al. 2023, "Consistency trajectory models", algorithm 1.
    """

    schedule: Karras = Karras()
    n_levels: int = 18
    step: Step = Heun()
    share: float = 0.5
    reach: int = 1

    def __post_init__(self) -> None:
        if self.n_levels < 1:
            raise ValueError(f"Ctm.n_levels must be at least 1, not {self.n_levels}.")
        if not 1 <= self.reach <= self.n_levels:
            raise ValueError(f"Ctm.reach must be from 1 to Ctm.n_levels = {self.n_levels}, not {self.reach}.")
        if not 0 <= self.share <= 1:
            raise ValueError(f"Ctm.share, of examples that jump, must be from 0 to 1, not {self.share}.")

    def indices(self, keys: Keys) -> tuple[Int[Array, " b"], Int[Array, " b"], Int[Array, " b"]]:
        """Where on the grid s, u and t are, for a key each."""

        def one(key: Keys) -> tuple[Array, Array, Array]:
            key_from, key_to, key_between = jax.random.split(key, 3)
            i = jax.random.randint(key_from, (), 0, self.n_levels)
            j = jax.random.randint(key_to, (), i + 1, self.n_levels + 1)
            return i, jax.random.randint(key_between, (), i + 1, jnp.minimum(j, i + self.reach) + 1), j

        return jax.vmap(one)(keys)

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        if "teacher" not in state.frozen:
            raise ValueError('Ctm needs state.frozen["teacher"]: set config.teacher to a trained workdir.')
        key_level, key_share, key_noise, key_step = split(key, 4)
        key_level, key_share = (each(one, x.shape[0]) for one in (key_level, key_share))
        grid = self.schedule.grid(self.n_levels)
        i, between, j = self.indices(key_level)
        s, u, t = grid[i], grid[between], grid[j]
        x_s = x + per_image(s, x) * normal(key_noise, x.shape, x.dtype)

        x_u = x_s
        for k, key_k in enumerate(split(key_step, self.reach)):
            # Beyond u a step is taken all the same, from a level above 0, and thrown away.
            high, low = grid[jnp.minimum(i + k, self.n_levels - 1)], grid[jnp.minimum(i + k + 1, self.n_levels)]
            moved = self.step(key_k, lambda z, sigma: net(state.frozen["teacher"], z, sigma, obs), x_u, high, low)
            x_u = jnp.where(per_image(i + k < between, x) > 0, moved, x_u)

        here = jnp.where(u > t, u, s)  # where u = t there is no jump left, and perhaps no level above 0 to ask at
        landed = jump(net(state.ema, x_u, here, obs.with_cond(until=t)), x_u, here, t)
        x_t = jnp.where(per_image(u > t, x) > 0, landed, x_u)

        plain = jax.vmap(lambda one: ~jax.random.bernoulli(one, self.share))(key_share)
        target = jnp.where(per_image(plain, x) > 0, x, answer(x_t, x_s, s, t))
        until = jnp.where(plain, s, t)
        return Supervision((x_s, s), target, jnp.ones(x.shape[0]), {"until": until})


EXAMPLES = (
    {"name": "targets.ctm.Ctm", "n_levels": 8},
    {"name": "targets.ctm.Ctm", "n_levels": 8, "reach": 3, "share": 1.0},
)
