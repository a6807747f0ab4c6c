"""Bridges: processes that lead from a photograph x, at level 0, to what was observed of it, y, at level 1.

HERE A LEVEL IS A TIME t IN [0, 1] AND NO SIGMA: wherever a Denoiser or a network takes `sigma`, a bridge gives it t.
x_t is not x plus noise but a mixture of x and y = cond["image"], plus noise:

    x_t = x + w(t) (y - x) + std(t) n,     w = V(t) / V(1)

with V the variance that the process has gathered by time t. Two bridges differ in V, and in whether the noise is gone
at the end (`pinned`):

                      V(t)                    std(t)^2
    ResidualShift     kappa^2 eta(t)          V(t)                           y + kappa n at t = 1
    I2sb              integral of beta        V(t) (V(1) - V(t)) / V(1)      y itself at t = 1

Both have the reverse kernel of a Brownian motion with clock V, from level s down to t, given x (r = V(t) / V(s)):

    q(x_t | x_s, x) = N(r x_s + (1 - r) x,  r (V(s) - V(t)))

which does not see y, and which put after the marginal at s gives the marginal at t exactly.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Denoiser, Keys, Observation, normal, per_image
from restore_jax.diffusion.precondition import NetInputs
from restore_jax.diffusion.sampler import noise_images, start_mean

Time = Float[Array, "*#b"]


@runtime_checkable
class Process(Protocol):
    """A bridge: what a target, a sampler and a parametrisation need to know of it."""

    @property
    def pinned(self) -> bool:
        """Whether it ends in y itself, without noise."""
        ...

    def mean_weight(self, t: Time) -> Time:
        """`w(t)`, the weight of y."""
        ...

    def std(self, t: Time) -> Time:
        """The deviation of the noise at t."""
        ...

    def sample(self, key: Keys, x: Array, y: Array, t: Time) -> Array:
        """`x_t` given both ends."""
        ...

    def posterior(self, x_hat: Array, x: Array, s: Time, t: Time) -> tuple[Array, Time]:
        """Mean and deviation of `q(x_t | x_s, x_hat)`."""
        ...


@dataclass(frozen=True)
class _Clock:
    """What both bridges say in terms of V."""

    def variance(self, t: Time) -> Time:
        """`V(t)`, rising from 0."""
        raise TypeError(f"{type(self).__name__} does not define variance, which a bridge must have.")

    def std(self, t: Time) -> Time:
        """The deviation of the noise at t."""
        raise TypeError(f"{type(self).__name__} does not define std, which a bridge must have.")

    def mean_weight(self, t: Time) -> Time:
        """`w(t) = V(t) / V(1)`, the weight of y."""
        return self.variance(t) / self.variance(jnp.ones_like(t))

    def sample(
        self, key: Keys, x: Float[Array, "*b h w c"], y: Float[Array, "*b h w c"], t: Float[Array, "*#b"]
    ) -> Float[Array, "*b h w c"]:
        """`x + w(t) (y - x) + std(t) n`."""
        noise = normal(key, x.shape, x.dtype)
        return x + per_image(self.mean_weight(t), x) * (y - x) + per_image(self.std(t), x) * noise

    def posterior(
        self, x_hat: Float[Array, "*b h w c"], x: Float[Array, "*b h w c"], s: Time, t: Time
    ) -> tuple[Float[Array, "*b h w c"], Time]:
        """Mean `r x + (1 - r) x_hat` and deviation `sqrt(r (V(s) - V(t)))` of `q(x_t | x_s = x, x_hat)`, t < s."""
        here, there = self.variance(s), self.variance(t)
        ratio = there / here
        mean = per_image(ratio, x) * x + per_image(1.0 - ratio, x) * x_hat
        return mean, jnp.sqrt(ratio * (here - there))


@dataclass(frozen=True)
class ResidualShift(_Clock):
    """`x_t = x + eta(t) (y - x) + kappa sqrt(eta(t)) n`: the residual comes in, and noise with it; the end is noisy.

        eta(t) = (growth^(t^power) - 1) / (growth - 1)

    which is the paper's geometric growth, from 1 / growth to 1, moved so that t = 0 is x itself: by 1 / growth at most.
    `kappa` is in units of x.

    Reference: Yue et al. 2023 (ResShift), section 2.
    """

    kappa: float = 0.5
    growth: float = 1000.0
    power: float = 0.3

    pinned = False

    def __post_init__(self) -> None:
        if self.kappa <= 0:
            raise ValueError(
                f"ResidualShift.kappa must be above 0, not {self.kappa}; the process without noise is I2sb's."
            )
        if self.growth <= 1:
            raise ValueError(f"ResidualShift.growth must be above 1, not {self.growth}.")
        if self.power <= 0:
            raise ValueError(f"ResidualShift.power must be above 0, not {self.power}.")

    def variance(self, t: Time) -> Time:
        """`kappa^2 eta(t)`."""
        return self.kappa**2 * jnp.expm1(math.log(self.growth) * t**self.power) / (self.growth - 1.0)

    def std(self, t: Time) -> Time:
        """`kappa sqrt(eta(t))`."""
        return jnp.sqrt(self.variance(t))


@dataclass(frozen=True)
class I2sb(_Clock):
    """`x_t ~ N((1 - w) x + w y, V w (1 - w))`, V = V(1): a Brownian bridge, exactly y at its end.

        sqrt(beta(t)) = sqrt(beta_min) + (sqrt(beta_max) - sqrt(beta_min)) min(2 t, 2 - 2 t),   V(t) = its integral

    symmetric about t = 1/2. `beta_min` and `beta_max` are variances a unit of time in units of x squared; the defaults
    are the paper's 0.1 and 0.3 for pixels in [-1, 1]. The larger they are, the more the samples of one y vary; scaled
    down to 0 together, the bridge is the straight line (1 - w) x + w y, the paper's optimal transport.

    Reference: Liu et al. 2023, "I2SB: Image-to-image Schroedinger bridge", propositions 3.3 and 3.4.
    """

    beta_min: float = 0.025
    beta_max: float = 0.075

    pinned = True

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max:
            values = f"{self.beta_min} and {self.beta_max}"
            raise ValueError(f"I2sb.beta_min and I2sb.beta_max must be above 0 and in this order, not {values}.")

    def variance(self, t: Time) -> Time:
        """The integral of beta from 0 to t."""
        a, rise = self.beta_min**0.5, 2.0 * (self.beta_max**0.5 - self.beta_min**0.5)

        def early(t: Time) -> Time:
            return a**2 * t + a * rise * t**2 + rise**2 * t**3 / 3.0

        half = early(jnp.full_like(t, 0.5))
        return jnp.where(t <= 0.5, early(jnp.minimum(t, 0.5)), 2.0 * half - early(jnp.minimum(1.0 - t, 0.5)))

    def std(self, t: Time) -> Time:
        """`sqrt(V w (1 - w))`; 1 - w(t) is w(1 - t)."""
        return jnp.sqrt(self.variance(t) * self.mean_weight(1.0 - t))


@dataclass(frozen=True)
class Bridge:
    """From y down to x in `n_steps` equal steps of t: x_hat = D(x_s, s), then x_t ~ q(x_t | x_s, x_hat); the last is D.

    Its denoiser is told the level t in [0, 1] in the place of sigma. It starts from cond["image"], with the bridge's
    noise at t = 1. With `stochastic = False` each step goes to the kernel's mean: the bridge whose noise is scaled down
    to 0, a deterministic flow that wants a network trained on such a bridge. With the exact D the samples' distribution
    approaches p(x | y) as n_steps grows, at order 1. One `scan`.

    Reference: Liu et al. 2023 (I2SB), algorithm 2 and proposition 3.4; Yue et al. 2023 (ResShift), section 2.
    """

    bridge: Process
    n_steps: int = 15
    stochastic: bool = True

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise ValueError(f"Bridge.n_steps must be at least 1, not {self.n_steps}.")

    @property
    def draws(self) -> int:
        """One noise image for each stochastic step but the last, and one for a start that is noisy."""
        return int(not self.bridge.pinned) + (self.n_steps - 1) * int(self.stochastic)

    @property
    def nfe(self) -> int:
        """One evaluation a step."""
        return self.n_steps

    def __call__(self, key: Keys, denoise: Denoiser, obs: Observation) -> Float[Array, "*b h w c"]:
        """A sample for each observation."""
        x = start_mean("image", obs)
        noise = noise_images(key, obs, self.draws)
        times = jnp.linspace(1.0, 0.0, self.n_steps + 1, dtype=x.dtype)
        if not self.bridge.pinned:
            x = x + self.bridge.std(times[0]) * noise.pop(0)
        fresh = jnp.stack(noise) if noise else None

        def move(x: Array, given: tuple[Array, Array, Array | None]) -> tuple[Array, None]:
            s, t, n = given
            mean, std = self.bridge.posterior(denoise(x, s), x, s, t)
            return mean if n is None else mean + std * n, None

        x, _ = jax.lax.scan(move, x, (times[:-2], times[1:-1], fresh))
        return denoise(x, times[-2])


@dataclass(frozen=True)
class BridgeScale:
    """`D = x_t + c_out(t) F(x_t - 1/2, t)`, c_out^2 = (w(t) residual)^2 + std(t)^2: a parametrisation for a bridge.

    x_t - x = w (y - x) + std n has deviation c_out where y - x has deviation `residual`, so that the network's output
    has unit variance at every level; D = x_t at t = 0. `sees` names the conditions shown beside the input, zeros in the
    place of those that an observation lacks, as in `diffusion.precondition`.
    """

    bridge: Process
    residual: float = 0.1
    sees: tuple[str, ...] = ("image",)

    def __post_init__(self) -> None:
        if self.residual <= 0:
            raise ValueError(f"BridgeScale.residual must be above 0, the deviation of y - x, not {self.residual}.")

    def c_out(self, t: Time) -> Float[Array, "*#b"]:
        """The deviation of x_t - x."""
        t = jnp.asarray(t)
        return jnp.sqrt((self.bridge.mean_weight(t) * self.residual) ** 2 + self.bridge.std(t) ** 2)

    def to_net(self, x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation) -> NetInputs:
        """`(x_t - 1/2, t, cond)`, t given as `sigma`."""
        told = jnp.broadcast_to(sigma, x_t.shape[:-3])
        shown = [obs.cond[name] - 0.5 if name in obs.cond else jnp.zeros_like(x_t) for name in self.sees]
        return x_t - 0.5, told, jnp.concatenate(shown, axis=-1) if shown else None

    def to_x(
        self, raw: Float[Array, "*b h w c"], x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation
    ) -> Float[Array, "*b h w c"]:
        """`x_t + c_out(t) raw`, t given as `sigma`."""
        del obs
        return x_t + per_image(self.c_out(sigma), x_t) * raw

    def from_x(
        self, x: Float[Array, "*b h w c"], x_t: Float[Array, "*b h w c"], sigma: Float[Array, "*#b"], obs: Observation
    ) -> Float[Array, "*b h w c"]:
        """`(x - x_t) / c_out(t)`, t > 0 given as `sigma`."""
        del obs
        return (x - x_t) / per_image(self.c_out(sigma), x_t)


EXAMPLES = (
    {"name": "diffusion.bridge.Bridge", "bridge": {"name": "diffusion.bridge.I2sb"}, "n_steps": 4},
    {"name": "diffusion.bridge.Bridge", "bridge": {"name": "diffusion.bridge.ResidualShift"}, "n_steps": 3},
    {"name": "diffusion.bridge.Bridge", "bridge": {"name": "diffusion.bridge.I2sb"}, "n_steps": 2, "stochastic": False},
    {"name": "diffusion.bridge.BridgeScale", "bridge": {"name": "diffusion.bridge.ResidualShift", "kappa": 0.3}},
)
