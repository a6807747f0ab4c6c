"""Noise. Nothing is clipped unless a class says so: an observation may leave [0, 1], as a sensor's does."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

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
class _ShotAndRead:
    """Two parameters, drawn for each picture, of noise that `_noisy(key, x, shot, read)` puts on it."""

    shot: Parameter = 0.01
    read: Parameter = 0.02
    _noisy: ClassVar[Callable[[Key[Array, ""], Array, Array, Array], Observation]]

    def __post_init__(self) -> None:
        check(self, "shot", 0.0)
        check(self, "read", 0.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The noisy picture; `noise_std [h, w, c]` is what a restorer can know, estimated from y."""
        key_shot, key_read, key_noise = jax.random.split(key, 3)
        shot, read = draw(key_shot, self.shot).astype(x.dtype), draw(key_read, self.read).astype(x.dtype)
        return self._noisy(key_noise, x, shot, read)


@dataclass(frozen=True)
class PoissonGaussian(_ShotAndRead):
    """`y = shot Poisson(x / shot) + read n`: variance `shot x + read^2`, the noise of a linear sensor.

    `shot` is the gain, in units of x for one electron; 0 leaves the read noise alone. The gradient
    with respect to x is that of the mean, 1. Below 0, where there is no light, x counts as 0 in the
    variance.

    Reference: Foi et al. 2008, "Practical Poissonian-Gaussian noise modeling and fitting for
    single-image raw-data", eq. 1-3.
    """

    @staticmethod
    def _noisy(key: Key[Array, ""], x: Float[Array, "h w c"], shot: Array, read: Array) -> Observation:
        return _counted(key, x, shot, read)


@dataclass(frozen=True)
class SignalDependent(_ShotAndRead):
    """`y = x + sqrt(shot max(x, 0) + read^2) n`, n normal: `PoissonGaussian` where electrons are too many to count.

    `shot` and `read` are as there, and so are the mean, the variance and what `noise_std` tells. The shape of the
    noise differs where a pixel has few electrons, `x / shot` below about 10. A normal costs a twentieth of a Poisson
    count, which decides how fast a small net trains. The gradient with respect to x is 1.

    Reference: Foi et al. 2008, as above, eq. 4-6 (the heteroskedastic normal approximation).
    """

    @staticmethod
    def _noisy(key: Key[Array, ""], x: Float[Array, "h w c"], shot: Array, read: Array) -> Observation:
        std = jax.lax.stop_gradient(jnp.sqrt(shot * jnp.maximum(x, 0.0) + read**2))
        y = x + std * jax.random.normal(key, x.shape, x.dtype)
        noise_std = jax.lax.stop_gradient(jnp.sqrt(shot * jnp.maximum(y, 0.0) + read**2))
        return Observation(y=y, operator=Identity(in_shape=x.shape), noise_std=noise_std)


