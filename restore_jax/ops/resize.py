"""Resampling as explicit separable weights: `resize(x) = rows @ x @ cols^T`, channel by channel.

Weights as matrices make the transpose exact, and composition, pseudo-inverse and spectrum one
line each (`degrade.linear.Separable`). The cubic kernel and its widening for reduction are those
of MATLAB's `imresize`, on which the super-resolution literature stands.

References: Keys 1981, "Cubic convolution interpolation for digital image processing", eq. 15 (a = -1/2).
Turkowski 1990, "Filters for common resampling tasks" (the Lanczos-windowed sinc).
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

# The highest precision on every backend: an operator and its transpose must agree to rounding,
# which the fast matrix modes of accelerators (bf16, tf32) do not give.
_EXACT = jax.lax.Precision.HIGHEST

KERNELS = ("cubic", "box", "lanczos", "linear")


def cubic(t: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -1/2; support |t| < 2."""
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1.0
    far = -0.5 * t**3 + 2.5 * t**2 - 4.0 * t + 2.0
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def linear(t: np.ndarray) -> np.ndarray:
    """The triangle `1 - |t|`; support |t| < 1."""
    return np.maximum(1.0 - np.abs(t), 0.0)


def lanczos(t: np.ndarray) -> np.ndarray:
    """Lanczos-3: `sinc(t) sinc(t / 3)`, with `sinc(t) = sin(pi t) / (pi t)`; support |t| < 3."""
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0.0)


_INTERPOLATING = {"cubic": (cubic, 2), "linear": (linear, 1), "lanczos": (lanczos, 3)}  # and where they end


def _overlap(distance: np.ndarray, width: float) -> np.ndarray:
    """The length that a footprint of `width` shares with a pixel of width 1 whose centre is `distance` away."""
    return np.clip(0.5 * (width + 1.0) - np.abs(distance), 0.0, min(width, 1.0))


@lru_cache(maxsize=256)
def _weights(n_in: int, n_out: int, antialias: bool, kernel: str, boundary: str = "mirror") -> np.ndarray:
    scale = n_out / n_in
    centre = (np.arange(n_out) + 0.5) / scale - 0.5
    if kernel == "box" and not antialias:  # the nearest pixel; of two that are equally near, the one before
        taps, values = np.ceil(centre - 0.5)[:, None], np.ones((n_out, 1))
    elif kernel == "box":
        reach = int(np.ceil(0.5 / scale)) + 1
        taps = np.floor(centre)[:, None] + np.arange(-reach, reach + 1)[None]
        values = _overlap(centre[:, None] - taps, 1.0 / scale)
    else:
        function, support = _INTERPOLATING[kernel]
        width = min(scale, 1.0) if antialias else 1.0  # < 1 stretches the kernel over the wider footprint
        reach = int(np.ceil(support / width)) + 1
        taps = np.floor(centre)[:, None] + np.arange(-reach, reach + 1)[None]
        values = function((centre[:, None] - taps) * width)
    values = values / values.sum(axis=1, keepdims=True)
    if boundary == "mirror":  # with the edge repeated, as imresize does
        inside = np.mod(taps, 2 * n_in).astype(int)
        inside = np.where(inside < n_in, inside, 2 * n_in - 1 - inside)
    else:
        inside = np.clip(taps, 0, n_in - 1).astype(int)
    matrix = np.zeros((n_out, n_in))
    np.add.at(matrix, (np.arange(n_out)[:, None], inside), values)
    matrix.flags.writeable = False
    return matrix


