"""Shortcut models: one jump should land where two jumps of half its size do."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from restore_jax.core import Keys, Net, Observation, Supervision, TrainState, each, normal, per_image, split
from restore_jax.diffusion.schedule import LogNormal
from restore_jax.diffusion.solver import answer, jump

Levels = tuple[Float[Array, " b"], Float[Array, " b"], Float[Array, " b"]]


@dataclass(frozen=True)
class Shortcut:
    """At `(x + s n, s)`, asked for the jump to t, the network should have said where its average's two half jumps go.

        x_u = jump(net(ema, x_s, s, until=u), x_s, s, u)
        x_t = jump(net(ema, x_u, u, until=t), x_u, u, t),   target = answer(x_t, x_s, s, t)

    In flow time tau = sigma / (sigma + sigma_data) the jumps are of size tau_max / 2^k, k = 0 ... log2(n_steps) - 1,
    and start at its multiples, as jumps do that sample in 2^k steps; tau_max is that of `sigma_max`, for tau = 1 is no
    finite sigma. Half of the smallest jump, one of `n_steps`, is Euler's step with the plain denoiser (until = the
    level itself). An example is such a jump with probability `share`; the others are flow matching: a level from
    `levels`, no jump, target x.

    Any map whose jumps compose is a fixed point, and Euler's error at the smallest step, O(1 / n_steps^2) a step, is
    what is left of it. The weight 1 / (sigma_data tau)^2 makes the squared loss that of the velocity. Cost: two
    evaluations besides the one that is differentiated, of every example, used or not: shapes are static.

    Reference: Frans et al. 2024, "One step diffusion via shortcut models", section 3
    and algorithm 1.
    """

    levels: LogNormal = LogNormal(mean=-1.4, std=1.5)
    n_steps: int = 128
    share: float = 0.25
    sigma_data: float = 0.25
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        if self.n_steps < 2 or self.n_steps & (self.n_steps - 1):
            raise ValueError(f"Shortcut.n_steps must be a power of 2, at least 2, not {self.n_steps}.")
        if not 0 <= self.share <= 1:
            raise ValueError(f"Shortcut.share, of examples that jump, must be from 0 to 1, not {self.share}.")
        if self.sigma_data <= 0 or self.sigma_max <= 0:
            values = f"{self.sigma_data} and {self.sigma_max}"
            raise ValueError(f"Shortcut.sigma_data and Shortcut.sigma_max must be above 0, not {values}.")

    def jumps(self, keys: Keys, dtype: Any) -> tuple[Levels, Bool[Array, " b"]]:
        """`((s, u, t), smallest)` for a key each: a jump's ends and middle in flow time, and if it is the smallest."""

        def one(key: Keys) -> tuple[Array, Array, Array]:
            key_size, key_place = jax.random.split(key)
            doublings = self.n_steps.bit_length() - 1
            k = jax.random.randint(key_size, (), 0, doublings)
            place = jax.random.randint(key_place, (), 1, 2**k + 1)
            return place.astype(dtype), (2**k).astype(dtype), k == doublings - 1

        place, parts, smallest = jax.vmap(one)(keys)
        tau_max = self.sigma_max / (self.sigma_max + self.sigma_data)

        def level(steps_left: Array) -> Array:
            tau = tau_max * steps_left / parts
            return self.sigma_data * tau / (1.0 - tau)

        return (level(place), level(place - 0.5), level(place - 1.0)), smallest

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        key_level, key_jump, key_share, key_noise = split(key, 4)
        n = x.shape[0]
        key_jump, key_share = (each(one, n) for one in (key_jump, key_share))
        (s, u, t), smallest = self.jumps(key_jump, x.dtype)
        noise = normal(key_noise, x.shape, x.dtype)

        def ema(z: Array, level: Array, until: Array) -> Array:
            return net(state.ema, z, level, obs.with_cond(until=until))

        x_s = x + per_image(s, x) * noise
        x_u = jump(ema(x_s, s, jnp.where(smallest, s, u)), x_s, s, u)
        x_t = jump(ema(x_u, u, jnp.where(smallest, u, t)), x_u, u, t)

        plain = jax.vmap(lambda one: ~jax.random.bernoulli(one, self.share))(key_share)
        target = jnp.where(per_image(plain, x) > 0, x, answer(x_t, x_s, s, t))
        drawn = self.levels(key_level, n)
        s, t = jnp.where(plain, drawn, s), jnp.where(plain, drawn, t)
        weight = ((s + self.sigma_data) / (s * self.sigma_data)) ** 2
        return Supervision((x + per_image(s, x) * noise, s), target, weight, {"until": t})


EXAMPLES = ({"name": "targets.shortcut.Shortcut", "n_steps": 8, "share": 0.5, "sigma_max": 5.0},)
