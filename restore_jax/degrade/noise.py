"""Noise. Nothing is clipped: an observation may leave [0, 1], as a sensor's does."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation
from restore_jax.degrade.linear import Identity
from restore_jax.degrade.parameter import Parameter, check, draw


@dataclass(frozen=True)
class Gaussian:
    """`y = x + std n`, white; `std` in units of x (25/255 is the literature's "sigma 25")."""

    std: Parameter = 25 / 255

    def __post_init__(self) -> None:
        check(self, "std", 0.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The noisy picture, and the `std` that was drawn."""
        key_std, key_noise = jax.random.split(key)
        std = draw(key_std, self.std).astype(x.dtype)
        noise = jax.random.normal(key_noise, x.shape, x.dtype)
        return Observation(y=x + std * noise, operator=Identity(in_shape=x.shape), noise_std=std)


@dataclass(frozen=True)
class PoissonGaussian:
    """`y = shot Poisson(x / shot) + read n`: variance `shot x + read^2`, the noise of a linear sensor.

    `shot` is the gain, in units of x for one electron; 0 leaves the read noise alone. The gradient
    with respect to x is that of the mean, 1. Below 0, where there is no light, x counts as 0 in the
    variance.

    Reference: Foi et al. 2008, "Practical Poissonian-Gaussian noise modeling and fitting for
    single-image raw-data", eq. 1-3.
    """

    shot: Parameter = 0.01
    read: Parameter = 0.02

    def __post_init__(self) -> None:
        check(self, "shot", 0.0)
        check(self, "read", 0.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The noisy picture; `noise_std [h, w, c]` is what a restorer can know, estimated from y."""
        key_shot, key_read, key_count, key_noise = jax.random.split(key, 4)
        shot, read = draw(key_shot, self.shot).astype(x.dtype), draw(key_read, self.read).astype(x.dtype)
        gain = jnp.maximum(shot, 1e-6)  # a million electrons to white: shot noise of 0.001, below any sensor's
        light = jax.lax.stop_gradient(jnp.maximum(x, 0.0))
        electrons = jax.random.poisson(key_count, light / gain).astype(x.dtype)
        shot_noise = jnp.where(shot > 0, gain * electrons - light, 0.0)
        y = x + shot_noise + read * jax.random.normal(key_noise, x.shape, x.dtype)
        std = jnp.sqrt(shot * jnp.maximum(y, 0.0) + read**2)
        return Observation(y=y, operator=Identity(in_shape=x.shape), noise_std=jax.lax.stop_gradient(std))


EXAMPLES = (
    {"name": "degrade.noise.Gaussian", "std": 0.1},
    {"name": "degrade.noise.Gaussian", "std": (0.0, 0.2)},
    {"name": "degrade.noise.PoissonGaussian", "shot": 0.01, "read": 0.02},
    {"name": "degrade.noise.PoissonGaussian", "shot": (0.0, 0.02), "read": (0.0, 0.05)},
)
