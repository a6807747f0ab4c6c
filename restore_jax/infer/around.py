"""What every combinator passes on of the restorer that it stands around."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Observation, Restorer
from restore_jax.methods.regression import lift


def is_local(restorer: Any) -> bool:
    """Whether a pixel of x_hat sees `halo_px` and no further, as far as the restorer or its net says."""
    net = getattr(getattr(restorer, "method", None), "net", None)
    return bool(getattr(restorer, "local", getattr(net, "local", True)))


@dataclass(frozen=True, eq=False)  # compared by identity, so that jax.jit takes it as it is
class Around:
    """A restorer inside another: scale, draws and what tiles ask for are those of `restorer`."""

    restorer: Restorer

    @property
    def scale(self) -> int:
        """Pixels of x_hat a side for one of y."""
        return self.restorer.scale

    @property
    def draws(self) -> int:
        """Noise images a restoration."""
        return self.restorer.draws

    @property
    def factor(self) -> int:
        """Tiles start on multiples of this many pixels of x."""
        return getattr(self.restorer, "factor", 1)

    @property
    def halo_px(self) -> int:
        """How far a pixel of x_hat sees, in pixels of x."""
        return getattr(self.restorer, "halo_px", 0)

    @property
    def local(self) -> bool:
        """Whether it sees no further than that."""
        return is_local(self.restorer)

    def input_of(self, obs: Observation) -> Float[Array, "*b h w c"]:
        """The input at the size of the answer: y itself, or enlarged by cubic resampling."""
        y = jnp.asarray(obs.y)
        return y if self.scale == 1 else lift(Observation(y=y), self.scale).cond["image"]
