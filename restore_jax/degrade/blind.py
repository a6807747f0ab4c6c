"""Blind degradations: what may have happened to a picture from the wild, drawn anew for each.

Sizes in between are random, shapes are not: pictures live on canvases (`ops.canvas`). A random size
takes the smallest of a few canvases that holds it, and on a CPU only that one is computed
(`ops.branch`). Everything is drawn from the key; nothing of it is told: `operator` and `noise_std`
are None, and `y` is in [0, 1] in steps of 1/255.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation
from restore_jax.degrade.compress import as_file
from restore_jax.degrade.parameter import check
from restore_jax.ops import kernel
from restore_jax.ops.branch import one_by_one
from restore_jax.ops.canvas import resample
from restore_jax.ops.color import BT601, linear_to_srgb, srgb_to_linear
from restore_jax.ops.fourier import fast_length, otf
from restore_jax.ops.jpeg import jpeg

Pair = tuple[float, float]
SIZE = 21  # of a blur kernel, pixels; it may be drawn smaller


@dataclass(frozen=True)
class Stage:
    """One round of blur, resizing, noise and JPEG: the ranges of the parameters, drawn uniformly.

    `std` is the blur's width in pixels; `resize` the factor, up with the first of
    `resize_probabilities`, down with the second, none with the third; `gaussian` the standard
    deviation of white noise and `poisson` the scale of shot noise, one of them with even chances
    (`poisson` multiplies the noise of a count of 256 at white), and the same in all channels with
    probability `grey`; `quality` that of the JPEG. Widths of noise are in units of x.
    """

    blur_probability: float = 1.0
    sinc_probability: float = 0.1
    std: Pair = (0.2, 3.0)
    resize: Pair = (0.15, 1.5)
    resize_probabilities: tuple[float, float, float] = (0.2, 0.7, 0.1)
    gaussian: Pair = (1 / 255, 30 / 255)
    poisson: Pair = (0.05, 3.0)
    grey: float = 0.4
    quality: Pair = (30.0, 95.0)

    def __post_init__(self) -> None:
        for name in ("blur_probability", "sinc_probability", "grey"):
            check(self, name, 0.0, 1.0)
        for name in ("std", "gaussian", "poisson"):
            check(self, name, 0.0)
        check(self, "resize", 0.05, 4.0)
        check(self, "quality", 1.0, 100.0)
        if (
            len(self.resize_probabilities) != 3
            or min(self.resize_probabilities) < 0
            or not any(self.resize_probabilities)
        ):
            raise ValueError(
                "Stage.resize_probabilities must be three weights >= 0 (up, down, none), "
                f"not {self.resize_probabilities!r}."
            )


@dataclass(frozen=True)
class RealEsrgan:
    """The second-order degradation: two `Stage`s, then a sinc filter and a last JPEG in random order.

    `y` is `scale` times smaller than x. Blur kernels are Gaussian, generalised Gaussian or plateau,
    isotropic or not, or sinc, of 7 to 21 pixels. Shot noise is drawn as Gaussian noise of the
    Poisson's variance, which it resembles but in the darkest pixels.

    Raises:
        ValueError: a side of the picture does not divide by `scale`, or it is not in colour.

    Reference: Wang et al. 2021, "Real-ESRGAN: training real-world blind super-resolution with pure
    synthetic data", section 3 and appendix A.
    """

    scale: int = 4
    first: Stage = Stage()
    second: Stage = Stage(
        0.8, 0.1, (0.2, 1.5), (0.3, 1.2), (0.3, 0.4, 0.3), (1 / 255, 25 / 255), (0.05, 2.5), 0.4, (30.0, 95.0)
    )
    sinc_probability: float = 0.8

    def __post_init__(self) -> None:
        check(self, "sinc_probability", 0.0, 1.0)
        if self.scale < 1:
            raise ValueError(f"RealEsrgan.scale must be a whole number >= 1, not {self.scale!r}.")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture as it might be found."""
        return as_file(self._harmed(key, x, _reduced("RealEsrgan", x, self.scale)))

    @functools.partial(jax.jit, static_argnums=(0, 3))  # hundreds of operations: slow one by one
    def _harmed(self, key: Key[Array, ""], x: Array, small: tuple[int, int]) -> Array:
        first, second, shape = self.first, self.second, x.shape[:2]
        keys = jax.random.split(key, 13)
        x = _blur(x, _kernel(keys[0], first, x.dtype))

        # In between the picture is `factor` times as large as x, on the smallest canvas that holds it.
        factor, smaller = _factor(keys[1], first), _factor(keys[2], second)
        fractions = [f for f in (0.375, 0.625, 1.0) if first.resize[0] < f] + [max(first.resize[1], 1.0)]
        limits = {tuple(-(-int(n * f) // 16) * 16 for n in shape): f for f in fractions}
        canvas = tuple(max(n, -(-int(n * second.resize[1]) // 8) * 8) for n in small)
        size = tuple(jnp.maximum(jnp.round(n * smaller), 1.0) for n in small)

        def on(between: tuple[int, ...]) -> Callable[..., Array]:
            def stage(key: Key[Array, ""], x: Array, factor: Array, *size: Array) -> Array:
                keys = jax.random.split(key, 5)
                middle = tuple(jnp.minimum(jnp.maximum(jnp.round(n * factor), 1.0), c) for n, c in zip(shape, between))
                x = resample(x, shape, between, middle, _mode(keys[0]))
                x = _jpeg(keys[1], _noise(keys[2], x, first), first)
                x = _blur(x, _kernel(keys[3], second, x.dtype))
                return resample(x, middle, canvas, size, _mode(keys[4]))

            return stage

        def smallest(key: Key[Array, ""], x: Array, factor: Array, *size: Array) -> Array:
            number = sum(((factor > f).astype(int) for f in list(limits.values())[:-1]), jnp.zeros((), int))
            return jax.lax.switch(number, [on(between) for between in limits], key, x, factor, *size)

        x = one_by_one(smallest)(keys[3], x, factor, *size)
        x = _noise(keys[4], x, second)

        ringing = jnp.where(
            jax.random.bernoulli(keys[5], self.sinc_probability),
            _sinc(keys[6], x.dtype),
            _cut(kernel.gaussian(SIZE, 1.0, 1.0, dtype=x.dtype), 0),
        )
        mode, filter_first = _mode(keys[7]), jax.random.bernoulli(keys[8])

        def finish(x: Array) -> Array:
            return _blur(resample(x, size, small, small, mode), ringing)

        # JPEG acts on the canvas; where the filter comes first, the finished picture lies on it.
        beside = tuple((0, c - n) for c, n in zip(canvas, small))
        x = jnp.where(filter_first, jnp.pad(finish(x), (*beside, (0, 0)), mode="edge"), x)
        x = _jpeg(keys[9], x, second)
        return jnp.where(filter_first, x[: small[0], : small[1]], finish(x))


@dataclass(frozen=True)
class Bsrgan:
    """Two blurs, a reduction, white noise, sensor noise and JPEG in random order; then the last reduction, and JPEG.

    `y` is `scale` times smaller than x. `std` is the width of the isotropic blur, `axes` the variances
    of the other along its axes, in pixels; the reduction is by a factor of 1 to `2 scale`, and whatever
    is missing or too much after the shuffle comes last. Sensor noise is shot and read noise in linear
    light (`shot`, `read` as in `degrade.noise.PoissonGaussian`), drawn as a Gaussian of its variance.

    Raises:
        ValueError: a side of the picture does not divide by `scale`, or it is not in colour.

    Reference: Zhang et al. 2021, "Designing a practical degradation model for deep blind image
    super-resolution", section 3 and algorithm 1.
    """

    scale: int = 4
    std: Pair = (0.1, 2.8)
    axes: Pair = (0.5, 8.0)
    gaussian: Pair = (1 / 255, 25 / 255)
    shot: Pair = (1e-4, 0.012)
    read: Pair = (1e-3, 0.02)
    quality: Pair = (30.0, 95.0)

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ValueError(f"Bsrgan.scale must be a whole number >= 1, not {self.scale!r}.")
        for name in ("std", "axes", "gaussian", "shot", "read"):
            check(self, name, 0.0)
        check(self, "quality", 1.0, 100.0)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The picture as it might be found."""
        return as_file(self._harmed(key, x, _reduced("Bsrgan", x, self.scale)))

    @functools.partial(jax.jit, static_argnums=(0, 3))
    def _harmed(self, key: Key[Array, ""], x: Array, small: tuple[int, int]) -> Array:
        def isotropic(key, x, size):
            std = _uniform(key, self.std, x.dtype)
            return _blur(x, kernel.gaussian(SIZE, std, std, dtype=x.dtype)), size

        def anisotropic(key, x, size):
            key_x, key_y, key_angle = jax.random.split(key, 3)
            std_x, std_y = (jnp.sqrt(_uniform(k, self.axes, x.dtype)) for k in (key_x, key_y))
            angle = jax.random.uniform(key_angle, (), x.dtype, 0.0, jnp.pi)
            return _blur(x, kernel.gaussian(SIZE, std_x, std_y, angle, x.dtype)), size

        def reduced(key, x, size):
            key_factor, key_mode = jax.random.split(key)
            factor = _uniform(key_factor, (1.0, 2.0 * self.scale), x.dtype)
            smaller = tuple(jnp.maximum(jnp.round(n / factor), 1.0) for n in size)
            return resample(x, size, x.shape[:2], smaller, _mode(key_mode)), smaller

        def white(key, x, size):
            return _noise(key, x, Stage(gaussian=self.gaussian, poisson=(0.0, 0.0))), size

        def sensor(key, x, size):
            keys = jax.random.split(key, 3)
            light = srgb_to_linear(jnp.clip(x, 0.0, 1.0))
            shot, read = _uniform(keys[0], self.shot, x.dtype), _uniform(keys[1], self.read, x.dtype)
            std = jnp.sqrt(shot * jax.lax.stop_gradient(light) + read**2)
            noisy = light + std * jax.random.normal(keys[2], x.shape, x.dtype)
            return linear_to_srgb(jnp.clip(noisy, 0.0, 1.0)), size

        def compressed(key, x, size):
            return jpeg(x, _uniform(key, self.quality, x.dtype), "4:2:0"), size

        steps = (isotropic, anisotropic, reduced, white, sensor, compressed)

        def harmed(key: Key[Array, ""], x: Array) -> Array:
            key_order, key_steps, key_mode, key_last = jax.random.split(key, 4)
            order = jax.random.permutation(key_order, len(steps))
            keys = jax.random.split(key_steps, len(steps))

            def step(state, now):
                number, key = now
                return jax.lax.switch(number, steps, key, *state), None

            full = tuple(jnp.asarray(n, x.dtype) for n in x.shape[:2])
            (y, size), _ = jax.lax.scan(step, (x, full), (order, keys))
            y = resample(y, size, small, small, _mode(key_mode))
            return jpeg(y, _uniform(key_last, self.quality, y.dtype), "4:2:0")

        return one_by_one(harmed)(key, x)


def _reduced(owner: str, x: Array, scale: int) -> tuple[int, int]:
    h, w, c = x.shape
    if c != 3:
        raise ValueError(f"{owner} harms colour pictures, h w 3; got {c} channels.")
    if h % scale or w % scale:
        raise ValueError(f"{owner}.scale = {scale} does not divide {h}x{w}: crop the picture first.")
    return h // scale, w // scale


def _blur(x: Float[Array, "h w c"], weights: Float[Array, "k k"]) -> Float[Array, "h w c"]:
    """The picture convolved with a kernel, mirrored beyond its border however small it is."""
    h, w, _ = x.shape
    reach = weights.shape[0] // 2
    rows, cols = (fast_length(n + 2 * reach) for n in (h, w))
    planes = jnp.moveaxis(x, -1, 0)  # transforms run along contiguous rows
    planes = jnp.pad(planes, ((0, 0), (reach, rows - h - reach), (reach, cols - w - reach)), mode="symmetric")
    y = jnp.fft.irfft2(jnp.fft.rfft2(planes) * otf(weights, rows, cols)[None], s=(rows, cols))
    return jnp.moveaxis(y[:, reach : reach + h, reach : reach + w], 0, -1)


def _uniform(key: Key[Array, ""], ends: Pair, dtype: Any) -> Float[Array, ""]:
    return jax.random.uniform(key, (), dtype, *ends)


def _factor(key: Key[Array, ""], stage: Stage) -> Float[Array, ""]:
    """The factor of a resizing: up, down or none."""
    key_way, key_factor = jax.random.split(key)
    up, down, none = stage.resize_probabilities
    u = jax.random.uniform(key_way) * (up + down + none)
    low, high = min(stage.resize[0], 1.0), max(stage.resize[1], 1.0)
    t = jax.random.uniform(key_factor)
    return jnp.where(u < up, 1.0 + t * (high - 1.0), jnp.where(u < up + down, low + t * (1.0 - low), 1.0))


def _mode(key: Key[Array, ""]) -> Array:
    return jax.random.randint(key, (), 0, 3)


def _kernel(key: Key[Array, ""], stage: Stage, dtype: Any) -> Float[Array, "k k"]:
    """A blur kernel of the paper's mixture: a single pixel where there is to be no blur."""
    keys = jax.random.split(key, 8)
    half = jax.random.randint(keys[0], (), 3, SIZE // 2 + 1)
    std_x, std_y = (_uniform(k, stage.std, dtype) for k in keys[1:3])
    # isotropic and anisotropic: Gaussian .45 .25, generalised .12 .03, plateau .12 .03
    u = jax.random.uniform(keys[3])
    isotropic = (u < 0.45) | ((u >= 0.7) & (u < 0.82)) | ((u >= 0.85) & (u < 0.97))
    std_y = jnp.where(isotropic, std_x, std_y)
    angle = jax.random.uniform(keys[4], (), dtype, -jnp.pi, jnp.pi)
    shape = jnp.where(u < 0.7, 1.0, _uniform(keys[5], (0.5, 4.0), dtype)).astype(dtype)
    bell = kernel.generalised_gaussian(SIZE, std_x, std_y, angle, shape, dtype)
    flat = kernel.plateau(SIZE, std_x, std_y, angle, _uniform(keys[5], (1.0, 2.0), dtype), dtype)
    weights = jnp.where(u < 0.85, bell, flat)
    kind = jax.random.uniform(keys[6])
    weights = _cut(jnp.where(kind < stage.sinc_probability, _low_pass(keys[7], half, dtype), weights), half)
    blurs = jax.random.bernoulli(jax.random.fold_in(key, 1), stage.blur_probability)
    return jnp.where(blurs, weights, _cut(weights, 0))


def _cut(weights: Array, half: Array | int) -> Float[Array, "k k"]:
    """The middle `2 half + 1` pixels of a kernel, summing to 1."""
    d = jnp.abs(jnp.arange(SIZE) - SIZE // 2)
    inside = (d[:, None] <= half) & (d[None, :] <= half)
    weights = jnp.where(inside, weights, 0.0)
    return weights / weights.sum()


def _low_pass(key: Key[Array, ""], half: Array, dtype: Any) -> Float[Array, "k k"]:
    lowest = jnp.where(2 * half + 1 < 13, jnp.pi / 3, jnp.pi / 5).astype(dtype)
    return kernel.sinc(SIZE, jax.random.uniform(key, (), dtype, lowest, jnp.pi), dtype)


def _sinc(key: Key[Array, ""], dtype: Any) -> Float[Array, "k k"]:
    """The last filter: 7 to 21 pixels, its cutoff between pi / 3 and pi."""
    key_half, key_cutoff = jax.random.split(key)
    half = jax.random.randint(key_half, (), 3, SIZE // 2 + 1)
    return _cut(kernel.sinc(SIZE, _uniform(key_cutoff, (jnp.pi / 3, jnp.pi), dtype), dtype), half)


def _noise(key: Key[Array, ""], x: Float[Array, "h w 3"], stage: Stage) -> Float[Array, "h w 3"]:
    """White or shot noise, in colour or grey, clipped to [0, 1]."""
    keys = jax.random.split(key, 5)
    grey = jax.random.bernoulli(keys[0], stage.grey)
    shot = jax.random.bernoulli(keys[1]) & (stage.poisson[1] > 0)
    white = jnp.where(shot, 0.0, _uniform(keys[2], stage.gaussian, x.dtype))
    # Poisson(256 light) / 256 has the variance light / 256; no gradient runs through the noise.
    of_light = jnp.where(shot, _uniform(keys[3], stage.poisson, x.dtype) ** 2 / 256, 0.0)
    light = jax.lax.stop_gradient(jnp.clip(x, 0.0, 1.0))
    n = _bell(keys[4], x.shape, x.dtype)
    shade = sum((k * light[..., i] for i, k in enumerate(BT601)), jnp.zeros(x.shape[:2], x.dtype))
    light = jnp.where(grey, shade[..., None], light)
    n = jnp.where(grey, n[..., :1], n)
    return jnp.clip(x + jnp.sqrt(white**2 + of_light * light) * n, 0.0, 1.0)


@functools.lru_cache(maxsize=1)
def _quantiles() -> np.ndarray:
    """The normal distribution in 2^16 equally likely values, scaled to a variance of 1."""
    values = np.asarray(scipy.special.ndtri((np.arange(2**16) + 0.5) / 2**16))
    return values / values.std()


def _bell(key: Key[Array, ""], shape: tuple[int, ...], dtype: Any) -> Array:
    """Normal noise good for 8 bits: looked up by 16 random bits, two numbers a word, within 4.3 standard deviations.

    A quarter of the time of `jax.random.normal` on a CPU, where the noise is most of a degradation.
    """
    size = int(np.prod(shape))
    words = jax.random.bits(key, (-(-size // 2),), jnp.uint32)
    halves = jnp.concatenate([words >> 16, words & 0xFFFF]).astype(jnp.int32)
    return jnp.asarray(_quantiles(), dtype)[halves][:size].reshape(shape)


def _jpeg(key: Key[Array, ""], x: Float[Array, "h w 3"], stage: Stage) -> Float[Array, "h w 3"]:
    return jpeg(x, _uniform(key, stage.quality, x.dtype), "4:2:0")


EXAMPLES = (
    {"name": "degrade.blind.RealEsrgan", "scale": 2, "first": {"name": "degrade.blind.Stage", "resize": (0.7, 1.0)}},
    {"name": "degrade.blind.Bsrgan", "scale": 2},
)
