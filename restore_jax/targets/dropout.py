"""Conditions left out now and then, so that one network learns to do with them and without."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Net, Observation, Supervision, Target, TrainState, each, per_image, split


@dataclass(frozen=True)
class ConditionDropout:
    """`target`, asked and answered without the conditions `drop` for a `share` of the pictures.

    Left out is made grey, 1/2, which is what a parametrisation shows its network where a condition is missing: what
    `guidance.ClassifierFree` asks later.

    Reference: Ho & Salimans 2022, "Classifier-free diffusion guidance", algorithm 1.
    """

    target: Target
    share: float = 0.1
    drop: tuple[str, ...] = ("image",)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"ConditionDropout.share lies in [0, 1], not {self.share}.")

    def __call__(
        self, key: Keys, net: Net, state: TrainState, obs: Observation, x: Float[Array, "b h w c"]
    ) -> Supervision:
        """The supervision of one batch."""
        key_drop, key_target = split(key)
        keys = each(key_drop, x.shape[0])
        kept = jax.vmap(lambda one: jax.random.bernoulli(one, 1.0 - self.share))(keys)
        seen = {name: jnp.where(per_image(kept, obs.cond[name]) > 0, obs.cond[name], 0.5) for name in self.drop}
        said = self.target(key_target, net, state, obs.with_cond(**seen), x)
        return replace(said, cond={**seen, **said.cond})


EXAMPLES = ({"name": "targets.dropout.ConditionDropout", "target": {"name": "targets.denoise.Denoise"}, "share": 0.5},)
