"""One degradation after another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation
from restore_jax.degrade.linear import Identity, compose


@dataclass(frozen=True)
class Chain:
    """`steps[-1](... steps[0](x))`, each step harming what the one before observed.

    Operators compose. What is known of the noise survives only where it stays white: noise that a
    later operator smears, or a second noise on top of the first, leaves `operator` and `noise_std`
    None, for there is no likelihood of the form that the samplers use.
    """

    steps: tuple[Callable[[Any, Any], Observation], ...] = ()

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("Chain.steps is empty: give at least one degradation.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "*t h w c"]) -> Observation:
        """The observation at the end of the chain."""
        keys = jax.random.split(key, len(self.steps))
        obs = Observation(y=x, operator=Identity(in_shape=x.shape))
        for one_key, step in zip(keys, self.steps):
            obs = self._after(obs, step(one_key, obs.y))
        return obs

    @staticmethod
    def _after(first: Observation, second: Observation) -> Observation:
        cond = {**first.cond, **second.cond}
        smeared = first.noise_std is not None and not (
            isinstance(second.operator, Identity) and second.noise_std is None
        )
        if first.operator is None or second.operator is None or smeared:
            return Observation(y=second.y, cond=cond)
        noise_std = second.noise_std if first.noise_std is None else first.noise_std
        return Observation(
            y=second.y, operator=compose(second.operator, first.operator), noise_std=noise_std, cond=cond
        )


_BLUR = {"name": "degrade.blur.GaussianBlur", "std": 1.0}
_SMALL = {"name": "degrade.downsample.Downsample", "scale": 2}
_NOISE = {"name": "degrade.noise.Gaussian", "std": 25 / 255}
_HOLES = {"name": "degrade.mask.RandomPixels", "keep": 0.5}

EXAMPLES = (
    {"name": "degrade.chain.Chain", "steps": (_BLUR, _SMALL, _NOISE)},
    {"name": "degrade.chain.Chain", "steps": (_BLUR, _HOLES)},
    {"name": "degrade.chain.Chain", "steps": (_NOISE, _BLUR)},
)
