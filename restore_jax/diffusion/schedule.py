"""Which noise levels: schedules to sample on, distributions to train on. Sigma is in units of x.

A schedule is an invertible pair, `sigma(t)` and `time(sigma)`, rising from sigma_min at t = 0 to sigma_max at t = 1,
and a `grid(n)` to sample on. Papers write each in a time tau of their own process; here t runs evenly over that part
of tau which lies between the two levels:

                          sigma / d                                       tau
    Karras                tau^rho                                         (units of x, no d)
    VarianceExploding     exp(tau)                                        (units of x, no d)
    VariancePreserving    sqrt(exp(int_0^tau beta) - 1)                   t_min to 1
    Cosine                sqrt(1 / alpha_bar(tau) - 1)                    0 to 1
    Straight              shift tau / (1 - tau)                           0 to 1
    Angle                 tan(tau)                                        0 to pi / 2

with d = sigma_data, the deviation of the data that the process is normalised by, as in precondition.py; the papers'
own numbers are those of d = 1.

A distribution draws training levels through its `quantile`, whose inverse is `probability`.
"""

import abc
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from restore_jax.core import Keys, each

Number = Float[Array, "..."] | float


class Schedule(abc.ABC):
    """Levels in time, there and back: t runs evenly over the tau between sigma_min and sigma_max."""

    sigma_min: float
    sigma_max: float

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(
                f"{type(self).__name__} wants 0 < sigma_min < sigma_max, not {self.sigma_min} and {self.sigma_max}."
            )

    @abc.abstractmethod
    def _level(self, tau: Array) -> Array: ...

    @abc.abstractmethod
    def _tau(self, sigma: Array) -> Array: ...

    def sigma(self, t: Number) -> Float[Array, "..."]:
        """The noise level at time t in [0, 1]."""
        low, high = self._tau(jnp.asarray(self.sigma_min)), self._tau(jnp.asarray(self.sigma_max))
        return self._level(low + jnp.asarray(t) * (high - low))

    def time(self, sigma: Number) -> Float[Array, "..."]:
        """The inverse of `sigma`."""
        low, high = self._tau(jnp.asarray(self.sigma_min)), self._tau(jnp.asarray(self.sigma_max))
        return (self._tau(jnp.asarray(sigma)) - low) / (high - low)

    def grid(self, n: int) -> Float[Array, "{n}+1"]:
        """`n` levels from sigma_max down to sigma_min, evenly in t, then 0: the ends of n steps."""
        if n < 1:
            raise ValueError(f"A sampler takes at least 1 step, not {n}.")
        t = jnp.linspace(1.0, 0.0, n) if n > 1 else jnp.ones(1)
        return jnp.append(self.sigma(t), 0.0)


def _check_above_zero(thing: object, *names: str) -> None:
    for name in names:
        value = getattr(thing, name)
        if not 0 < value < math.inf:
            raise ValueError(f"{type(thing).__name__}.{name} must be above 0 and finite, not {value}.")


@dataclass(frozen=True)
class Karras(Schedule):
    """`sigma(t) = (t sigma_max^(1/rho) + (1 - t) sigma_min^(1/rho))^rho` for t in [0, 1]: small steps near 0.

    Reference: Karras et al. 2022 (EDM), eq. 5.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_above_zero(self, "rho")

    def _level(self, tau: Array) -> Array:
        return tau**self.rho

    def _tau(self, sigma: Array) -> Array:
        return sigma ** (1 / self.rho)


@dataclass(frozen=True)
class VarianceExploding(Schedule):
    """`sigma(t) = sigma_min (sigma_max / sigma_min)^t`: levels in geometric steps.

    Reference: Song et al. 2021, "Score-based generative modeling through stochastic differential equations", eq. 30.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def _level(self, tau: Array) -> Array:
        return jnp.exp(tau)

    def _tau(self, sigma: Array) -> Array:
        return jnp.log(sigma)


