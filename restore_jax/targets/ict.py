"""Improved consistency training: a consistency model without a teacher, on a grid that grows finer."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from restore_jax.core import Keys, Net, Observation, Supervision, TrainState, each, normal, per_image, split
from restore_jax.diffusion.schedule import Karras, LogNormal


@dataclass(frozen=True)
class Ict:
    """At `(x + s n, s)` the network should have said what it says itself at `(x + t n, t)`, t next below s, same n.

        n(k) = min(s0 2^floor(k / K'), s1),   K' = floor(K / (log2 floor(s1 / s0) + 1)),   K = total_steps
        P(s) = P(level < s) - P(level < t),   up to a constant;   weight = 1 / (s - t)

    with s > t neighbours on `schedule.grid(n(k))`, at step k. To draw from P a level is drawn from `levels`, given that
    it is below sigma_max, and rounded up to the grid; hence no table, and one program for all n. The answer is of the
    same parameters, not of an average. As n grows the fixed point comes to be the exact consistency function. The paper
    wants `metrics.pixel.PseudoHuber`. Where its network is the identity at sigma_min, ours is at 0, and 0 is the
    lowest of the N = n + 1 levels. `levels` is the paper's for data of deviation 0.25 instead of 0.5.
    Cost: one evaluation besides the one that is differentiated.

    Reference: Song & Dhariwal 2023, "Improved techniques for training consistency models", sections 3.4 and 3.5.
    """

    schedule: Any = Karras()
    levels: Any = LogNormal(mean=-1.1 + math.log(0.5), std=2.0)
    total_steps: int = 100_000
    s0: int = 10
    s1: int = 1280

    def __post_init__(self) -> None:
        if not 2 <= self.s0 <= self.s1:
            raise ValueError(
                f"Ict wants 2 <= s0 <= s1, the first and the last n of the grid, not {self.s0}, {self.s1}."
            )
        if self.total_steps < self._stages:
            raise ValueError(
                f"Ict.total_steps must be at least {self._stages}, one for each doubling from s0 = {self.s0} to"
                f" s1 = {self.s1}, not {self.total_steps}: train for longer, or choose s1 nearer to s0."
            )

    @property
    def _stages(self) -> float:
        return math.log2(self.s1 // self.s0) + 1

    def intervals(self, step: Int[Array, ""]) -> Int[Array, ""]:
        """`n(k)`, how many steps the grid has at this training step."""
        stage = jnp.minimum(step // math.floor(self.total_steps / self._stages), math.ceil(self._stages))
        return jnp.minimum(self.s0 * 2**stage, self.s1)

    def neighbours(self, sigma: Float[Array, " b"], n: Int[Array, ""]) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
        """The levels s, t next to each other on `schedule.grid(n)` with t < sigma <= s."""
        top = (n - 1).astype(sigma.dtype)
        above_min = jnp.clip(jnp.ceil(self.schedule.time(sigma) * top), 0, top)  # levels of the grid from sigma_min up
        below = self.schedule.sigma(jnp.maximum(above_min - 1, 0) / top)
        return self.schedule.sigma(above_min / top), jnp.where(above_min > 0, below, 0.0)

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        key_level, key_noise = split(key)
        keys = each(key_level, x.shape[0])
        u = jax.vmap(lambda one: jax.random.uniform(one, minval=1e-6))(keys)
        drawn = self.levels.quantile(u * self.levels.probability(self.schedule.sigma(1.0)))
        s, t = self.neighbours(drawn, self.intervals(jnp.asarray(state.step)))
        noise = normal(key_noise, x.shape, x.dtype)
        target = net(state.params, x + per_image(t, x) * noise, t, obs)
        return Supervision(inputs=(x + per_image(s, x) * noise, s), target=target, weight=1.0 / (s - t))


EXAMPLES = ({"name": "targets.ict.Ict", "total_steps": 90, "s0": 2, "s1": 8},)