def resize_weights(n_in: int, n_out: int, antialias: bool = True, kernel: str = "cubic") -> np.ndarray:
    """The matrix `[n_out, n_in]` (float64) of one-dimensional resampling; its rows sum to 1.

    The centre of new sample i stands at `(i + 1/2) n_in / n_out - 1/2`. `kernel` is one of:

        "cubic"    Keys' cubic convolution, 4 samples wide
        "linear"   the triangle, 2 samples wide
        "lanczos"  the sinc windowed by a sinc three times as wide, 6 samples wide
        "box"      the mean over the new sample's own area, which is what a sensor's pixel measures

    With `antialias` the first three widen by `n_in / n_out` when the signal shrinks; without, they
    interpolate, and "box" takes the nearest sample.

    Raises:
        ValueError: a size below 1, or an unknown kernel.
    """
    if n_in < 1 or n_out < 1:
        raise ValueError(f"Cannot resample {n_in} samples to {n_out}: both must be at least 1.")
    check_kernel(kernel, "kernel")
    return _weights(n_in, n_out, antialias, kernel)


def check_kernel(kernel: str, name: str) -> None:
    """Raises ValueError, calling it `name`, unless `kernel` is one of KERNELS."""
    if kernel not in KERNELS:
        raise ValueError(f"{name} must be one of {', '.join(KERNELS)}, not {kernel!r}.")


def separable(
    x: Float[Array, "*b h w c"], rows: Float[Array, "p h"], cols: Float[Array, "q w"]
) -> Float[Array, "*b p q c"]:
    """`out[p, q] = sum_hw rows[p, h] cols[q, w] x[h, w]`, exact in the dtype of x.

    Cost: `p h w c + p q w c` multiply-adds a picture.
    """
    x = jnp.einsum("ph,...hwc->...pwc", rows, x, precision=_EXACT)
    return jnp.einsum("qw,...pwc->...pqc", cols, x, precision=_EXACT)


def resize(
    x: Float[Array, "*b h w c"], height: int, width: int, antialias: bool = True, kernel: str = "cubic"
) -> Float[Array, "*b p q c"]:
    """Resampling of the last two image axes to `height x width`, with a kernel of `resize_weights`.

    With `antialias` the kernel widens when the image shrinks, as in MATLAB's `imresize(..., 'bicubic')`.
    """
    rows = jnp.asarray(resize_weights(x.shape[-3], height, antialias, kernel), x.dtype)
    cols = jnp.asarray(resize_weights(x.shape[-2], width, antialias, kernel), x.dtype)
    return separable(x, rows, cols)


def imresize_uint8(
    x: UInt8[Array, "h w c"], height: int, width: int, boundary: str = "mirror"
) -> UInt8[Array, "p q c"]:
    """MATLAB's `imresize(x, [height width], 'bicubic')` of 8-bit grey levels, both of its roundings included.

    One axis after the other, the one that shrinks more first and the rows first where both shrink alike;
    after each, values are rounded (halves upwards) and clipped to 0..255. Beyond the border the picture is
    mirrored ("mirror") or its last pixel repeated ("edge"), as early releases of imresize did: the usual files of
    Set5 were made with the first, those of Set14 and BSD100 with the second.

    The widened kernel's weights at reductions by 2, 4 and 8 are short binary fractions, so that float32 finds
    every sum exactly; at other factors ties may break otherwise than in MATLAB's doubles (by one level, rarely),
    unless 64 bits are enabled.

    Raises:
        ValueError: an unknown boundary, or a size below 1.
    """
    if boundary not in ("mirror", "edge"):
        raise ValueError(f"imresize_uint8: boundary must be 'mirror' or 'edge', not {boundary!r}.")
    h, w, _ = x.shape
    if min(h, w, height, width) < 1:
        raise ValueError(f"imresize_uint8: cannot resize {h}x{w} to {height}x{width}: every side must be at least 1.")
    values = x.astype(jnp.result_type(float))
    sizes = ((0, h, height), (1, w, width))
    for axis, n_in, n_out in sizes if height * w <= width * h else sizes[::-1]:
        matrix = jnp.asarray(_weights(n_in, n_out, True, "cubic", boundary), values.dtype)
        moved = jnp.tensordot(matrix, values, axes=(1, axis), precision=_EXACT)
        values = jnp.clip(jnp.floor(jnp.moveaxis(moved, 0, axis) + 0.5), 0.0, 255.0)
    return values.astype(jnp.uint8)
