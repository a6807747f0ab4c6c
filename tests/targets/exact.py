"""The exact flow map of the Gaussian world, for targets and samplers to be held to."""

from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp

from restore_jax.core import Observation, per_image
from restore_jax.diffusion.schedule import LogNormal
from restore_jax.testing.gaussian import GaussianWorld


def flow_map(world: GaussianWorld, x, s, t):
    """The g of `jump(g, x, s, t) = world.flow(x, s, t)`, without a division by s - t: z -> z a.

    a = (r - t / s) / (1 - t / s),   r = sqrt((L + t^2) / (L + s^2)), what the flow shrinks by
      = (r^2 - t^2 / s^2) / ((1 - t / s) (r + t / s)) = L (s + t) / ((L + s^2) (s r + t))
    """
    z = (x - world.mean[None]).reshape(x.shape[0], -1) @ world.basis
    s, t, variance = per_image(s, z), per_image(t, z), world.eigenvalues[None]
    r = jnp.sqrt((variance + t**2) / (variance + s**2))
    z = z * variance * (s + t) / ((variance + s**2) * (s * r + t))
    return world.mean[None] + (z @ world.basis.T).reshape(x.shape)


def exact_net(world: GaussianWorld):
    """`net(params, x, sigma, obs)`: the flow map to cond["until"]; without one, the denoiser."""
    return lambda _, x, sigma, obs: flow_map(world, x, sigma, obs.cond.get("until", sigma))


@dataclass(frozen=True)
class Asked:
    """A Conditional denoiser of a net."""

    net: Any
    obs: Observation

    def __call__(self, x_t, sigma):
        return self.net({}, x_t, sigma, self.obs)

    def given(self, **cond):
        return replace(self, obs=self.obs.with_cond(**cond))


@dataclass(frozen=True)
class Few(LogNormal):
    """Levels from a handful, each as often, so that means given the level can be taken."""

    levels: tuple[float, ...] = (0.1, 0.3, 0.8)

    def quantile(self, u):
        return jnp.asarray(self.levels)[jnp.floor(u * len(self.levels)).astype(jnp.int32)]
