"""Which noise levels: grids to sample on, distributions to train on. Sigma is in units of x."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys


@dataclass(frozen=True)
class Karras:
    """`sigma(t) = (t sigma_max^(1/rho) + (1 - t) sigma_min^(1/rho))^rho` for t in [0, 1]: small steps near 0.

    Reference: Karras et al. 2022 (EDM), eq. 5.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(f"Karras wants 0 < sigma_min < sigma_max, not {self.sigma_min} and {self.sigma_max}.")

    def sigma(self, t: Float[Array, "..."] | float) -> Float[Array, "..."]:
        """The noise level at time t."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return (low + jnp.asarray(t) * (high - low)) ** self.rho

    def time(self, sigma: Float[Array, "..."] | float) -> Float[Array, "..."]:
        """The inverse of `sigma`."""
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return (jnp.asarray(sigma) ** (1 / self.rho) - low) / (high - low)

    def grid(self, n: int) -> Float[Array, "{n}+1"]:
        """`n` levels from sigma_max down to sigma_min, then 0: the ends of n steps."""
        if n < 1:
            raise ValueError(f"A sampler takes at least 1 step, not {n}.")
        t = jnp.linspace(1.0, 0.0, n) if n > 1 else jnp.ones(1)
        return jnp.append(self.sigma(t), 0.0)


@dataclass(frozen=True)
class LogNormal:
    """Training levels `log sigma ~ N(mean, std^2)`: most of the effort where most is to be learned.

    Reference: Karras et al. 2022 (EDM), table 1, "noise distribution". There the pixels have a
    standard deviation of 0.5; for data of deviation sigma_data, shift `mean` by log(sigma_data / 0.5).
    """

    mean: float = -1.2
    std: float = 1.2

    def quantile(self, u: Float[Array, "*b"]) -> Float[Array, "*b"]:
        """The level below which a share `u` of the draws lie."""
        return jnp.exp(self.mean + self.std * jax.scipy.special.ndtri(u))

    def probability(self, sigma: Float[Array, "*b"]) -> Float[Array, "*b"]:
        """The inverse of `quantile`: the share of draws below `sigma`."""
        return jax.scipy.special.ndtr((jnp.log(sigma) - self.mean) / self.std)

    def __call__(self, key: Keys, n: int) -> Float[Array, "{n}"]:
        """`n` draws; a key for each draw is used one by one."""
        keys = key if key.ndim else jax.random.split(key, n)
        u = jax.vmap(lambda one: jax.random.uniform(one, minval=1e-6, maxval=1 - 1e-6))(keys)
        return self.quantile(u)
