"""Camera raw: the Bayer mosaic, the noise of a sensor, and the way back from a finished picture to both.

Reference: Brooks et al. 2019, "Unprocessing images for learned raw denoising" (CVPR).
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from restore_jax.core import Observation, Operator
from restore_jax.degrade.linear import Identity
from restore_jax.degrade.noise import draw_logarithm, read_noise, sensor_noise
from restore_jax.degrade.parameter import Parameter, check, draw
from restore_jax.ops.bayer import check_pattern, demosaic, mosaic, unmosaic
from restore_jax.ops.camera import Camera, colour_matrix, develop, unprocess
from restore_jax.ops.color import linear_to_srgb, srgb_to_linear

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

# XYZ under D65 to camera colours, of the four cameras of the Darmstadt Noise Dataset (Plötz & Roth 2017), which
# Brooks et al. mix: the matrices that their DNG files state.
CAMERAS = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),  # Nexus 6P
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),  # Sony A7R
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),  # Olympus E-M10
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),  # Sony RX100 IV
)
SHOT = (0.0001, 0.012)  # Brooks et al., section 3.1: the variance of shot noise for light 1, drawn log-uniformly


@struct.dataclass
class BayerMosaic(Operator):
    """`A x`: of each pixel the one colour that its filter lets through, h w 3 -> h w 1. `A A^T = I`."""

    pattern: str = struct.field(pytree_node=False, default="rggb")

    def __call__(self, x: Float[Array, "h w 3"]) -> Float[Array, "h w 1"]:
        """The mosaic."""
        return mosaic(x, self.pattern)

    def adjoint(self, y: Float[Array, "h w 1"]) -> Float[Array, "h w 3"]:
        """Each value in its own channel, 0 in the others."""
        return unmosaic(y, self.pattern)

    def solve(self, r: Float[Array, "h w 1"], reg: Float[Array, "..."] | float) -> Float[Array, "h w 1"]:
        """`r / (1 + reg)`."""
        return r / (1.0 + reg)

    def spectrum(self) -> Float[Array, "h w 1"]:
        """Ones, one a pixel."""
        return jnp.ones((*self.in_shape[:2], 1))

    def svd(self) -> tuple[Float[Array, "h w 3"], Operator]:
        """1 for the colour that a pixel sees and 0 for the others, and the identity: see `degrade.linear`."""
        return self.adjoint(self.spectrum()), Identity(in_shape=self.in_shape)


def _check_rgb(owner: object, x: Array) -> None:
    if x.shape[-1] != 3:
        raise ValueError(f"{type(owner).__name__} takes a picture of 3 channels (RGB), not {x.shape[-1]}.")


def _check_noise(owner: Any) -> None:
    name = type(owner).__name__
    check(owner, "shot", 0.0)
    if isinstance(owner.shot, tuple) and owner.shot[0] <= 0:
        raise ValueError(f"{name}.shot is drawn log-uniformly: a range must begin above 0, not {owner.shot!r}.")
    if owner.read is not None:
        check(owner, "read", 0.0)
    check_pattern(owner.pattern, f"{name}.pattern")


def noise_levels(
    key: Key[Array, ""], shot: Parameter, read: Parameter | None, dtype: Any
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """`shot`, a range log-uniformly, and `read`; where `read` is None, what sensors have at that shot noise."""
    key_shot, key_read = jax.random.split(key)
    shot_drawn = draw_logarithm(key_shot, shot).astype(dtype)
    return shot_drawn, read_noise(key_read, shot_drawn) if read is None else draw(key_read, read).astype(dtype)


def quantise(x: Float[Array, "*s"], bits: int) -> Float[Array, "*s"]:
    """The nearest of `2^bits - 1` equal steps from 0 to 1, below 0 too; the gradient passes straight through."""
    steps = 2**bits - 1
    rounded = jax.lax.stop_gradient(jnp.round(x * steps) / steps)
    return rounded + (x - jax.lax.stop_gradient(x))


@dataclass(frozen=True)
class Mosaic:
    """`y = A x`, the Bayer mosaic of a picture: red, green or blue at each pixel, h w 1.

    `pattern`, one of "rggb", "bggr", "grbg" and "gbrg", names the filters of the top left four pixels by rows.
    """

    pattern: str = "rggb"

    def __post_init__(self) -> None:
        check_pattern(self.pattern, "Mosaic.pattern")

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The mosaic and its `BayerMosaic` operator; the key is not used.

        Raises:
            ValueError: x does not have 3 channels.
        """
        del key
        _check_rgb(self, x)
        operator = BayerMosaic(in_shape=x.shape, pattern=self.pattern)
        return Observation(y=operator(x), operator=operator)