@dataclass(frozen=True)
class VariancePreserving(Schedule):
    """`sigma = d sqrt(exp(int_0^tau beta) - 1)` with beta(tau) linear from `beta_min` to `beta_max`, tau in [t_min, 1].

    DDPM's linear schedule in continuous time: `x_t / sqrt(1 + sigma^2 / d^2)` keeps the variance of the data.

    Reference: Song et al. 2021, "Score-based generative modeling through stochastic differential equations", eq. 32-33;
    Karras et al. 2022 (EDM), table 1, where beta_d = beta_max - beta_min = 19.9 and epsilon_s = t_min.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    sigma_data: float = 0.25
    t_min: float = 1e-3

    def __post_init__(self) -> None:
        _check_above_zero(self, "beta_min", "beta_max", "sigma_data", "t_min")
        if not self.beta_min <= self.beta_max:
            raise ValueError(f"VariancePreserving wants beta_min <= beta_max, not {self.beta_min} and {self.beta_max}.")
        if not self.t_min < 1:
            raise ValueError(f"VariancePreserving.t_min must lie between 0 and 1, not {self.t_min}.")

    @property
    def sigma_min(self) -> float:
        """The level at t_min."""
        return self.sigma_data * math.sqrt(math.expm1(self._integral(self.t_min)))

    @property
    def sigma_max(self) -> float:
        """The level at tau = 1."""
        return self.sigma_data * math.sqrt(math.expm1(self._integral(1.0)))

    def _integral(self, tau: Any) -> Any:
        return self.beta_min * tau + 0.5 * (self.beta_max - self.beta_min) * tau**2

    def _level(self, tau: Array) -> Array:
        return self.sigma_data * jnp.sqrt(jnp.expm1(self._integral(tau)))

    def _tau(self, sigma: Array) -> Array:
        integral = jnp.log1p((sigma / self.sigma_data) ** 2)
        # The root of that quadratic, written without the difference of two equal numbers near 0.
        root = jnp.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * integral)
        return 2 * integral / (self.beta_min + root)


@dataclass(frozen=True)
class Cosine(Schedule):
    """`sigma = d sqrt(1 / alpha_bar - 1)` with `alpha_bar = cos(a)^2 / cos(a_0)^2`: slow at both ends.

    `a = (tau + offset) / (1 + offset) pi / 2`, which is a_0 at tau = 0. At tau = 1 nothing is left of x and sigma is
    infinite: t = 1 is sigma_max.

    Reference: Nichol and Dhariwal 2021, "Improved denoising diffusion probabilistic models", eq. 17.
    """

    sigma_data: float = 0.25
    offset: float = 0.008
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_above_zero(self, "sigma_data", "offset")

    @property
    def _first(self) -> float:
        return self.offset / (1 + self.offset) * math.pi / 2

    def _level(self, tau: Array) -> Array:
        angle = (tau + self.offset) / (1 + self.offset) * (math.pi / 2)
        # cos(a_0)^2 - cos(a)^2 = sin(a - a_0) sin(a + a_0), which keeps its digits where a is near a_0
        difference = jnp.sin(angle - self._first) * jnp.sin(angle + self._first)
        return self.sigma_data * jnp.sqrt(difference) / jnp.cos(angle)

    def _tau(self, sigma: Array) -> Array:
        # from (sigma / d)^2 = cos(a_0)^2 tan(a)^2 - sin(a_0)^2
        tangent = jnp.sqrt((sigma / self.sigma_data) ** 2 + math.sin(self._first) ** 2) / math.cos(self._first)
        return jnp.arctan(tangent) / (math.pi / 2) * (1 + self.offset) - self.offset


@dataclass(frozen=True)
class Straight(Schedule):
    """`sigma = d shift tau / (1 - tau)`: evenly along the straight lines `(1 - tau) z_0 + tau n` of flow matching.

    A `shift` above 1 spends more steps at high noise, as larger pictures need; it is Esser et al.'s
    `tau -> shift tau / (1 + (shift - 1) tau)`. At tau = 1 sigma is infinite: t = 1 is sigma_max.

    Reference: Lipman et al. 2023, "Flow matching for generative modeling", eq. 22 (from the other end);
    Esser et al. 2024, "Scaling rectified flow transformers for high-resolution image synthesis", eq. 23.
    """

    sigma_data: float = 0.25
    shift: float = 1.0
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_above_zero(self, "sigma_data", "shift")

    def _level(self, tau: Array) -> Array:
        return self.sigma_data * self.shift * tau / (1 - tau)

    def _tau(self, sigma: Array) -> Array:
        return sigma / (sigma + self.sigma_data * self.shift)


@dataclass(frozen=True)
class Angle(Schedule):
    """`sigma = d tan(tau)`: evenly along the arcs `cos(tau) z_0 + sin(tau) n` of TrigFlow.

    Reference: Lu and Song 2024, "Simplifying, stabilizing and scaling continuous-time consistency models", section 3.
    """

    sigma_data: float = 0.25
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_above_zero(self, "sigma_data")

    def _level(self, tau: Array) -> Array:
        return self.sigma_data * jnp.tan(tau)

    def _tau(self, sigma: Array) -> Array:
        return jnp.arctan(sigma / self.sigma_data)


@dataclass(frozen=True)
class Levels(Schedule):
    """Levels given by hand, falling, without the 0 at their end; between them, straight lines in log sigma.

    The grid of as many steps as there are levels is these levels; any other number of steps interpolates.
    """

    sigmas: tuple[float, ...] = (80.0, 10.0, 1.0, 0.1)

    def __post_init__(self) -> None:
        falling = all(a > b for a, b in zip(self.sigmas, self.sigmas[1:]))
        if len(self.sigmas) < 2 or not falling or not 0 < self.sigmas[-1] < self.sigmas[0] < math.inf:
            raise ValueError(
                f"Levels.sigmas must be two or more levels that fall and stay above 0 (0 is added), not {self.sigmas}."
            )

    @property
    def sigma_min(self) -> float:
        """The last."""
        return self.sigmas[-1]

    @property
    def sigma_max(self) -> float:
        """The first."""
        return self.sigmas[0]

    def _level(self, tau: Array) -> Array:
        index = jnp.arange(float(len(self.sigmas)))
        return jnp.exp(jnp.interp(tau, index, jnp.log(jnp.asarray(self.sigmas[::-1]))))

    def _tau(self, sigma: Array) -> Array:
        index = jnp.arange(float(len(self.sigmas)))
        return jnp.interp(jnp.log(sigma), jnp.log(jnp.asarray(self.sigmas[::-1])), index)

    def grid(self, n: int) -> Float[Array, "{n}+1"]:
        """These levels, or n that interpolate them, then 0."""
        return jnp.asarray((*self.sigmas, 0.0)) if n == len(self.sigmas) else super().grid(n)


class _Draws(abc.ABC):
    """What distributions of training levels share: draws through the quantile."""

    @abc.abstractmethod
    def _quantile(self, u: Array) -> Array: ...

    @abc.abstractmethod
    def _share(self, sigma: Array) -> Array: ...

    def quantile(self, u: Float[Array, "*b"]) -> Float[Array, "*b"]:
        """The level below which a share `u` of the draws lie."""
        return self._quantile(u)

    def probability(self, sigma: Float[Array, "*b"]) -> Float[Array, "*b"]:
        """The inverse of `quantile`: the share of draws below `sigma`."""
        return self._share(sigma)

    def __call__(self, key: Keys, n: int) -> Float[Array, "{n}"]:
        """`n` draws; a key for each draw is used one by one."""
        keys = each(key, n)
        u = jax.vmap(lambda one: jax.random.uniform(one, minval=1e-6, maxval=1 - 1e-6))(keys)
        return self.quantile(u)


@dataclass(frozen=True)
class LogNormal(_Draws):
    """Training levels `log sigma ~ N(mean, std^2)`: most of the effort where most is to be learned.

    Reference: Karras et al. 2022 (EDM), table 1, "noise distribution". There the pixels have a
    standard deviation of 0.5; for data of deviation sigma_data, shift `mean` by log(sigma_data / 0.5).
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        _check_above_zero(self, "std")

    def _quantile(self, u: Array) -> Array:
        return jnp.exp(self.mean + self.std * jax.scipy.special.ndtri(u))

    def _share(self, sigma: Array) -> Array:
        return jax.scipy.special.ndtr((jnp.log(sigma) - self.mean) / self.std)


