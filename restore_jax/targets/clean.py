"""Supervised regression: the answer is the photograph."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Net, Observation, Supervision, TrainState


@dataclass(frozen=True)
class Clean:
    """At `(cond["image"], 0)` the network should have said x: with a squared loss it learns E[x | y]."""

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        del key, net, state
        return Supervision(inputs=(obs.cond["image"], jnp.zeros(x.shape[0])), target=x, weight=jnp.ones(x.shape[0]))


EXAMPLES = ({"name": "targets.clean.Clean"},)
