"""Colour: luma and chroma, the sRGB transfer function, and tone curves."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# ITU-R BT.601: the luma that video, JPEG and the restoration literature mean by Y.
BT601 = (0.299, 0.587, 0.114)


def luma(x: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 1"]:
    """Full-range luma `0.299 R + 0.587 G + 0.114 B`; grey in, the same grey out.

    Reference: ITU-R BT.601-7, section 2.5.1.
    """
    return jnp.sum(x * jnp.asarray(BT601, x.dtype).reshape((1,) * (x.ndim - 1) + (3,)), axis=-1, keepdims=True)


def studio_luma(x: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 1"]:
    """MATLAB's `rgb2ycbcr` luma in [16, 235] / 255, on which papers report "PSNR-Y".

    `Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255` for R, G, B in [0, 1].

    Reference: ITU-R BT.601-7, section 2.5.3 (studio swing).
    """
    weights = jnp.asarray((65.481, 128.553, 24.966), x.dtype).reshape((1,) * (x.ndim - 1) + (3,))
    return (16.0 + jnp.sum(x * weights, axis=-1, keepdims=True)) / 255.0


# JFIF's colour transform: BT.601 luma, and the differences from it scaled to a range of one.
_TO_YCBCR = np.array([BT601, (-0.299 / 1.772, -0.587 / 1.772, 0.5), (0.5, -0.587 / 1.402, -0.114 / 1.402)])
_FROM_YCBCR = np.array([(1, 0, 1.402), (1, -0.114 * 1.772 / 0.587, -0.299 * 1.402 / 0.587), (1, 1.772, 0)])


def _mix(x: Float[Array, "*b h w 3"], matrix: np.ndarray) -> Float[Array, "*b h w 3"]:
    # A sum of three products a channel, not a matrix product: exact to rounding on every backend.
    weights = jnp.asarray(matrix, x.dtype).reshape((1,) * (x.ndim - 1) + (3, 3))
    return jnp.sum(x[..., None, :] * weights, axis=-1)


def rgb_to_ycbcr(x: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """JPEG's full-range luma and chroma, all in [0, 1]: grey has `Cb = Cr = 0.5`.

    `Cb = 0.5 + (B - Y) / 1.772`, `Cr = 0.5 + (R - Y) / 1.402`.

    Reference: ITU-T T.871 (JFIF), section 7.
    """
    return _mix(x, _TO_YCBCR) + jnp.asarray((0.0, 0.5, 0.5), x.dtype).reshape((1,) * (x.ndim - 1) + (3,))


def ycbcr_to_rgb(x: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """The inverse of `rgb_to_ycbcr`; not clipped."""
    return _mix(x - jnp.asarray((0.0, 0.5, 0.5), x.dtype).reshape((1,) * (x.ndim - 1) + (3,)), _FROM_YCBCR)


def srgb_to_linear(x: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
    """Light in proportion to photons from sRGB values: `x / 12.92` up to 0.04045, above `((x + 0.055) / 1.055)^2.4`.

    Reference: IEC 61966-2-1:1999, section 5.2.
    """
    # The power sees no value that the other branch owns, so that no gradient is infinite or NaN.
    bright = ((jnp.maximum(x, 0.04045) + 0.055) / 1.055) ** 2.4
    return jnp.where(x <= 0.04045, x / 12.92, bright)


def linear_to_srgb(x: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
    """The inverse of `srgb_to_linear`; below 0 it goes on as the straight line `12.92 x`.

    Reference: IEC 61966-2-1:1999, section 5.2.
    """
    bright = 1.055 * jnp.maximum(x, 0.0031308) ** (1 / 2.4) - 0.055
    return jnp.where(x <= 0.0031308, 12.92 * x, bright)


def tone_curve(x: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
    """The S-shaped contrast of a camera's picture, smoothstep: `3 x^2 - 2 x^3` for x cut to [0, 1].

    Reference: Brooks et al. 2019, "Unprocessing images for learned raw denoising", section 3.
    """
    x = jnp.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)


@jax.custom_jvp
def inverse_tone_curve(x: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
    """The inverse of `tone_curve`: `2 sin(a / 3) sin(a / 3 + pi / 3)` with `a = arcsin(sqrt(x))`, x cut to [0, 1].

    This form of the cubic's root keeps its relative precision near black. The true slope is infinite at
    0 and 1; the gradient is exact between 3e-5 and 1 - 3e-5 and stays at its value there, 50, beyond.
    """
    third = jnp.arcsin(jnp.sqrt(jnp.clip(x, 0.0, 1.0))) / 3.0
    return 2.0 * jnp.sin(third) * jnp.sin(third + math.pi / 3.0)


@inverse_tone_curve.defjvp
def _inverse_tone_curve_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    y = inverse_tone_curve(*primals)
    return y, tangents[0] / jnp.maximum(6.0 * y * (1.0 - y), 0.02)