@dataclass(frozen=True)
class LinearRaw:
    """`y = A x + n`: the mosaic of linear camera colours x, with shot and read noise.

    `shot` is the variance of the noise of light 1 (equally the light of one electron), a range being drawn
    log-uniformly; `read` is the standard deviation in the dark, None for what sensors have at that `shot`
    (see `noise_levels`). Neither clipped nor rounded, so that the operator is exact.

    Raises:
        ValueError: a negative level, a range of `shot` from 0, an unknown pattern.
    """

    shot: Parameter = SHOT
    read: Parameter | None = None
    pattern: str = "rggb"

    def __post_init__(self) -> None:
        _check_noise(self)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The noisy mosaic, its `BayerMosaic`, `noise_std [h, w, 1]` as y tells it, and the demosaiced image.

        Raises:
            ValueError: x does not have 3 channels.
        """
        _check_rgb(self, x)
        key_levels, key_noise = jax.random.split(key)
        operator = BayerMosaic(in_shape=x.shape, pattern=self.pattern)
        y, std = sensor_noise(key_noise, operator(x), *noise_levels(key_levels, self.shot, self.read, x.dtype))
        return Observation(y=y, operator=operator, noise_std=std, cond={"image": demosaic(y, self.pattern)})


@dataclass(frozen=True)
class Raw:
    """What the sensor of a camera recorded of the sRGB picture x: a noisy mosaic, h w 1, 0 black and 1 white.

        light = unprocess(x, camera)                    inverse tone curve, sRGB curve, colours, white balance
        y = quantise(min(mosaic(light) + noise, 1))     black lies above the sensor's zero: y may be negative

    `shot` and `read` are as in `LinearRaw`. `exposure` is the light that the camera gave away to spare highlights,
    made up for by the digital gain `1 / exposure`; Brooks et al. draw it from N(0.8, 0.1), here it is uniform
    over two standard deviations either way. `ccm` goes from camera to linear sRGB and its rows sum to 1; None mixes
    the four cameras of Brooks et al. anew for every picture. The gradient passes straight through noise and
    rounding, and is 0 where the sensor saturates.

    Raises:
        ValueError: a parameter outside its range; rows of `ccm` that do not sum to 1; bits outside 1 to 16.
    """

    shot: Parameter = SHOT
    read: Parameter | None = None
    red_gain: Parameter = (1.9, 2.4)
    blue_gain: Parameter = (1.5, 1.9)
    exposure: Parameter = (0.6, 1.0)
    ccm: Matrix | None = None
    pattern: str = "rggb"
    bits: int = 12

    def __post_init__(self) -> None:
        _check_noise(self)
        check(self, "red_gain", 0.1, 10.0)
        check(self, "blue_gain", 0.1, 10.0)
        check(self, "exposure", 0.01, 1.0)
        if self.ccm is not None and any(abs(sum(row) - 1.0) > 1e-3 for row in self.ccm):
            raise ValueError(f"Raw.ccm must have rows that sum to 1 (white stays white), not {self.ccm!r}.")
        if not 1 <= self.bits <= 16:
            raise ValueError(f"Raw.bits must be a whole number in [1, 16], not {self.bits!r}.")

    def camera(self, key: Key[Array, ""], dtype: Any = jnp.float32) -> Camera:
        """The camera that a call with this key used: `develop(obs.y, degrade.camera(key))` is the picture of it."""
        key_red, key_blue, key_exposure, key_ccm = jax.random.split(jax.random.split(key, 3)[0], 4)
        if self.ccm is None:
            weights = jax.random.uniform(key_ccm, (len(CAMERAS), 1, 1), dtype, 1e-6, 1.0)
            ccm = colour_matrix(jnp.sum(weights * jnp.asarray(CAMERAS, dtype), axis=0) / jnp.sum(weights))
        else:
            ccm = jnp.asarray(self.ccm, dtype)
        return Camera(
            red_gain=draw(key_red, self.red_gain).astype(dtype),
            blue_gain=draw(key_blue, self.blue_gain).astype(dtype),
            gain=1.0 / draw(key_exposure, self.exposure).astype(dtype),
            ccm=ccm,
            pattern=self.pattern,
        )

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The raw mosaic, and `cond["image"]`, what the camera develops of it; not linear, so no operator.

        `noise_std [h, w, 1]` is what y tells of the noise, rounding included.

        Raises:
            ValueError: x does not have 3 channels.
        """
        _check_rgb(self, x)
        camera = self.camera(key, x.dtype)
        _, key_levels, key_noise = jax.random.split(key, 3)
        levels = noise_levels(key_levels, self.shot, self.read, x.dtype)
        y, std = sensor_noise(key_noise, mosaic(unprocess(x, camera), self.pattern), *levels)
        y = quantise(jnp.minimum(y, 1.0), self.bits)
        std = jnp.sqrt(std**2 + 1.0 / (12.0 * (2**self.bits - 1) ** 2))
        return Observation(y=y, noise_std=std, cond={"image": develop(y, camera)})


