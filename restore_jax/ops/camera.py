"""From the light on a sensor to a picture, and back: what a camera's processor does, as differentiable arrays.

    develop     white balance -> demosaic -> colour matrix -> sRGB curve -> tone curve
    unprocess   the inverse of each, last to first, without the mosaic

Reference: Brooks et al. 2019, "Unprocessing images for learned raw denoising", section 3.
"""

from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from restore_jax.ops.bayer import demosaic, mosaic
from restore_jax.ops.color import inverse_tone_curve, linear_to_srgb, srgb_to_linear, tone_curve

# Linear sRGB to CIE XYZ under D65 (IEC 61966-2-1, from its primaries).
SRGB_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
HIGHLIGHT = 0.9  # where white balance begins to be undone less, so that white stays white


@struct.dataclass
class Camera:
    """The numbers that a raw file says of its camera; each may be a number or an array, and is a leaf.

    `red_gain` and `blue_gain` are the white balance relative to green, `gain` is the digital gain of all
    three, and `ccm` is the matrix from white-balanced camera colours to linear sRGB, whose rows sum to 1.
    `pattern` is that of the mosaic.
    """

    red_gain: Any = 2.0
    blue_gain: Any = 1.7
    gain: Any = 1.0
    ccm: Any = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    pattern: str = struct.field(pytree_node=False, default="rggb")

    def gains(self, dtype: Any) -> Float[Array, "1 1 3"]:
        """What red, green and blue are multiplied by."""
        one = jnp.asarray(1.0, dtype)
        balance = jnp.stack([jnp.asarray(self.red_gain, dtype), one, jnp.asarray(self.blue_gain, dtype)])
        return (balance * jnp.asarray(self.gain, dtype)).reshape(1, 1, 3)


def inverse_3x3(m: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """`m^-1` by cross products of its rows: for a colour matrix as exact as a solver, and cheaper in a batch."""
    a, b, c = m
    columns = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=1)
    return columns / jnp.sum(a * jnp.cross(b, c))


def colour_matrix(xyz_to_camera: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """The `ccm` of a camera from the matrix that its maker or a DNG states: XYZ under D65 to camera.

    `ccm = (S^-1 xyz_to_camera SRGB_TO_XYZ)^-1`, where S makes the rows sum to 1, so that white stays white.
    """
    srgb_to_camera = _matmul(xyz_to_camera, jnp.asarray(SRGB_TO_XYZ, xyz_to_camera.dtype))
    return inverse_3x3(srgb_to_camera / jnp.sum(srgb_to_camera, axis=1, keepdims=True))


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")


def _colours(x: Array, matrix: Array) -> Array:
    return _matmul(x.reshape(-1, 3), matrix.T).reshape(x.shape)


def unprocess(x: Float[Array, "h w 3"], camera: Camera, tone: bool = True) -> Float[Array, "h w 3"]:
    """The light on the sensor, in camera colours in [0, 1], that `develop` makes the sRGB picture `x` of.

    White balance is undone by the factor `max(1 / g, a + (1 - a) / g)`, with `g` the gains and
    `a = (max(m - 0.9, 0) / 0.1)^2`, `m` being the mean of the three colours: white, which a sensor clips, stays white.
    Up to there, and inside the camera's gamut, `develop` without a mosaic is the inverse.

    Reference: Brooks et al. 2019, section 3; its gamma curve is x^2.2, here it is that of sRGB.
    """
    ccm = jnp.asarray(camera.ccm, x.dtype)
    linear = srgb_to_linear(inverse_tone_curve(x) if tone else x)
    light = _colours(linear, inverse_3x3(ccm))
    mean = jnp.clip(jnp.mean(light, axis=-1, keepdims=True), 0.0, 1.0)
    white = (jnp.maximum(mean - HIGHLIGHT, 0.0) / (1.0 - HIGHLIGHT)) ** 2
    undo = 1.0 / camera.gains(x.dtype)
    return jnp.clip(light * jnp.maximum(undo, white + (1.0 - white) * undo), 0.0, 1.0)


def develop(raw: Float[Array, "h w c"], camera: Camera, tone: bool = True) -> Float[Array, "h w 3"]:
    """The sRGB picture of a raw mosaic `h w 1`, or of light in all three camera colours `h w 3`.

    `raw` is linear, 0 at black and 1 where the sensor saturates. Saturated colours are cut at 1 after white
    balance (a white sky is not pink), and the result to [0, 1]; the gradient is 0 where it was cut. Without
    `tone` the contrast curve is left out.

    Raises:
        ValueError: neither 1 nor 3 channels; a mosaic below 3 x 3 pixels.

    Reference: Brooks et al. 2019, section 3; the demosaicing is that of `ops.bayer`.
    """
    if raw.shape[-1] not in (1, 3):
        raise ValueError(f"raw must have 1 channel (a mosaic) or 3 (camera colours), not {raw.shape[-1]}.")
    gains = camera.gains(raw.dtype)
    if raw.shape[-1] == 1:
        gains = mosaic(jnp.broadcast_to(gains, (*raw.shape[:2], 3)), camera.pattern)
    balanced = jnp.minimum(raw * gains, 1.0)
    if raw.shape[-1] == 1:
        balanced = demosaic(balanced, camera.pattern)
    linear = jnp.clip(_colours(balanced, jnp.asarray(camera.ccm, raw.dtype)), 0.0, 1.0)
    x = linear_to_srgb(linear)
    return tone_curve(x) if tone else x
