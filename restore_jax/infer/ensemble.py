"""Self-ensemble: the mean of what a restorer says of a picture and of its seven turned and mirrored selves."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation, split
from restore_jax.infer.around import Around


def turn(x: Float[Array, "*b h w c"], g: tuple[int, bool]) -> Float[Array, "*b p q c"]:
    """The symmetry `g`: columns in reverse if its second is True, then quarter turns, as many as its first."""
    turns, flip = g
    return jnp.rot90(jnp.flip(x, -2) if flip else x, turns, axes=(-3, -2))


def turn_back(x: Float[Array, "*b p q c"], g: tuple[int, bool]) -> Float[Array, "*b h w c"]:
    """The inverse of `turn`."""
    turns, flip = g
    x = jnp.rot90(x, -turns, axes=(-3, -2))
    return jnp.flip(x, -2) if flip else x


@dataclass(frozen=True, eq=False)
class Ensemble(Around):
    """`mean_g g^-1 restorer(g y)` over the eight symmetries g of the square, one after the other.

    The answer turns with the picture, exactly: terms are added along the chain of subgroups 1 < 2 half turns < 4
    quarter turns < 8, so that a turned picture adds the same numbers in the same pairs, and no bit differs (where the
    restorer computes alike whatever stands beside it). Eight times the cost; commonly 0.05 to 0.2 dB.

    A random restorer draws independently for each g, from cond["noise"] the g-th `restorer.draws` images of it. Arrays
    of cond on the grid of x are turned with y.

    Reference: Lim et al. 2017, "Enhanced deep residual networks" (EDSR), section 3.3 (geometric self-ensemble).

    Raises:
        ValueError: the observation has an operator, which speaks of the picture as it stands.
    """

    @property
    def draws(self) -> int:
        """Eight times the restorer's."""
        return 8 * self.restorer.draws

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w c"]:
        """The mean."""
        if obs.operator is not None:
            raise ValueError(
                "Ensemble.restorer is to be one that needs no operator: that of the observation is not turned."
            )
        h, w = obs.y.shape[-3] * self.scale, obs.y.shape[-2] * self.scale
        keys, noise = split(key, 8), obs.cond.get("noise")
        dealt = None if noise is None or not self.restorer.draws else jnp.split(jnp.asarray(noise), 8, axis=-1)

        def term(turns: int, flip: bool) -> Array:
            g, i = (turns, flip), turns + 4 * flip
            cond: dict[str, Any] = dict(obs.cond)
            if dealt is not None:
                cond["noise"] = dealt[i]
            on_grid = lambda a: jnp.ndim(a) >= 3 and a.shape[-3:-1] == (h, w)  # noqa: E731
            cond = {name: turn(jnp.asarray(a), g) if on_grid(a) else a for name, a in cond.items()}
            turned = dataclasses.replace(obs, y=turn(jnp.asarray(obs.y), g), cond=cond)
            return turn_back(jnp.asarray(self.restorer(keys[i], turned)), g)

        def half_turns(turns: int, flip: bool) -> Array:
            return term(turns, flip) + term(turns + 2, flip)

        def quarter_turns(flip: bool) -> Array:
            return half_turns(0, flip) + half_turns(1, flip)

        return (quarter_turns(False) + quarter_turns(True)) / 8
