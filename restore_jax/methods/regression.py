"""Regress on a target: supervised nets, diffusion teachers and consistency students alike.

    loss = mean over the batch of  weight * metric(net(params, x_t, sigma, obs), target)

with (x_t, sigma), target and weight from the Target. What is learned restores through a Sampler.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import (
    Denoiser,
    Guidance,
    Keys,
    Metric,
    Net,
    Observation,
    PyTree,
    Restorer,
    Sampler,
    Target,
    TrainState,
    normal,
    split,
)
from restore_jax.nets.layers import pad_to_multiple
from restore_jax.ops.resize import resize


def lift(obs: Observation, scale: int) -> Observation:
    """The observation with cond["image"]: y brought to the grid of x, `scale` times as large, by cubic resampling."""
    h, w = obs.y.shape[-3:-1]
    image = obs.y if scale == 1 else resize(obs.y, h * scale, w * scale)
    return obs.with_cond(image=image)


@dataclass(frozen=True)
class Regression:
    """A network, what it should have said, how far off it was, and how it restores.

    `net` is a linen module called as `net(x, c_noise, cond)`; `precondition` stands between it and
    pictures; `scale` is the size of x over the size of y.
    """

    net: nn.Module
    precondition: Any
    target: Target
    metric: Metric
    sampler: Sampler
    scale: int = 1
    guidance: tuple[Guidance, ...] = ()

    def evaluate(
        self, params: PyTree, x_t: Float[Array, "b h w c"], sigma: Float[Array, "*b"], obs: Observation
    ) -> Float[Array, "b h w c"]:
        """The network's estimate of x, preconditioning included; `obs` must be lifted."""
        raw = self.net.apply({"params": params}, *self.precondition.to_net(x_t, sigma, obs))
        return self.precondition.to_x(raw, x_t, sigma, obs)

    def init(self, key: Key[Array, ""], obs: Observation, x: Float[Array, "b h w c"]) -> PyTree:
        """Fresh parameters."""
        obs = lift(obs, self.scale)
        return self.net.init(key, *self.precondition.to_net(x, jnp.ones(x.shape[0]), obs))["params"]

    def loss(
        self, params: PyTree, state: TrainState, obs: Observation, x: Float[Array, "b h w c"], key: Keys
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The weighted distance to the target, and its unweighted self to log."""
        obs = lift(obs, self.scale)
        said = jax.lax.stop_gradient(self.target(key, self.evaluate, state, obs, x))
        asked = obs.with_cond(**said.cond)
        distance = self.metric(self.evaluate(params, *said.inputs, asked), said.target)
        return jnp.mean(said.weight * distance), {"distance": jnp.mean(distance)}

    def denoiser(self, params: PyTree, obs: Observation) -> Denoiser:
        """The network with parameters and condition bound, guided; `obs` must be lifted."""
        denoise: Denoiser = Bound(self.evaluate, params, obs)
        for guide in self.guidance:
            denoise = guide(denoise, obs)
        return denoise

    def restorer(self, params: PyTree, sampler: Sampler | None = None) -> Restorer:
        """What was learned, restoring through its own sampler or another."""
        return Sampled(self, params, sampler or self.sampler)


@dataclass(frozen=True, eq=False)
class Bound:
    """The denoiser `net(params, x_t, sigma, obs)` of one observation, which can be asked under other conditions too."""

    net: Net
    params: PyTree
    obs: Observation

    def __call__(self, x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"]) -> Float[Array, "*b h w c"]:
        """`x_hat`."""
        return self.net(self.params, x_t, sigma, self.obs)

    def given(self, **cond: Any) -> "Bound":
        """The same with `cond` in place of the observation's own; None removes one."""
        return dataclasses.replace(self, obs=self.obs.with_cond(**cond))


@dataclass(frozen=True, eq=False)  # compared by identity, so that jax.jit takes it as it is
class Sampled:
    """The restorer `sampler(key, denoiser(params, obs), obs)`.

    y is continued by its mirror image until the network's `factor` divides the size of x, and x_hat is
    cropped back: what a network sees beyond the border is a matter of the restorer alone, so that
    a tile at the border sees the same. Noise that `obs` does not fix is drawn at the size of x, with
    the first of the two keys that `key` splits into.
    """

    method: Regression
    params: PyTree
    sampler: Sampler

    @property
    def scale(self) -> int:
        """Pixels of x_hat a side for one of y."""
        return self.method.scale

    @property
    def draws(self) -> int:
        """Noise images a restoration."""
        return self.sampler.draws

    @property
    def nfe(self) -> int:
        """Evaluations of the network a restoration."""
        return self.sampler.nfe

    @property
    def factor(self) -> int:
        """Tiles start on multiples of this many pixels of x."""
        return self.method.net.factor

    @property
    def halo_px(self) -> int:
        """How far a pixel of x_hat sees, in pixels of x: the network once an evaluation, and the lift."""
        return self.method.net.receptive_px * self.nfe + (0 if self.scale == 1 else 3 * self.scale)

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "b h w c"]:
        """The restored batch; not clipped."""
        b, h, w, c = obs.y.shape
        key_noise, key_sampler = split(key)
        unit = math.lcm(self.factor, self.scale)
        y, _ = pad_to_multiple(jnp.asarray(obs.y), unit // self.scale)
        obs = dataclasses.replace(obs, y=y)
        if self.draws:
            noise = obs.cond.get("noise")
            if noise is None:
                noise = normal(key_noise, (b, h * self.scale, w * self.scale, self.draws * c))
            obs = obs.with_cond(noise=pad_to_multiple(jnp.asarray(noise), unit)[0])
        obs = lift(obs, self.scale)
        x_hat = self.sampler(key_sampler, self.method.denoiser(self.params, obs), obs)
        return x_hat[:, : h * self.scale, : w * self.scale]


@dataclass(frozen=True)
class Cubic:
    """The restorer that only resamples: `cond["image"]` itself, the baseline of every table."""

    scale: int = 1
    draws = 0
    nfe = 0
    factor = 1

    @property
    def halo_px(self) -> int:
        """The reach of the cubic kernel."""
        return 3 * self.scale

    def __call__(self, key: Keys, obs: Observation) -> Float[Array, "b h w c"]:
        """y on the grid of x."""
        del key
        return lift(obs, self.scale).cond["image"]