@dataclass(frozen=True)
class SensorNoise:
    """The noise of a phone's sensor at a sensitivity `iso`: `PoissonGaussian` on raw light x, 1 where it saturates.

    In steps of the 10-bit converter, `V = 959` of them from black to white, the variance is `k V x + b`, where
    `k = 5.995267e-4 iso + 8.68861e-3` and `b = 7.11772e-7 iso^2 + 6.514934e-4 iso + 0.11492713`: the calibration of
    the main camera of an OPPO Reno 10x. So `shot = k / V` and `read = sqrt(b) / V`. `iso` lies in [50, 12800];
    a range is drawn uniformly in its logarithm, for each picture.

    Reference: Wang et al. 2020, "Practical deep raw image denoising on mobile devices", section 3.1 (the model:
    variance and its polynomials in the gain); the coefficients are those of the authors' public evaluation program.
    """

    iso: Parameter = (100.0, 6400.0)

    def __post_init__(self) -> None:
        check(self, "iso", 50.0, 12800.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The noisy picture; `noise_std [h, w, c]` is what a restorer can know, estimated from y."""
        key_iso, key_noise = jax.random.split(key)
        iso = draw_logarithm(key_iso, self.iso).astype(x.dtype)
        k = 5.995267e-4 * iso + 8.68861e-3
        b = (7.11772e-7 * iso + 6.514934e-4) * iso + 0.11492713
        return _counted(key_noise, x, k / 959.0, jnp.sqrt(b) / 959.0)


@dataclass(frozen=True)
class ShotRead:
    """`PoissonGaussian` with read noise that goes with the shot noise, as it does in cameras from phone to full frame.

    `shot`, the variance for each unit of x, is drawn uniformly in its logarithm, and the variance of the read noise
    by `log read^2 = 2.18 log shot + 1.20 + 0.26 n`, n normal: the fit to the raw pictures of the Darmstadt set (one
    phone and three cameras). x is raw light, 1 where the sensor saturates. `shot` lies in [1e-6, 1].

    Reference: Brooks et al. 2019, "Unprocessing images for learned raw denoising", section 3.1.
    """

    shot: Parameter = (1e-4, 0.012)

    def __post_init__(self) -> None:
        check(self, "shot", 1e-6, 1.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The noisy picture; `noise_std [h, w, c]` is what a restorer can know, estimated from y."""
        key_shot, key_read, key_noise = jax.random.split(key, 3)
        shot = draw_logarithm(key_shot, self.shot).astype(x.dtype)
        return _counted(key_noise, x, shot, read_noise(key_read, shot))


@dataclass(frozen=True)
class Speckle:
    """`y = x (1 + std n)`, n white: the multiplicative noise of coherent light, as ultrasound and radar see by.

    `noise_std`, one a pixel, is estimated from y: `std |y| / sqrt(1 + std^2)`, whose square has the mean
    `std^2 x^2`, the variance of the noise.
    """

    std: Parameter = 0.2

    def __post_init__(self) -> None:
        check(self, "std", 0.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The speckled picture, and what can be known of its noise."""
        key_std, key_noise = jax.random.split(key)
        std = draw(key_std, self.std).astype(x.dtype)
        y = x * (1.0 + std * jax.random.normal(key_noise, x.shape, x.dtype))
        noise_std = jax.lax.stop_gradient(std * jnp.abs(y) / jnp.sqrt(1.0 + std**2))
        return Observation(y=y, operator=Identity(in_shape=x.shape), noise_std=noise_std)


@dataclass(frozen=True)
class Stripe:
    """One normal offset of standard deviation `std` for each row (or column), all its pixels and channels alike.

    The banding of readout amplifiers ("cols") and of their supply while rows are read ("rows"). The noise is not
    white, so that no operator goes with the observation.
    """

    std: Parameter = 0.03
    along: str = "rows"

    def __post_init__(self) -> None:
        check(self, "std", 0.0)
        if self.along not in ("rows", "cols"):
            raise ValueError(f"Stripe.along must be 'rows' or 'cols', not {self.along!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The striped picture."""
        key_std, key_noise = jax.random.split(key)
        shape = (x.shape[0], 1, 1) if self.along == "rows" else (1, x.shape[1], 1)
        std = draw(key_std, self.std).astype(x.dtype)
        return Observation(y=x + std * jax.random.normal(key_noise, shape, x.dtype))


@dataclass(frozen=True)
class DarkFrame:
    """`y = x + dark`: what the sensor shows without light, the same at every exposure of one length.

    `dark = |column_std n_col + current e|`, n_col normal, one a column, and e exponential with mean 1, one a number:
    dark current differs from pixel to pixel with a long tail, of which the hot pixels are the end. `current` and
    `column_std` are in units of x. Where `known`, the frame was measured with the shutter closed: cond["dark"] holds
    it, for a restorer that subtracts it. An offset is not linear, so that no operator goes with the observation.
    """

    current: Parameter = 0.01
    column_std: Parameter = 0.01
    known: bool = False

    def __post_init__(self) -> None:
        check(self, "current", 0.0)
        check(self, "column_std", 0.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture on top of a dark frame of its own."""
        key_current, key_std, key_pixel, key_column = jax.random.split(key, 4)
        current, std = (
            draw(k, field).astype(x.dtype) for k, field in ((key_current, self.current), (key_std, self.column_std))
        )
        columns = std * jax.random.normal(key_column, (1, x.shape[1], 1), x.dtype)
        dark = jnp.abs(columns + current * jax.random.exponential(key_pixel, x.shape, x.dtype))
        return Observation(y=x + dark, cond={"dark": dark} if self.known else {})


@dataclass(frozen=True)
class DeadPixels:
    """Each number is stuck with probability `share`, at 0 or at 1 with even chances; nobody says which.

    "Salt and pepper" where the stuck ones are many.
    """

    share: Parameter = 0.01

    def __post_init__(self) -> None:
        check(self, "share", 0.0, 1.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture with its dead pixels."""
        key_share, key_dead = jax.random.split(key)
        share = draw(key_share, self.share)
        chance = jax.random.uniform(key_dead, x.shape)
        return Observation(y=jnp.where(chance < share, (chance < 0.5 * share).astype(x.dtype), x))


@dataclass(frozen=True)
class Quantise:
    """x clipped to [0, 1] and rounded to `2^bits` levels, both ends among them; `bits` in 1..16.

    The gradient with respect to x is 1 everywhere (straight through), for that of a staircase is 0. The error
    depends on x and is not white, so that no operator goes with the observation; its standard deviation, within
    [0, 1], is about `1 / (2^bits - 1) / sqrt(12)`.
    """

    bits: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise ValueError(f"Quantise.bits must be a whole number in [1, 16], not {self.bits!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture in few levels; the key is not used."""
        del key
        levels = 2**self.bits - 1
        rounded = jnp.floor(levels * jnp.clip(x, 0.0, 1.0) + 0.5) / levels
        through = x - jax.lax.stop_gradient(x)  # exactly 0, with the slope 1
        return Observation(y=jax.lax.stop_gradient(rounded) + through)


def _counted(
    key: Key[Array, ""], x: Float[Array, "h w c"], shot: Float[Array, ""], read: Float[Array, ""]
) -> Observation:
    """`x` counted in electrons of size `shot`, with read noise; the variance is estimated from y."""
    y, std = sensor_noise(key, x, shot, read)
    return Observation(y=y, operator=Identity(in_shape=x.shape), noise_std=std)


def sensor_noise(
    key: Key[Array, ""], light: Float[Array, "*s"], shot: Float[Array, ""], read: Float[Array, ""]
) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    """`y = shot Poisson(light / shot) + read n`, and its standard deviation as y tells it.

    `shot` and `read` are scalars that were drawn, in units of light; the gradient with respect to `light` is 1.
    The second is `sqrt(shot max(y, 0) + read^2)`, the estimate that a restorer can make.
    """
    key_count, key_read = jax.random.split(key)
    one_electron = jnp.maximum(shot, 1e-6)  # a million electrons to white: less noise than any sensor has
    mean = jax.lax.stop_gradient(jnp.maximum(light, 0.0))
    electrons = jax.random.poisson(key_count, mean / one_electron).astype(light.dtype)
    noise = jnp.where(shot > 0, one_electron * electrons - mean, 0.0)
    y = light + noise + read * jax.random.normal(key_read, light.shape, light.dtype)
    return y, jax.lax.stop_gradient(jnp.sqrt(shot * jnp.maximum(y, 0.0) + read**2))


def read_noise(key: Key[Array, ""], shot: Float[Array, ""]) -> Float[Array, ""]:
    """The read noise that a sensor has at that `shot`: `log read^2 = 2.18 log shot + 1.20 + 0.26 n`, n standard normal.

    Reference: Brooks et al. 2019, section 3.1 (a fit to the Darmstadt Noise Dataset).
    """
    return jnp.exp(0.5 * (2.18 * jnp.log(shot) + 1.20 + 0.26 * jax.random.normal(key, (), shot.dtype)))


def draw_logarithm(key: Key[Array, ""], value: Parameter) -> Float[Array, ""]:
    """`value` itself, or a draw from `value = (low, high)`, uniform in the logarithm."""
    if isinstance(value, tuple):
        return jnp.exp(draw(key, (math.log(value[0]), math.log(value[1]))))
    return draw(key, value)


EXAMPLES = (
    {"name": "degrade.noise.Gaussian", "std": 0.1},
    {"name": "degrade.noise.Gaussian", "std": (0.0, 0.2)},
    {"name": "degrade.noise.PoissonGaussian", "shot": 0.01, "read": 0.02},
    {"name": "degrade.noise.PoissonGaussian", "shot": (0.0, 0.02), "read": (0.0, 0.05)},
    {"name": "degrade.noise.SignalDependent", "shot": (0.0, 0.02), "read": (0.0, 0.05)},
    {"name": "degrade.noise.SensorNoise", "iso": (100.0, 6400.0)},
    {"name": "degrade.noise.ShotRead", "shot": (1e-4, 0.012)},
    {"name": "degrade.noise.Speckle", "std": (0.0, 0.3)},
    {"name": "degrade.noise.Stripe", "std": 0.05, "along": "cols"},
    {"name": "degrade.noise.DarkFrame", "current": 0.02, "column_std": (0.0, 0.02), "known": True},
    {"name": "degrade.noise.DeadPixels", "share": (0.0, 0.1)},
    {"name": "degrade.noise.Quantise", "bits": 4},
)
