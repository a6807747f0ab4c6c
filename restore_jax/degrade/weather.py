"""Weather and light: haze, rain, snow, and too little light.

Haze, rain and snow mix x with light of their own, `y = (1 - alpha) x + alpha light`: affine in x and not linear, with
an alpha that a restorer does not know. Nothing here has an operator. They mix the numbers of x as they stand, which
is what the literature's synthetic sets do with sRGB; hand them linear light for the mixture that physics makes.
Lengths are shares of the shorter side, so that a degradation looks the same at every resolution, but for what
thinner than a pixel is drawn a pixel wide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation
from restore_jax.degrade.parameter import Parameter, check, draw
from restore_jax.ops.color import linear_to_srgb, srgb_to_linear

_SIZES = (1.0, 0.6, 0.36, 0.2)  # near particles to far ones, as a camera sees them: size ~ 1 / distance
_SHARES = (0.1, 0.2, 0.3, 0.4)  # of what is covered, by each of the layers: there is more space far away


def _draws(key: Key[Array, ""], owner: Any, fields: tuple[str, ...], dtype: Any) -> list[Float[Array, ""]]:
    """One number for each of the fields."""
    keys = jax.random.split(key, len(fields))
    return [draw(one, getattr(owner, field)).astype(dtype) for one, field in zip(keys, fields)]


@dataclass(frozen=True)
class Haze:
    """`y = t x + (1 - t) airlight` with the transmission `t = exp(-density d)`: Koschmieder's law.

    `density` is the optical thickness at the farthest point, where the depth d is 1; 0 is a clear day and 3 hides
    what is far. `airlight` is the grey of the sky, in units of x. The depth is a guess, for a photograph has none:
    it rises from the bottom (0.2) to the top (1), and `relief`, as a share of that rise, adds smooth random hills
    of a quarter of the picture's size. Cost: two small matrix products.

    Raises:
        ValueError: density below 0, airlight or relief outside [0, 1].

    Reference: Narasimhan & Nayar 2003, "Contrast restoration of weather degraded images".
    """

    density: Parameter = (0.6, 2.0)
    airlight: Parameter = (0.75, 1.0)
    relief: Parameter = 0.5

    def __post_init__(self) -> None:
        check(self, "density", 0.0)
        check(self, "airlight", 0.0, 1.0)
        check(self, "relief", 0.0, 1.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The hazy picture."""
        key_draw, key_depth = jax.random.split(key)
        density, airlight, relief = _draws(key_draw, self, ("density", "airlight", "relief"), x.dtype)
        h, w, _ = x.shape
        rise = jnp.linspace(1.0, 0.2, h, dtype=x.dtype)[:, None]
        depth = jnp.clip(rise + 0.8 * relief * _hills(key_depth, h, w, x.dtype), 0.0, 1.0)
        transmission = jnp.exp(-density * depth)[..., None]
        return Observation(y=transmission * x + (1.0 - transmission) * airlight)


def _hills(key: Key[Array, ""], h: int, w: int, dtype: Any) -> Float[Array, "h w"]:
    """Smooth random heights in (-1, 1): a sum of low cosines with random weights, which fall with frequency."""
    order = jnp.arange(5, dtype=dtype)
    waves = [jnp.cos(jnp.pi * order[None] * (jnp.arange(n, dtype=dtype)[:, None] + 0.5) / n) for n in (h, w)]
    square = order[:, None] ** 2 + order[None] ** 2
    weights = jax.random.normal(key, square.shape, dtype) * jnp.where(square > 0, 1.0 / (1.0 + square), 0.0)
    return jnp.tanh(waves[0] @ weights @ waves[1].T)