@dataclass(frozen=True)
class LogitNormal(_Draws):
    """Training times `logit tau ~ N(mean, std^2)` of the straight lines `(1 - tau) z_0 + tau n`, as levels.

    `sigma = d tau / (1 - tau) = d exp(logit tau)`: the same as `LogNormal(mean + log(sigma_data), std)`.

    Reference: Esser et al. 2024, "Scaling rectified flow transformers for high-resolution image synthesis", eq. 19.
    """

    mean: float = 0.0
    std: float = 1.0
    sigma_data: float = 0.25

    def __post_init__(self) -> None:
        _check_above_zero(self, "std", "sigma_data")

    def _quantile(self, u: Array) -> Array:
        return self.sigma_data * jnp.exp(self.mean + self.std * jax.scipy.special.ndtri(u))

    def _share(self, sigma: Array) -> Array:
        return jax.scipy.special.ndtr((jnp.log(sigma / self.sigma_data) - self.mean) / self.std)


@dataclass(frozen=True)
class LogUniform(_Draws):
    """Training levels with `log sigma` uniform between log(low) and log(high): every decade has its share."""

    low: float = 0.002
    high: float = 80.0

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"LogUniform wants 0 < low < high, not {self.low} and {self.high}.")

    def _quantile(self, u: Array) -> Array:
        return self.low * (self.high / self.low) ** u

    def _share(self, sigma: Array) -> Array:
        return jnp.log(sigma / self.low) / math.log(self.high / self.low)


@dataclass(frozen=True)
class InTime(_Draws):
    """Training levels `schedule.sigma(t)` with t uniform in [0, 1]: trained on as one samples."""

    schedule: Schedule = VariancePreserving()

    def _quantile(self, u: Array) -> Array:
        return self.schedule.sigma(u)

    def _share(self, sigma: Array) -> Array:
        return self.schedule.time(sigma)


SCHEDULES = (
    {"name": "diffusion.schedule.Karras"},
    {"name": "diffusion.schedule.VarianceExploding"},
    {"name": "diffusion.schedule.VariancePreserving"},
    {"name": "diffusion.schedule.Cosine"},
    {"name": "diffusion.schedule.Straight", "shift": 3.0},
    {"name": "diffusion.schedule.Angle"},
    {"name": "diffusion.schedule.Levels", "sigmas": (80.0, 4.0, 0.3)},
)
DISTRIBUTIONS = (
    {"name": "diffusion.schedule.LogNormal", "mean": -0.7, "std": 1.3},
    {"name": "diffusion.schedule.LogitNormal", "mean": 0.3},
    {"name": "diffusion.schedule.LogUniform", "low": 0.01, "high": 10.0},
    {"name": "diffusion.schedule.InTime", "schedule": {"name": "diffusion.schedule.Cosine"}},
)
EXAMPLES = (*SCHEDULES, *DISTRIBUTIONS)
