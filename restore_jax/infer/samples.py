"""Several samples of one posterior: their mean, and a map of where they disagree."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, Observation, Restorer, split


@dataclass(frozen=True, eq=False)  # compared by identity, so that jax.jit takes it as it is
class Samples:
    """The restorer that answers the mean of `k` restorations; `mean_and_spread` also gives their standard deviation.

        x_hat = mean_i restorer(key_i, obs)         spread = sqrt(sum_i (x_i - x_hat)^2 / (k - 1))

    The mean of samples is the better estimate (its squared error is (1 + 1/k) / 2 of a sample's, for exact samples);
    the spread is large where the picture is a guess. One after the other, so that memory does not grow with k; with
    cond["noise"], sample i takes the i-th `restorer.draws` images of it.

    Raises:
        ValueError: k is below 2.
    """

    restorer: Restorer
    k: int = 4

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"Samples.k must be at least 2, not {self.k}: one sample has no spread.")

    @property
    def scale(self) -> int:
        """That of the restorer."""
        return self.restorer.scale

    @property
    def draws(self) -> int:
        """k times the restorer's."""
        return self.k * self.restorer.draws

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "*b h w c"]:
        """The mean."""
        return self.mean_and_spread(key, obs)[0]

    def mean_and_spread(self, key: Keys, obs: Observation) -> tuple[Float[Array, "*b h w c"], Float[Array, "*b h w c"]]:
        """The mean and, pixel by pixel and channel by channel, the standard deviation."""
        keys = split(key, self.k)
        noise = obs.cond.get("noise")
        given = None if noise is None else jnp.stack(jnp.split(noise, self.k, axis=-1))

        def restored(i: Array | int) -> Array:
            one = obs if given is None else obs.with_cond(noise=given[i])
            return self.restorer(keys[i], one)

        def add(sums: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
            mean, squares = sums
            x_hat = restored(i)
            off = x_hat - mean
            mean = mean + off / (i + 1)
            return (mean, squares + off * (x_hat - mean)), None

        first = restored(0)
        (mean, squares), _ = jax.lax.scan(add, (first, jnp.zeros_like(first)), jnp.arange(1, self.k))
        return mean, jnp.sqrt(squares / (self.k - 1))
