"""Resampling as explicit separable weights: `resize(x) = rows @ x @ cols^T`, channel by channel.

Weights as matrices make the transpose exact, and composition, pseudo-inverse and spectrum one
line each (`degrade.linear.Separable`). The cubic kernel and its widening for reduction are those
of MATLAB's `imresize`, on which the super-resolution literature stands.

Reference: Keys 1981, "Cubic convolution interpolation for digital image processing", eq. 15 (a = -1/2).
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# The highest precision on every backend: an operator and its transpose must agree to rounding,
# which the fast matrix modes of accelerators (bf16, tf32) do not give.
_EXACT = jax.lax.Precision.HIGHEST


def cubic(t: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -1/2; support |t| < 2."""
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1.0
    far = -0.5 * t**3 + 2.5 * t**2 - 4.0 * t + 2.0
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


@lru_cache(maxsize=256)
def _weights(n_in: int, n_out: int, antialias: bool) -> np.ndarray:
    scale = n_out / n_in
    width = min(scale, 1.0) if antialias else 1.0  # < 1 stretches the kernel over the wider footprint
    centre = (np.arange(n_out) + 0.5) / scale - 0.5
    reach = int(np.ceil(2 / width)) + 1
    taps = np.floor(centre)[:, None] + np.arange(-reach, reach + 1)[None]
    values = cubic((centre[:, None] - taps) * width)
    values /= values.sum(axis=1, keepdims=True)
    # Beyond the border the image is mirrored with its edge repeated, as imresize does.
    mirrored = np.mod(taps, 2 * n_in).astype(int)
    mirrored = np.where(mirrored < n_in, mirrored, 2 * n_in - 1 - mirrored)
    matrix = np.zeros((n_out, n_in))
    np.add.at(matrix, (np.arange(n_out)[:, None], mirrored), values)
    matrix.flags.writeable = False
    return matrix


def resize_weights(n_in: int, n_out: int, antialias: bool = True) -> np.ndarray:
    """The matrix `[n_out, n_in]` (float64) of one-dimensional cubic resampling; its rows sum to 1."""
    if n_in < 1 or n_out < 1:
        raise ValueError(f"Cannot resample {n_in} samples to {n_out}: both must be at least 1.")
    return _weights(n_in, n_out, antialias)


def separable(
    x: Float[Array, "*b h w c"], rows: Float[Array, "p h"], cols: Float[Array, "q w"]
) -> Float[Array, "*b p q c"]:
    """`out[p, q] = sum_hw rows[p, h] cols[q, w] x[h, w]`, exact in the dtype of x.

    Cost: `p h w c + p q w c` multiply-adds a picture.
    """
    x = jnp.einsum("ph,...hwc->...pwc", rows, x, precision=_EXACT)
    return jnp.einsum("qw,...pwc->...pqc", cols, x, precision=_EXACT)


def resize(x: Float[Array, "*b h w c"], height: int, width: int, antialias: bool = True) -> Float[Array, "*b p q c"]:
    """Cubic resampling of the last two image axes to `height x width`.

    With `antialias` the kernel widens when the image shrinks, as in MATLAB's `imresize(..., 'bicubic')`.
    """
    rows = jnp.asarray(resize_weights(x.shape[-3], height, antialias), x.dtype)
    cols = jnp.asarray(resize_weights(x.shape[-2], width, antialias), x.dtype)
    return separable(x, rows, cols)
