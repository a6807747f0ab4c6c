"""Bridges: the answer is the photograph, the question a point on the way from it to the observation."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Net, Observation, Supervision, TrainState, each, split
from restore_jax.diffusion.bridge import Process


@dataclass(frozen=True)
class Bridge:
    """At `(x_t, t)`, x_t on the bridge between x and cond["image"], the network should have said x.

    The level t, uniform in (0, 1), IS GIVEN IN THE PLACE OF SIGMA; the parametrisation is
    `diffusion.bridge.BridgeScale` and the sampler `diffusion.bridge.Bridge`, each with the same `bridge`. With a
    squared loss the network learns E[x | x_t, y]. The weight is 1, ResShift's; I2SB's, of the answer in units of
    sqrt(V(t)), is 1 / V(t).

    Reference: Yue et al. 2023 (ResShift), section 2; Liu et al. 2023 (I2SB), algorithm 1.
    """

    bridge: Process

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        del net, state
        if "image" not in obs.cond:
            raise ValueError(
                'targets.bridge.Bridge needs cond["image"], the observation on the grid of x: its far end.'
            )
        key_time, key_noise = split(key)
        keys = each(key_time, x.shape[0])
        t = jax.vmap(lambda one: jax.random.uniform(one, dtype=x.dtype, minval=1e-6))(keys)
        x_t = self.bridge.sample(key_noise, x, obs.cond["image"], t)
        return Supervision(inputs=(x_t, t), target=x, weight=jnp.ones(x.shape[0]))


EXAMPLES = (
    {"name": "targets.bridge.Bridge", "bridge": {"name": "diffusion.bridge.I2sb"}},
    {"name": "targets.bridge.Bridge", "bridge": {"name": "diffusion.bridge.ResidualShift", "kappa": 0.3}},
)