@dataclass(frozen=True)
class Rain:
    """`y = (1 - alpha) x' + alpha light`, streaks over `x' = (1 - veil) x + veil light`.

    A falling drop is smeared by the exposure into a streak that lets the background through in part and adds light
    gathered from the whole scene. Streaks of four distances are drawn, the far ones smaller and more; what lies one
    over another multiplies its transmissions. `veil` is the rain too far off to be seen as streaks.

        cover    the share of the picture that streaks cover, in [0, 1]
        length   of the nearest streaks, as a share of the shorter side, in [0, 1]
        width    of the nearest streaks (standard deviation across), likewise; 0.5 pixels at least
        angle    of the fall, in degrees from the vertical, positive towards the right
        opacity  alpha in the middle of a streak, in [0, 1]
        veil     in [0, 1]
        light    of the drops, in units of x, in [0, 1]

    Cost: nine real FFTs of the size of the picture.

    Raises:
        ValueError: a field outside its range.

    Reference: Garg & Nayar 2007, "Vision and rain" (the photometry of a streak).
    """

    cover: Parameter = (0.05, 0.25)
    length: Parameter = (0.1, 0.3)
    width: Parameter = (0.001, 0.003)
    angle: Parameter = (-25.0, 25.0)
    opacity: Parameter = (0.3, 0.7)
    veil: Parameter = (0.0, 0.2)
    light: Parameter = (0.75, 0.95)

    def __post_init__(self) -> None:
        for field in ("cover", "length", "width", "opacity", "veil", "light"):
            check(self, field, 0.0, 1.0)
        check(self, "angle", -90.0, 90.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture in the rain."""
        fields = ("cover", "length", "width", "angle", "opacity", "veil", "light")
        key_draw, key_fall = jax.random.split(key)
        cover, length, width, angle, opacity, veil, light = _draws(key_draw, self, fields, x.dtype)
        side = min(x.shape[:2])
        profile = lambda distance, size: jnp.exp(-0.5 * (distance / jnp.maximum(size * width * side, 0.5)) ** 2)  # noqa: E731
        fall = _fall(key_fall, x.shape[:2], cover, length * side, angle, 3.0, profile, opacity)
        return Observation(y=_mix(_mix(x, veil, light), fall, light))


@dataclass(frozen=True)
class Snow:
    """`y = (1 - alpha) x' + alpha light`, flakes over `x' = (1 - veil) x + veil light`.

    Flakes of four distances, the far ones smaller and more; each is a soft disk, drawn out by its motion.

        cover    the share of the picture that flakes cover, in [0, 1]
        size     the radius of the nearest flakes, as a share of the shorter side, in [0, 1]; 0.5 pixels at least
        length   the way that the nearest flakes move during the exposure, likewise
        angle    of that motion, in degrees from the vertical, positive towards the right; gusts turn the layers
                 by some 20 degrees
        opacity  alpha in the middle of a flake, in [0, 1]
        veil     in [0, 1]
        light    of the flakes, in units of x, in [0, 1]

    Cost: nine real FFTs of the size of the picture.

    Raises:
        ValueError: a field outside its range.
    """

    cover: Parameter = (0.02, 0.12)
    size: Parameter = (0.008, 0.016)
    length: Parameter = (0.0, 0.03)
    angle: Parameter = (-40.0, 40.0)
    opacity: Parameter = (0.7, 0.95)
    veil: Parameter = (0.0, 0.2)
    light: Parameter = (0.9, 1.0)

    def __post_init__(self) -> None:
        for field in ("cover", "size", "length", "opacity", "veil", "light"):
            check(self, field, 0.0, 1.0)
        check(self, "angle", -90.0, 90.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture in the snow."""
        fields = ("cover", "size", "length", "angle", "opacity", "veil", "light")
        key_draw, key_fall = jax.random.split(key)
        cover, radius, length, angle, opacity, veil, light = _draws(key_draw, self, fields, x.dtype)
        side = min(x.shape[:2])

        def profile(distance, size):
            """1 inside, 1/2 on the rim, and down to 0 over a width that is half the radius, or a pixel."""
            r = jnp.maximum(size * radius * side, 0.5)
            return jax.nn.sigmoid(8.0 * (r - distance) / jnp.maximum(r, 1.0))

        fall = _fall(key_fall, x.shape[:2], cover, length * side, angle, 20.0, profile, opacity)
        return Observation(y=_mix(_mix(x, veil, light), fall, light))


def _mix(
    x: Float[Array, "h w c"], alpha: Float[Array, ""] | Float[Array, "h w 1"], light: Float[Array, ""]
) -> Float[Array, "h w c"]:
    return x + alpha * (light - x)


def _fall(
    key: Key[Array, ""],
    shape: tuple[int, ...],
    cover: Float[Array, ""],
    length: Float[Array, ""],
    angle: Float[Array, ""],
    gust: float,
    profile: Callable[[Array, float], Array],
    opacity: Float[Array, ""],
) -> Float[Array, "h w 1"]:
    """The alpha of particles that fall in layers of different distance.

    In each layer the same particle lies at sparse random places: impulses convolved on the torus, so that the picture
    has no border effect. A particle is `profile(distance to a segment of `length`, size)`. Particles are as frequent
    as makes their profiles, if they did not overlap, sum to `cover` of the picture. `1 - alpha` is the product
    over particles of what each lets through, hence a sum of logarithms.
    """
    dtype = length.dtype
    rows, cols = (jnp.fft.fftfreq(n, 1 / n).astype(dtype) for n in shape)  # signed distances to pixel 0 on the torus
    total = jnp.zeros((shape[0], shape[1] // 2 + 1), jnp.complex64 if dtype == jnp.float32 else jnp.complex128)
    for size, share, one_key in zip(_SIZES, _SHARES, jax.random.split(key, len(_SIZES))):
        key_gust, key_places = jax.random.split(one_key)
        turn = jnp.deg2rad(angle + gust * jax.random.normal(key_gust, (), dtype))
        down, right = jnp.cos(turn), jnp.sin(turn)
        half = 0.5 * size * length
        along = rows[:, None] * down + cols[None] * right
        across = cols[None] * down - rows[:, None] * right
        beyond = along - jnp.clip(along, -half, half)
        particle = profile(jnp.sqrt(beyond**2 + across**2), size)
        rate = jnp.clip(share * cover / jnp.sum(particle), 0.0, 1.0)
        u = jax.random.uniform(key_places, shape, dtype)
        # No two drops are equally bright: from half of the full logarithm of opacity to all of it. Where u < rate,
        # u / rate is uniform again.
        strength = jnp.where(u < rate, 0.5 + 0.5 * u / jnp.maximum(rate, jnp.finfo(dtype).tiny), 0.0)
        total = total + jnp.fft.rfft2(strength) * jnp.fft.rfft2(particle)
    density = jnp.maximum(jnp.fft.irfft2(total, s=shape), 0.0).astype(dtype)  # FFTs round to below 0
    opaque = -jnp.log1p(-jnp.minimum(opacity, 0.999))
    return -jnp.expm1(-opaque * density)[..., None]


def _poisson(z: Float[Array, "*s"], mean: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The count at the quantile of a Poisson distribution at which z is in a standard normal one.

    Up to a mean of 8 by adding up the distribution, beyond by its expansion about the normal one, whose count is off
    by one in 1 draw of 300 there and more rarely above. On a CPU some thirty times as fast as `jax.random.poisson`,
    which is exact and draws until the last pixel has been accepted.

    Reference: Giles 2016, "Algorithm 955: approximation of the inverse Poisson cumulative distribution function".
    """
    few = jnp.minimum(mean, 8.0)
    u = jax.scipy.stats.norm.cdf(z)
    probability = cumulative = jnp.exp(-few)
    count = jnp.zeros_like(mean)
    for k in range(1, 29):  # more than 28 of 8 comes once in 10^8
        count = count + (u > cumulative)
        probability = probability * few / k
        cumulative = cumulative + probability
    root = jnp.sqrt(jnp.maximum(mean, 8.0))
    many = jnp.floor(mean + root * z + 1 / 3 + z**2 / 6 - (z / 36 + z**3 / 72) / root)
    return jnp.where(mean <= 8.0, count, jnp.maximum(many, 0.0))


@dataclass(frozen=True)
class LowLight:
    """Too few photons: x in sRGB is exposed `stops` below what it should be, with the noise of a sensor.

    With `light = srgb_to_linear(x)` and `electrons = full_well light / 2^stops` at a pixel, none where x < 0,

        signal = (Poisson(electrons) + read n) / full_well
        y      = linear_to_srgb(clip(gain signal, 0, 1))

    where the gain is `2^stops` if `amplify` (the camera at high ISO: bright enough and noisy) and 1 if not (dark).

        stops      below the right exposure, >= 0; 3 leaves an eighth of the light
        full_well  electrons of a white pixel at the right exposure, >= 1: some 5000 in a phone, 50000 in a large camera
        read       electrons of read noise (standard deviation), >= 0: 1 to 5

    Noise is white over the pixels and colours, as if each pixel had three sensors; `degrade.raw` has the mosaic. The
    gradient with respect to x is that of the noiseless picture, and passes the clipping of what noise drove out
    of range as if it were not clipped.

    Raises:
        ValueError: a field outside its range.

    Reference: Foi et al. 2008, "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data"
    (the model of the noise).
    """

    stops: Parameter = (2.0, 6.0)
    full_well: Parameter = (3000.0, 20000.0)
    read: Parameter = (1.0, 5.0)
    amplify: bool = False

    def __post_init__(self) -> None:
        check(self, "stops", 0.0)
        check(self, "full_well", 1.0)
        check(self, "read", 0.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The dark, noisy picture."""
        key_draw, key_photons, key_read = jax.random.split(key, 3)
        stops, full_well, read = _draws(key_draw, self, ("stops", "full_well", "read"), x.dtype)
        exposure = jnp.exp2(-stops)
        light = exposure * srgb_to_linear(x)
        electrons = full_well * jax.lax.stop_gradient(jnp.maximum(light, 0.0))  # there is no light below none
        photons = _poisson(jax.random.normal(key_photons, x.shape, x.dtype), electrons)
        signal = (photons + read * jax.random.normal(key_read, x.shape, x.dtype)) / full_well
        gain = 1.0 / exposure if self.amplify else jnp.ones((), x.dtype)
        clean = linear_to_srgb(gain * light)
        noisy = linear_to_srgb(jnp.clip(gain * signal, 0.0, 1.0))
        return Observation(y=clean + jax.lax.stop_gradient(noisy - clean))


EXAMPLES = (
    {"name": "degrade.weather.Haze", "density": (0.5, 2.0), "airlight": (0.7, 1.0)},
    {"name": "degrade.weather.Rain", "cover": (0.1, 0.4), "length": (0.1, 0.5)},
    {"name": "degrade.weather.Snow", "cover": (0.1, 0.4), "size": (0.02, 0.1)},
    {"name": "degrade.weather.LowLight", "stops": (1.0, 4.0), "amplify": True},
    {"name": "degrade.weather.LowLight", "stops": 3.0, "full_well": 5000.0, "read": 3.0},
)