@dataclass(frozen=True)
class Demosaicked:
    """What demosaicking makes of the noisy mosaic of a picture's light, white balance done, in the curve of sRGB.

        light = srgb_to_linear(x)
        raw = quantise(min(mosaic(light exposure / gains) + noise, 1))           gains = red_gain, 1, blue_gain
        y = linear_to_srgb(demosaic(raw gains / exposure))

    A restorer of y answers x, and `srgb_to_linear(x_hat)` is clean linear RGB, before the colour matrix. The curve is
    there for the eye and for losses, which would not see shadows without; it goes on below 0, where y may lie.
    Every value that the sensor recorded is in y. `shot`, `read`, the gains and `exposure` are those of `Raw`.

    Raises:
        ValueError: a parameter outside its range, or bits outside 1 to 16.
    """

    shot: Parameter = SHOT
    read: Parameter | None = None
    red_gain: Parameter = (1.2, 2.4)
    blue_gain: Parameter = (1.2, 2.4)
    exposure: Parameter = (0.6, 1.0)
    pattern: str = "rggb"
    bits: int = 12

    def __post_init__(self) -> None:
        Raw(self.shot, self.read, self.red_gain, self.blue_gain, self.exposure, _IDENTITY, self.pattern, self.bits)

    def __call__(self, key: Key[Array, ""], x: Float[Array, "h w c"]) -> Observation:
        """The demosaicked picture, as large as x; its noise is neither white nor the same everywhere.

        Raises:
            ValueError: x does not have 3 channels.
        """
        _check_rgb(self, x)
        keys = jax.random.split(key, 5)
        fields = zip(keys, (self.red_gain, self.blue_gain, self.exposure))
        red, blue, exposure = (draw(one, field).astype(x.dtype) for one, field in fields)
        gains = jnp.stack([red, jnp.ones_like(red), blue]).reshape(1, 1, 3) / exposure
        levels = noise_levels(keys[3], self.shot, self.read, x.dtype)
        raw, _ = sensor_noise(keys[4], mosaic(srgb_to_linear(x) / gains, self.pattern), *levels)
        raw = quantise(jnp.minimum(raw, 1.0), self.bits)
        balanced = raw * mosaic(jnp.broadcast_to(gains, x.shape), self.pattern)
        return Observation(y=linear_to_srgb(demosaic(balanced, self.pattern)))


_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

EXAMPLES = (
    {"name": "degrade.raw.Mosaic", "pattern": "rggb"},
    {"name": "degrade.raw.Mosaic", "pattern": "gbrg"},
    {"name": "degrade.raw.LinearRaw", "pattern": "bggr"},
    {"name": "degrade.raw.Raw", "pattern": "grbg"},
    {"name": "degrade.raw.Demosaicked", "pattern": "gbrg"},
    {"name": "degrade.raw.Raw", "shot": 0.01, "read": (0.0, 0.01), "exposure": 1.0, "ccm": _IDENTITY, "bits": 10},
)
